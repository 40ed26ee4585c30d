"""Finds near-duplicate texts, and texts of the evaluation sets, by the word bigrams they share."""

import base64
import hashlib
import json
import re
import sys
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..data import read_raw

PUBLISHED = ("simulated", "real")
_FILE = Path(__file__).with_name("evaluation_sets.json")
# Bytes of a hash: among a million bigrams two share one with a probability of 0.2%.
_BYTES = 6
# Scripts that write no spaces: each letter counts as a word there.
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\u0e00-\u0e7f]|[^\W_]+(?:'[^\W_]+)?")


def words(text: str) -> list[str]:
    """Lower-case words of a text, without punctuation and with Unicode variants of a letter unified."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).replace("’", "'").casefold())


def bigrams(text: str) -> frozenset[tuple[str, str]]:
    """Pairs of neighbouring words; a one-word text gives that word paired with an empty one."""
    found = words(text)
    return frozenset(zip(found, found[1:] or [""], strict=False))


def _hash(text: str) -> int:
    """Stable across processes, unlike Python's own."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=_BYTES).digest(), "big")


def _hashes(found: Iterable[tuple[str, str]]) -> set[int]:
    return {_hash(" ".join(pair)) for pair in found}


@dataclass(frozen=True)
class Fingerprint:
    """What texts are compared by; the text cannot be read back from it."""

    text: int
    bigrams: frozenset[int]

    @classmethod
    def of(cls, text: str) -> "Fingerprint":
        return cls(_hash(" ".join(words(text))), frozenset(_hashes(bigrams(text))))

    @classmethod
    def decode(cls, encoded: str) -> "Fingerprint":
        held = base64.b64decode(encoded, validate=True)
        text, *found = (int.from_bytes(held[at : at + _BYTES], "big") for at in range(0, len(held), _BYTES))
        return cls(text, frozenset(found))

    def encode(self) -> str:
        numbers = (self.text, *sorted(self.bigrams))
        return base64.b64encode(b"".join(number.to_bytes(_BYTES, "big") for number in numbers)).decode()


class BigramIndex:
    """Texts indexed by their word bigrams; every comparison is exact."""

    def __init__(self) -> None:
        # By the hash of a bigram; a number where one text only has it, which most have: a third of the memory of
        # lists.
        self._holders: dict[int, int | list[int]] = {}
        self._sizes: list[int] = []

    def add(self, text: str | Fingerprint) -> None:
        """Add a text; it is numbered by how many came before it."""
        found = text.bigrams if isinstance(text, Fingerprint) else _hashes(bigrams(text))
        number = len(self._sizes)
        for bigram in found:
            before = self._holders.setdefault(bigram, number)
            if isinstance(before, list):
                before.append(number)
            elif before != number:
                self._holders[bigram] = [before, number]
        self._sizes.append(len(found))

    def nearest(self, query: frozenset[tuple[str, str]], contained: bool = False) -> tuple[float, int]:
        """Similarity of the closest text, and its number; `(0.0, -1)` where none shares a pair."""
        shared = Counter[int]()
        for bigram in _hashes(query):
            held = self._holders.get(bigram, ())
            shared.update((held,) if isinstance(held, int) else held)
        best = (0.0, -1)
        for number, count in shared.items():
            size = self._sizes[number]
            share = count / (size if contained else size + len(query) - count)
            best = max(best, (share, -number - 1))  # the first of those that are equally close
        return (best[0], -best[1] - 1) if shared else (0.0, -1)


class Decontaminator:
    """Rejects instructions that are in an evaluation set, or that repeat an accepted one, verbatim or nearly.

    The result depends on the order of instructions; replaying [`accept`] restores the state in another process.

    Two texts are close when they share half of the word bigrams that either has. On the 435 published instructions at
    hand that finds every copy with one value changed and 94% of light rewordings; of 1,074 pairs of different
    instructions of one API it flags two, which are such copies, and across APIs the closest pair reaches 0.35.
    Comparisons are exact: 10,000 instructions take 3 s, and at 5,000 a MinHash index of the same recall was no faster.

    Args:
        evaluation (`Iterable[str | Fingerprint]`): Instructions that must not leak into training.
        threshold (`float`, *optional*, defaults to 0.5): Jaccard similarity at which two instructions are close.
        contained (`float`, *optional*, defaults to 0.75): Share of an evaluation instruction's bigrams at which a
            longer text contains it.

    Example:

    ```python
    >>> screen = Decontaminator(["When is high tide in Bergen on Friday?"])
    >>> screen.reason("train/tides", "When is high tide in Bergen on Friday? My boat lies there, and I sail to Oslo.")
    'holds an instruction of the evaluation set'
    ```
    """

    def __init__(
        self, evaluation: Iterable[str | Fingerprint] = (), threshold: float = 0.5, contained: float = 0.75
    ) -> None:
        self.threshold, self.contained = threshold, contained
        self._evaluation, self._accepted = BigramIndex(), BigramIndex()
        self._evaluation_texts: set[int] = set()
        self._apis: list[str] = []
        self._accepted_texts: dict[str, str] = {}
        for instruction in evaluation:
            fingerprint = Fingerprint.of(instruction) if isinstance(instruction, str) else instruction
            self._evaluation.add(fingerprint)
            self._evaluation_texts.add(fingerprint.text)

    def reason(self, api: str, instruction: str) -> str | None:
        """Why an instruction is rejected; `None` if it may be accepted."""
        text = " ".join(words(instruction))
        if not text:
            return "says nothing"
        if leaked := self.leaked(instruction):
            return leaked
        if text in self._accepted_texts:
            return f"repeats an instruction of {_whose(api, self._accepted_texts[text])}"
        share, number = self._accepted.nearest(bigrams(instruction))
        return f"is close to an instruction of {_whose(api, self._apis[number])}" if share >= self.threshold else None

    def leaked(self, text: str, within: bool = True) -> str | None:
        """Why a text must not be trained on, be it an instruction or what accompanies one; `None` if it may be.

        Unless `within`, a text that holds an instruction among others is not looked for.
        """
        query = bigrams(text)
        if _hash(" ".join(words(text))) in self._evaluation_texts:
            return "is in the evaluation set"
        if self._evaluation.nearest(query)[0] >= self.threshold:
            return "is close to an instruction of the evaluation set"
        if within and self._evaluation.nearest(query, contained=True)[0] >= self.contained:
            return "holds an instruction of the evaluation set"
        return None

    def accept(self, api: str, instruction: str) -> None:
        self._accepted.add(instruction)
        self._apis.append(api)
        self._accepted_texts.setdefault(" ".join(words(instruction)), api)


def _whose(api: str, holder: str) -> str:
    return "its API" if api == holder else "another API"


def published_instructions(name: str) -> list[Fingerprint]:
    """Fingerprints of a published evaluation set, `"simulated"` or `"real"`.

    Example:

    ```python
    >>> len(published_instructions("simulated")), len(published_instructions("real"))
    (100, 114)
    ```
    """
    return [Fingerprint.decode(encoded) for encoded in json.loads(_FILE.read_text(encoding="utf-8"))[name]]


def instructions_of(path: str | Path) -> list[str]:
    listed = [api.get("Instructions") for api in read_raw(Path(path)) if isinstance(api, dict)]
    return [instruction for given in listed for instruction in given or () if isinstance(instruction, str)]


if __name__ == "__main__":
    sets = {
        name: [Fingerprint.of(instruction).encode() for instruction in instructions_of(path)]
        for name, path in zip(PUBLISHED, sys.argv[1:], strict=True)
    }
    _FILE.write_text(json.dumps(sets, indent=0) + "\n", encoding="utf-8")
