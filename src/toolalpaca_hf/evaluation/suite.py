"""The instructions a model is evaluated on, and its attempts at them."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..data import read_file, read_raw
from ..errors import InputError, NotFoundError, nearest
from ..schema import Api, Instruction, Trajectory
from ..sources import FILES, fetch
from .bfcl import write_bfcl

SUITES = {"simulated": "eval_simulated", "real": "eval_real", "sample": "sample"}  # and what each is read from

BFCL = "bfcl"  # name of the suite that [`write_bfcl`] writes


@dataclass(frozen=True)
class Attempt:
    """An attempt at one instruction of a suite."""

    api: Api
    index: int  # in the API's `Instructions`
    instruction: Instruction
    trajectory: Trajectory | None
    ended: str = "answered"  # why the rollout ended (`answered`, `steps`, ..., `failed`), or `missing`
    error: str = ""
    text: str | None = None  # a recorded verdict of a judge, as written
    faults: tuple[str, ...] = ()  # that the simulator made

    @property
    def failed(self) -> bool:
        """Whether there is no trajectory to score; it still counts in every denominator."""
        return self.trajectory is None or self.ended == "failed"


def index_of(instruction: Instruction) -> int:
    """The instruction's index in the API's `Instructions`, the last part of its id."""
    return int(instruction.id.rpartition("/")[2])


@dataclass(frozen=True)
class Suite:
    """APIs and their instructions, in the order of their file."""

    name: str  # `simulated`, `real`, `sample`, or the name of a file
    file: str  # `sample` for the embedded corpus
    digest: str  # the file's git blob id
    apis: list[Api]
    instructions: list[Instruction]
    notes: list[str]  # a sentence for each row of the file that was set aside
    answers: dict[str, dict[str, Any]] = field(default_factory=dict)  # of BFCL's rows, see [`ast_verdict`]

    def first(self, count: int | None) -> "Suite":
        """The suite with only the first `count` instructions; all if it is `None`."""
        return replace(self, instructions=self.instructions[:count])


def read_suite(name: str | Path, data_dir: str | Path | None = None) -> Suite:
    """Read a suite.

    Args:
        name (`str` or `Path`): `simulated`, `real` (upstream's files, downloaded if needed), `sample`, `bfcl` or
            `bfcl:simple_python,multiple` (see [`write_bfcl`]), or a file in the raw layout with golden answers.
        data_dir (`str` or `Path`, *optional*): Folder to search before downloading; of `bfcl`, where its rows are.

    Example:

    ```python
    >>> suite = read_suite("sample")
    >>> suite.name, len(suite.instructions)
    ('sample', 40)
    ```
    """
    kind, _, categories = str(name).partition(":")
    if kind == BFCL:
        name = write_bfcl([part.strip() for part in categories.split(",") if part.strip()], data_dir)
    name, published = str(name), SUITES.get(str(name), "")
    file = str(fetch(published, data_dir).path) if published.startswith("eval_") else name
    if hint := "" if file == "sample" or Path(file).exists() else nearest(file, SUITES):
        raise NotFoundError("no such file", file=file, fix=f"{hint}Pass {', '.join(SUITES)} or a file")
    split, corpus = read_file(file)
    if split == "train":
        raise InputError("there are no golden answers to score against", file=file, fix="pass one that has them")
    instructions, apis = corpus.instructions[split], corpus.apis[split]
    if not instructions:
        raise InputError("no instruction can be read", file=file, fix="pass a file with Instructions")
    digest = next(source.blob_id for role, source in corpus.sources.all() if role == split)
    notes: list[str] = [*corpus.report.notes("apis", "instructions")]
    # A file is the published suite by its bytes, whatever it is called.
    known = [suite for suite, source in SUITES.items() if source in FILES and digest in FILES[source].blob_ids]
    # Another file has not the name of a suite, whose published figures would stand beside its own.
    own = Path(file).name if Path(file).stem in (*SUITES, BFCL) else Path(file).stem
    if kind != BFCL:
        suite = name if name in SUITES else next(iter(known), own)
        return Suite(suite, file, digest, apis, instructions, notes)
    names, raw = {api.id: api.name for api in apis}, {row["Name"]: row["BFCL"] for row in read_raw(Path(file))}
    return Suite(BFCL, file, digest, apis, instructions, notes, {a.id: raw[names[a.api]] for a in instructions})
