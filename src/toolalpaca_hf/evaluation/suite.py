"""The instructions a model is evaluated on, and its attempts at them."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..data import LeftOut, read_file, read_raw
from ..errors import InputError, NotFoundError, nearest
from ..openapi import mapping
from ..schema import Api, Instruction, Trajectory
from ..sources import FILES, fetch
from .bfcl import write_bfcl

SUITES = {"simulated": "eval_simulated", "real": "eval_real", "sample": "sample"}
"""Names of suites, and the published file each is read from; `sample` is the embedded corpus' held-out APIs."""

BFCL = "bfcl"
"""Name of the suite that [`write_bfcl`] writes."""


@dataclass(frozen=True)
class Attempt:
    """An attempt at one instruction of a suite.

    Args:
        api, index, instruction: What was asked, with its golden calls: an API, and the index in its `Instructions`.
        trajectory ([`Trajectory`], *optional*): What the model did; `None` if there is nothing.
        ended (`str`, *optional*, defaults to `"answered"`): Why the rollout ended (`answered`, `steps`, ...,
            `failed`), or `missing`.
        error (`str`, *optional*): Why it failed.
        text (`str`, *optional*): A recorded verdict of a judge, as written.
        faults (`tuple[str, ...]`, *optional*): The faults that the simulator made in it.
    """

    api: Api
    index: int
    instruction: Instruction
    trajectory: Trajectory | None
    ended: str = "answered"
    error: str = ""
    text: str | None = None
    faults: tuple[str, ...] = ()

    @property
    def failed(self) -> bool:
        """Whether there is no trajectory to score; it still counts in every denominator."""
        return self.trajectory is None or self.ended == "failed"


def index_of(instruction: Instruction) -> int:
    """The instruction's index in the API's `Instructions`, the last part of its id."""
    return int(instruction.id.rpartition("/")[2])


@dataclass(frozen=True)
class Suite:
    """APIs and their instructions.

    Args:
        name (`str`): `simulated`, `real`, `sample`, or the name of a file.
        file, digest (`str`): The file it was read from (`sample` for the embedded corpus), and its git blob id.
        apis, instructions (`list`): In the file's order.
        notes (`list[str]`): A sentence for each row of the file that was set aside.
        answers (`dict[str, dict]`, *optional*): Of BFCL's rows by instruction id: `answers` and `functions`, see
            [`ast_verdict`].
    """

    name: str
    file: str
    digest: str
    apis: list[Api]
    instructions: list[Instruction]
    notes: list[str]
    answers: dict[str, dict[str, Any]] = field(default_factory=dict)

    def first(self, count: int | None) -> "Suite":
        """The suite with only the first `count` instructions; all if it is `None`."""
        return replace(self, instructions=self.instructions[:count])


def read_suite(name: str | Path, data_dir: str | Path | None = None) -> Suite:
    """Read a suite.

    Args:
        name (`str` or `Path`): `simulated`, `real` (upstream's files, downloaded if needed), `sample`, `bfcl` or
            `bfcl:simple_python,multiple` (see [`write_bfcl`]), or a file in the raw layout with golden answers.
        data_dir (`str` or `Path`, *optional*): Folder to search before downloading; of `bfcl`, where its rows are.

    Raises:
        [`ToolAlpacaError`]: The file is missing, cannot be downloaded, or holds no golden answers.

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
        fix = "pass a file such as eval_simulated.json"
        raise InputError("there are no golden answers to score against", file=file, fix=fix)
    instructions, apis = corpus.instructions[split], corpus.apis[split]
    if not instructions:
        raise InputError("no instruction can be read", file=file, fix="pass a file with Instructions")
    digest = next(source.blob_id for role, source in corpus.sources.all() if role == split)
    aside = [row for row in corpus.report.rows if row.config != "trajectories"]
    notes: list[str] = [LeftOut(f"{row.file}, {row.row}", f"{row.reason}, and is not asked") for row in aside]
    # A file is the published suite by its bytes, whatever it is called.
    known = [suite for suite, source in SUITES.items() if source in FILES and digest in FILES[source].blob_ids]
    # Another file has not the name of a suite, whose published figures would stand beside its own.
    own = Path(file).name if Path(file).stem in (*SUITES, BFCL) else Path(file).stem
    rows = read_raw(Path(file)) if kind == BFCL or own == f"{BFCL}.json" else ()
    suite = BFCL if any("BFCL" in mapping(row) for row in rows) else name if name in SUITES else next(iter(known), own)
    raw = {row.get("Name"): row["BFCL"] for row in rows if "BFCL" in mapping(row)}
    names = {api.id: api.name for api in apis}
    answers = {asked.id: raw[names[asked.api]] for asked in instructions if names[asked.api] in raw}
    return Suite(suite, file, digest, apis, instructions, notes, answers)
