"""Finds near-duplicate texts, and texts of evaluation sets and benchmarks, by the word bigrams they share."""

import base64
import hashlib
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ..data import SAMPLE, read_raw
from ..errors import InputError, OptionError
from ..openapi import listed, mapping
from ..schema import HINT_MARK
from ..storage import read_text

PUBLISHED = ("simulated", "real")
BENCHMARKS = ("bfcl", "tau2")  # BFCL's single-turn rows with calls as answers, and τ²-bench's tasks
FILE = Path(__file__).with_name("benchmarks.json")
PUBLISHED_FILE = Path(__file__).with_name("evaluation_sets.json")
SHORTEST = 4  # fewer words are in many texts, and no leak
LONGEST = 60  # words of a part that is compared: in a longer one, pairs of words meet that do not belong together
_BYTES = 6  # of a hash: among a million bigrams two share one with a probability of 0.2%
# Scripts that write no spaces: each letter counts as a word there.
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\u0e00-\u0e7f]|[^\W_]+(?:'[^\W_]+)?")


# Vowel signs, other marks and what has no width, such as soft hyphens: `\w` has none of them, so they would cut words.
_MARKS = ("Mn", "Mc", "Me", "Cf")


def words(text: str) -> list[str]:
    """Lower-case words of a text, without punctuation and with Unicode variants of a letter unified."""
    text = unicodedata.normalize("NFKC", text).replace("’", "'").casefold()
    if not text.isascii():
        text = "".join(letter for letter in text if unicodedata.category(letter) not in _MARKS)
    return _WORD.findall(text)


def bigrams(text: str) -> frozenset[int]:
    """Hashes of the pairs of neighbouring words; a one-word text gives that word paired with an empty one."""
    found = words(text)
    return frozenset(_hash(" ".join(pair)) for pair in zip(found, found[1:] or [""], strict=False))


def _hash(text: str) -> int:
    """Stable across processes, unlike Python's own."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=_BYTES).digest(), "big")


@dataclass(frozen=True)
class Fingerprint:
    """What texts are compared by; the text cannot be read back from it."""

    text: int
    bigrams: frozenset[int]

    @classmethod
    def of(cls, text: str) -> "Fingerprint":
        return cls(_hash(" ".join(words(text))), bigrams(text))

    @classmethod
    def decode(cls, encoded: str) -> "Fingerprint":
        held = base64.b64decode(encoded, validate=True)
        text, *found = (int.from_bytes(held[at : at + _BYTES], "big") for at in range(0, len(held), _BYTES))
        return cls(text, frozenset(found))

    def encode(self) -> str:
        numbers = (self.text, *sorted(self.bigrams))
        return base64.b64encode(b"".join(number.to_bytes(_BYTES, "big") for number in numbers)).decode()


class BigramIndex:
    """Texts indexed by their word bigrams, each with a label; every comparison is exact."""

    def __init__(self) -> None:
        # By the hash of a bigram; a number where one text only has it, which most have: a third of the memory of
        # lists.
        self._holders: dict[int, int | list[int]] = {}
        self._sizes: list[int] = []
        self._labels: list[Any] = []

    def add(self, found: frozenset[int], label: Any = None) -> None:
        number = len(self._sizes)
        for bigram in found:
            before = self._holders.setdefault(bigram, number)
            if isinstance(before, list):
                before.append(number)
            elif before != number:
                self._holders[bigram] = [before, number]
        self._sizes.append(len(found))
        self._labels.append(label)

    def nearest(self, query: frozenset[int], contained: bool = False) -> tuple[float, Any]:
        """Similarity of the closest text, the first of equals, and its label; `(0.0, None)` if none shares a pair."""
        shared = Counter[int]()
        for bigram in query:
            held = self._holders.get(bigram, ())
            shared.update((held,) if isinstance(held, int) else held)
        sizes = {number: self._sizes[number] + (0 if contained else len(query) - shared[number]) for number in shared}
        share, place = max(((count / sizes[number], -number) for number, count in shared.items()), default=(0.0, 0))
        return share, self._labels[-place] if shared else None


class Decontaminator:
    """Rejects instructions that are in an evaluation set, or that repeat an accepted one, verbatim or nearly.

    The result depends on the order of instructions; replaying [`accept`] restores the state in another process.

    Two texts are close when they share half of the word bigrams that either has. On the 435 published instructions
    that finds every copy with one value changed and 94% of light rewordings; across APIs the closest pair has 0.35.

    Args:
        evaluation (`Iterable[str | Fingerprint]`): Instructions that must not leak into training.
        threshold, contained (`float`, *optional*): Jaccard similarity at which two instructions are close, and share
            of an evaluation instruction's bigrams at which a longer text contains it.

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
        for instruction in evaluation:
            fingerprint = Fingerprint.of(instruction) if isinstance(instruction, str) else instruction
            if fingerprint.bigrams:  # one that says nothing is no leak
                self._evaluation.add(fingerprint.bigrams)
                self._evaluation_texts.add(fingerprint.text)

    def reason(self, api: str, instruction: str) -> str | None:
        """Why an instruction is rejected; `None` if it may be accepted."""
        if leaked := self.leaked(instruction):
            return leaked
        found = Fingerprint.of(instruction)
        if not found.bigrams:
            return "says nothing"
        share, label = self._accepted.nearest(found.bigrams)
        if share < self.threshold:
            return None
        holder, text = label
        how = "repeats" if text == found.text else "is close to"
        return f"{how} an instruction of {'its API' if api == holder else 'another API'}"

    def leaked(self, text: str, within: bool = True) -> str | None:
        """Why a text must not be trained on; `None` if it may be. An instruction inside it counts if `within`."""
        found = Fingerprint.of(text)
        if found.text in self._evaluation_texts:
            return "is in the evaluation set"
        if self._evaluation.nearest(found.bigrams)[0] >= self.threshold:
            return "is close to an instruction of the evaluation set"
        if within and self._evaluation.nearest(found.bigrams, contained=True)[0] >= self.contained:
            return "holds an instruction of the evaluation set"
        return None

    def accept(self, api: str, instruction: str) -> None:
        found = Fingerprint.of(instruction)
        self._accepted.add(found.bigrams, (api, found.text))


def instructions_of(path: str | Path) -> list[str]:
    given = [text for api in read_raw(Path(path)) for text in listed(mapping(api).get("Instructions"))]
    return [text.rpartition(HINT_MARK)[0] or text for text in given if isinstance(text, str)]


class Screen:
    """Finds rows that hold an instruction of a benchmark, verbatim or nearly, in any of their texts.

    Every text in a row is compared (JSON text is read) as a whole, by its lines, and in overlapping parts of 60 words;
    see [`Decontaminator`] for when two are close. docs/benchmark_audit.md has its precision and recall.

    Args:
        against (`str` or `Sequence[str]`, *optional*, defaults to `"published"`):
            `simulated`, `real`, `bfcl`, `tau2`, `published` for all of them, `sample`, or files: the raw layout, or
            lines, each of which is an instruction or JSON with instructions.
        columns (`Sequence[str]`, *optional*): Columns that are compared; all by default.

    Raises:
        [`NotFoundError`], [`InputError`]: There is neither such a set nor such a file; or it holds no instruction.

    Example:

    ```python
    >>> screen = Screen("sample")
    >>> screen.leak({"prompt": "Where can I get plums for no more than 4 a kilo?"})
    ('sample', 'is in the evaluation set', 'Where can I get plums for no more than 4 a kilo?')
    >>> from datasets import Dataset
    >>> rows = Dataset.from_list([{"text": "Where can I get plums for at most 4 a kilo?"}, {"text": "High tide?"}])
    >>> rows.filter(screen)["text"][:]
    ['High tide?']
    ```
    """

    def __init__(self, against: str | Sequence[str] = "published", columns: Sequence[str] = ()) -> None:
        names = [against] if isinstance(against, str) else list(against)
        everything = (*PUBLISHED, *BENCHMARKS)
        self.sets = list(dict.fromkeys(n for name in names for n in (everything if name == "published" else (name,))))
        self.columns = tuple(columns)
        self.files: dict[str, str] = {}
        for name in self.sets:
            if name not in (*everything, "sample"):
                evaluation_texts(name)  # what is wrong with a file is found before any row is read
                # `datasets` gives the rows of before to a filter whose state is the same.
                self.files[name] = hashlib.sha256(Path(name).read_bytes()).hexdigest()

    def texts(self) -> dict[str, Sequence[str | Fingerprint]]:
        """The instructions that must not leak, by set; of those that are published, fingerprints."""
        return {name: evaluation_texts(name) for name in self.sets}

    def __getstate__(self) -> dict[str, Any]:
        # Fingerprints are read again in each process; without them, `datasets` hashes the filter at once.
        return {key: value for key, value in vars(self).items() if key != "_indices"}

    @cached_property
    def _indices(self) -> dict[str, Decontaminator]:
        texts = self.texts()
        texts[""] = [text for held in texts.values() for text in held]
        return {name: Decontaminator(held) for name, held in texts.items()}

    def leak(self, row: Mapping[str, Any]) -> tuple[str, str, str] | None:
        """The set, the reason and the row's text of the first leak; `None` if there is none.

        Raises:
            [`OptionError`]: The row has none of the columns.
        """
        if self.columns and not set(self.columns) & row.keys():
            raise OptionError(f"a row has none of {', '.join(self.columns)}", option="--columns", fix="name others")
        chosen = [row[name] for name in self.columns if name in row] if self.columns else [*row.values()]
        everything = self._indices[""]
        for text in dict.fromkeys(texts_of(chosen)):
            # A long text meets pairs of words of a short instruction here and there; a part of it, seldom.
            parts = dict.fromkeys(parts_of(text), True)
            for part, within in ({text: False} | parts).items():
                if reason := everything.leaked(part, within):
                    return next(name for name in self.sets if self._indices[name].leaked(part, within)), reason, part
        return None

    def __call__(self, row: Mapping[str, Any]) -> bool:
        """Whether to keep a row, for `datasets.Dataset.filter`."""
        return self.leak(row) is None


def evaluation_texts(name: str) -> Sequence[str | Fingerprint]:
    """The instructions of a published set, of a benchmark, of `sample` or of a file; see [`Screen`]."""
    if name in (*PUBLISHED, *BENCHMARKS):
        file = PUBLISHED_FILE if name in PUBLISHED else FILE
        return [Fingerprint.decode(encoded) for encoded in json.loads(file.read_text(encoding="utf-8"))[name]]
    path = SAMPLE / "eval.json" if name == "sample" else Path(name)
    if path.suffix.lower() == ".json" and path.exists():
        found = instructions_of(path)
    else:
        sets = ", ".join(("published", "sample", *PUBLISHED, *BENCHMARKS))
        fix = f"pass a file in the raw layout, one with an instruction a line, or one of {sets}"
        found = [text for line in read_text(path, fix).splitlines() for text in texts_of(line)]
    if not any(len(words(text)) >= SHORTEST for text in found):
        problem = f"holds no instruction of {SHORTEST} words"
        raise InputError(problem, file=path, fix="pass one that does")
    return found


def texts_of(value: Any) -> Iterator[str]:
    """Every text in a value of at least [`SHORTEST`] words, however nested; JSON text is read."""
    if isinstance(value, str):
        if value.lstrip()[:1] in ("{", "["):
            try:
                yield from texts_of(json.loads(value))
                return
            except (ValueError, RecursionError):
                pass
        if len(words(value)) >= SHORTEST:
            yield value
    elif isinstance(value, Mapping | list | tuple):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from texts_of(item)
    elif hasattr(value, "tolist"):  # of NumPy, in rows of that format
        yield from texts_of(value.tolist())


def parts_of(text: str) -> Iterator[str]:
    """The lines of a text, and all of it (lines may be wrapped), in overlapping parts of [`LONGEST`] words."""
    for line in dict.fromkeys((*text.splitlines(), text)):
        found, step = line.split(), LONGEST // 2
        for start in range(0, max(1, len(found) - step), step):
            part = " ".join(found[start : start + LONGEST])
            if len(words(part)) >= SHORTEST:
                yield part
