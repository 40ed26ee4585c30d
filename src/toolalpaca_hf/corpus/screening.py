"""Screens any dataset against the instructions of benchmarks, of which the package has fingerprints but no text."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from ..data import SAMPLE
from ..errors import NotFoundError, OptionError
from .decontamination import PUBLISHED, Decontaminator, Fingerprint, instructions_of, published_instructions, words

BENCHMARKS = ("bfcl", "tau2")  # BFCL's single-turn rows with calls as answers, and τ²-bench's tasks
SHORTEST = 4  # fewer words are in many texts, and no leak
# Words of a part of a line that is compared: in a longer one, pairs of words meet that do not belong together.
LONGEST = 60

FILE = Path(__file__).with_name("benchmarks.json")


class Screen:
    """Finds rows that hold an instruction of a benchmark, verbatim or nearly, in any of their texts.

    Every text in a row is compared (JSON text is read) as a whole and by its lines, long ones in overlapping parts;
    see [`Decontaminator`] for when two are close. docs/benchmark_audit.md has its precision and recall.

    Args:
        against (`str` or `Sequence[str]`, *optional*, defaults to `"published"`):
            `simulated`, `real`, `bfcl`, `tau2`, `published` for all of them, `sample`, or files: the raw layout, or an
            instruction a line.
        columns (`Sequence[str]`, *optional*): Columns that are compared; all by default.
        threshold, contained (`float`, *optional*): See [`Decontaminator`].

    Raises:
        [`NotFoundError`]: There is neither such a set nor such a file.

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

    def __init__(
        self,
        against: str | Sequence[str] = "published",
        columns: Sequence[str] = (),
        threshold: float = 0.5,
        contained: float = 0.75,
    ) -> None:
        names = [against] if isinstance(against, str) else list(against)
        everything = (*PUBLISHED, *BENCHMARKS)
        self.sets = list(dict.fromkeys(n for name in names for n in (everything if name == "published" else (name,))))
        self.columns, self.threshold, self.contained = tuple(columns), threshold, contained
        for name in self.sets:
            if name not in (*everything, "sample") and not Path(name).is_file():
                fix = f"pass published, sample, a file, or one of {', '.join(everything)}"
                raise NotFoundError("no such set", file=name, option="--against", fix=fix)

    def __getstate__(self) -> dict[str, Any]:
        # Fingerprints are read again in each process; without them, `datasets` hashes the filter at once.
        return {key: value for key, value in vars(self).items() if key != "_indices"}

    @cached_property
    def _indices(self) -> dict[str, Decontaminator]:
        texts = {name: list(_instructions(name)) for name in self.sets}
        texts[""] = [text for held in texts.values() for text in held]
        return {name: Decontaminator(held, self.threshold, self.contained) for name, held in texts.items()}

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


def _instructions(name: str) -> Iterable[str | Fingerprint]:
    if name in PUBLISHED:
        return published_instructions(name)
    if name in BENCHMARKS:
        return [Fingerprint.decode(encoded) for encoded in json.loads(FILE.read_text(encoding="utf-8"))[name]]
    path = SAMPLE / "eval.json" if name == "sample" else Path(name)
    if path.suffix == ".json":
        return instructions_of(path)
    return [line for line in path.read_text(encoding="utf-8").splitlines() if len(words(line)) >= SHORTEST]


def texts_of(value: Any) -> Iterator[str]:
    """Every text in a value of at least [`SHORTEST`] words, however nested; JSON text is read."""
    if isinstance(value, str):
        if value[:1] in ("{", "["):
            try:
                yield from texts_of(json.loads(value))
                return
            except (ValueError, RecursionError):
                pass
        if len(words(value)) >= SHORTEST:
            yield value
    elif isinstance(value, Mapping):
        yield from texts_of(list(value.values()))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from texts_of(item)


def parts_of(text: str) -> Iterator[str]:
    """The lines of a text, long ones in overlapping parts of [`LONGEST`] words."""
    for line in text.splitlines():
        found, step = line.split(), LONGEST // 2
        for start in range(0, max(1, len(found) - step), step):
            part = " ".join(found[start : start + LONGEST])
            if len(words(part)) >= SHORTEST:
                yield part
