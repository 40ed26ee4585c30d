"""The instructions a model is evaluated on, and its attempts at them, this package's or upstream's."""

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ..agent import read_tasks, referenced
from ..data import LeftOut, Redactor, Unusable, left_out, read_file, read_instance, read_json, read_raw, trajectory_of
from ..errors import InputError, NotFoundError, nearest_path
from ..openapi import mapping
from ..schema import Api, Instruction, Trajectory
from ..sources import FILES, fetch
from .bfcl import write_bfcl

SUITES = {"simulated": "eval_simulated", "real": "eval_real", "sample": "sample"}  # and what each is read from

BFCL = "bfcl"  # name of the suite that [`write_bfcl`] writes

# What a run's folder is searched for; the first is complete even where the run was killed.
NAMES = ("rollouts.jsonl", "trajectories.parquet", "trajectories.json")

KEYS_MARK = "\nAuthentication information:"  # between an instruction of upstream's real set and the model's keys


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


def read_suite(name: str | Path, data_dir: str | Path | None = None, references: bool = False) -> Suite:
    """Read a suite.

    Args:
        name (`str` or `Path`): `simulated`, `real` (upstream's files, downloaded if needed), `sample`, `bfcl` or
            `bfcl:simple_python,multiple` (see [`write_bfcl`]), or a file in the raw layout with golden answers.
        data_dir (`str` or `Path`, *optional*): Folder to search before downloading; of `bfcl`, where its rows are.
        references (`bool`, *optional*): Of a file without golden answers, take the calls of its trajectories.

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
    if not (file == "sample" or Path(file).exists()):
        fix = f"{nearest_path(file, SUITES)}pass {', '.join(SUITES)} or a file"
        raise NotFoundError("no such file", file=file, fix=fix)
    read = read_tasks(file)
    apis, instructions, digest = read.apis, read.instructions, read.digest
    if references and not instructions:
        split, corpus = read_file(file)
        instructions = referenced(corpus.trajectories.get(split, []))
    if not instructions:
        raise InputError("there are no golden answers to score against", file=file, fix="pass one that has them")
    notes: list[str] = [*read.left_out]
    # A file is the published suite by its bytes, whatever it is called.
    known = [suite for suite, source in SUITES.items() if source in FILES and digest in FILES[source].blob_ids]
    # Another file has not the name of a suite, whose published figures would stand beside its own.
    own = Path(file).name if Path(file).stem in (*SUITES, BFCL) else Path(file).stem
    if kind != BFCL:
        suite = name if name in SUITES else next(iter(known), own)
        return Suite(suite, file, digest, apis, instructions, notes)
    names, raw = {api.id: api.name for api in apis}, {row["Name"]: row["BFCL"] for row in read_raw(Path(file))}
    return Suite(BFCL, file, digest, apis, instructions, notes, {a.id: raw[names[a.api]] for a in instructions})


def read_trajectories(path: str | Path, suite: Suite) -> tuple[list[Attempt], list[str]]:
    """Read a model's attempts at a suite's instructions: one each, in the suite's order, `missing` if there is none;
    and a sentence for everything that was set aside, such as rows for other instructions and duplicates.

    The path is a run's folder, its `rollouts.jsonl` or `trajectories.parquet`, or a file in the raw layout with
    `Instances` (upstream's `api_data_*.json`); for upstream's evaluation outputs see `experimental.recorded_runs`.
    Raises [`NotFoundError`] without it, [`InputError`] if it has another layout, or nothing for this suite.
    """
    path = Path(path)
    if path.is_dir():
        path = next((path / name for name in NAMES if (path / name).is_file()), path)
    if not path.is_file():
        raise NotFoundError("no trajectories", file=path, fix=f"{nearest_path(path)}pass a run's folder, or a file")
    found = _Found(suite, path.name)
    if (kind := path.suffix.lower()) in (".parquet", ".jsonl"):
        for place, row in _parquet(path) if kind == ".parquet" else _lines(path, found.notes):
            found.add_row(place, row)
    else:
        content = _json(path, found.notes)
        if not isinstance(content, list) or not any(isinstance(api, dict) and "Instances" in api for api in content):
            raise InputError("no Instances", file=path, fix="pass trajectories in Parquet or in the raw layout")
        found.add_raw(content)
    if not found.attempts:
        reason = left_out(found.notes) or (found.notes or ["it has no entry"])[0]
        raise InputError(f"no trajectory for the instructions of {suite.file}: {reason}", file=path)
    missing = (None, "missing", "there is none")
    attempts = [found.attempts.get(asked.id) or found.attempt(asked, *missing) for asked in suite.instructions]
    return attempts, found.notes


def run_note(folder: Path) -> dict[str, Any]:
    """The contents of a run's `run.json`; empty where there is none, or none that can be read."""
    with suppress(InputError, NotFoundError):
        return mapping(read_json(folder / "run.json"))
    return {}


class _Found:
    """Attempts found so far, and notes on rejected rows."""

    def __init__(self, suite: Suite, file: str) -> None:
        self.suite, self.file = suite, file
        self.attempts: dict[str, Attempt] = {}
        self.notes: list[str] = []
        self._apis = {api.id: api for api in suite.apis}
        self._asked = {asked.id: asked for asked in suite.instructions}
        # Ids without their split: a copy of a file under another name may have been read as another split.
        self._tails = {asked.id.partition("/")[2]: asked for asked in suite.instructions}

    def leave_out(self, place: str, reason: str) -> None:
        self.notes.append(LeftOut(f"{self.file}, {place}", reason))

    def attempt(self, asked: Instruction, *made: Any) -> Attempt:
        return Attempt(self._apis[asked.api], index_of(asked), asked, *made)

    def add_row(self, place: str, row: Any) -> None:
        """Add a row of the `trajectories` config, or of a run."""
        try:
            trajectory = trajectory_of(row)
            asked = self._asked.get(row["id"]) or self._tails.get(row["id"].partition("/")[2])
            faults = tuple(map(str, row.get("faults") or ()))
        except (KeyError, TypeError, AttributeError, RecursionError):
            return self.leave_out(place, "is no trajectory (id, instruction, steps, response), and is left out")
        ended, error = str(row.get("ended") or "answered"), str(row.get("error") or "")
        self._add(place, asked, trajectory, ended, error, None, faults)

    def add_raw(self, content: list[Any]) -> None:
        """Add APIs in the raw layout, with `Instances` in the order of `Instructions`."""
        redact = Redactor(api for api in content if isinstance(api, dict))
        named: dict[str, list[Api]] = defaultdict(list)
        for api in self.suite.apis:
            named[api.name].append(api)
        asked = {(instruction.api, index_of(instruction)): instruction for instruction in self.suite.instructions}
        for number, raw in enumerate(content):
            name, instances = (mapping(raw).get(key) for key in ("Name", "Instances"))
            place, listed = f"API {number} ({name})", isinstance(instances, list)
            if not listed or not named.get(str(name)):
                problem = f"is not in {self.suite.file}" if listed else "has no list of Instances"
                self.leave_out(place, f"{problem}, and is left out")
                continue
            api = named[str(name)].pop(0)  # the second API of a name is the suite's second
            raw = redact.api(raw)
            for index, instance in enumerate(raw["Instances"]):
                said = mapping(instance)
                error = "" if said.get("error") is None else str(said["error"])
                ended = str(said.get("ended") or "answered")
                try:
                    trajectory = read_instance(instance, api.id, index, raw.get("Instructions"))
                except Unusable as reason:
                    if error == "not run":
                        continue
                    trajectory, ended, error = None, "failed", error or f"the instance {reason}"
                self._add(f"{place}, instance {index}", asked.get((api.id, index)), trajectory, ended, error)

    def _add(self, place: str, asked: Instruction | None, trajectory: Trajectory | None, *more: Any) -> None:
        answered = trajectory.instruction.partition(KEYS_MARK)[0] if trajectory else ""
        if asked is None:
            self.leave_out(place, f"is for no instruction of {self.suite.file}, and is left out")
        elif trajectory and answered and answered.split() != asked.instruction.split():
            reason = f"answers another instruction than {asked.id} ({trajectory.instruction[:60]!r}), and is left out"
            self.leave_out(place, reason)
        elif asked.id in self.attempts:
            self.leave_out(place, f"is a second one for {asked.id}; the first is scored")
        else:
            self.attempts[asked.id] = self.attempt(asked, trajectory, *more)


def _parquet(path: Path) -> Iterator[tuple[str, Any]]:
    try:
        rows = pq.read_table(path).to_pylist()
    except (pa.ArrowException, OSError) as error:
        problem = f"cannot be read as Parquet ({str(error).partition(chr(10))[0]})"
        raise InputError(problem, file=path, fix="where its run was killed, pass the folder") from None
    yield from ((f"row {number}", row) for number, row in enumerate(rows))


def _lines(path: Path, notes: list[str]) -> Iterator[tuple[str, Any]]:
    latest: dict[str, tuple[str, Any]] = {}
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            # A rollout that failed is made again: its later line counts.
            latest[row["id"]] = (f"line {number}", row)
        except (ValueError, KeyError, TypeError, RecursionError):
            notes.append(LeftOut(f"{path.name}, line {number}", "is cut off or no trajectory, and is left out"))
    yield from latest.values()


def _json(path: Path, notes: list[str]) -> Any:
    """The file's value; of a truncated list, the complete items."""
    try:
        return read_json(path)
    except InputError:
        rows, decoder, comma = [], json.JSONDecoder(), re.compile(r"\s*,\s*")
        with suppress(OSError, ValueError, RecursionError):
            text = path.read_bytes().decode("utf-8-sig")
            mark = re.match(r"\s*\[\s*", text)
            while mark:
                row, place = decoder.raw_decode(text, mark.end())
                rows.append(row)
                mark = comma.match(text, place)
        if not rows:
            raise
    notes.append(f"{path.name} breaks off: {len(rows)} APIs of it are whole and are scored, the rest is missing")
    return rows
