"""What is explored: dataset repos, runs and models, found in the folders that other commands write."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import InputError, NotFoundError, ToolAlpacaError
from ..evaluation import trajectory_of
from ..schema import ROLLOUT_FEATURES, Trajectory
from ..storage import intact_rows, read_json
from .states import Replay

ANY = "all"  # the filter that leaves everything

FILTERS = {"api": "API", "process_verdict": "Verdict, by rule", "ended": "Ended"}  # fields of a record

RUN_FILES = ("instructions.json", "trajectories.parquet", "rollouts/trajectories.parquet")  # of a run or an evaluation

LINES = "rollouts.jsonl"  # what a run that is not finished has


@dataclass(frozen=True)
class Target:
    """A folder to look at; a run may have verdicts or none, and be finished or not."""

    kind: Literal["dataset", "run", "model"]
    path: Path


def find_targets(names: Sequence[str]) -> list[Target]:
    """Determine what each folder holds, several in that of `toolalpaca create`; raises [`NotFoundError`] or
    [`InputError`] where there is no such folder, or nothing to look at in it."""
    found: list[Target] = []
    for name in names:
        path = Path(name)
        if not path.is_dir():
            raise NotFoundError("no such folder", file=name, fix="pass a dataset, a run or a model on this machine")
        created = (path / "create.json").is_file()
        inside = [path / part for part in ("dataset", "before", "after", "model")] if created else [path]
        held = [Target(kind, place) for place in inside if (kind := _kind(place)) is not None]
        if not held:
            fix = "pass what dataset_scripts/, run, evaluate, create or training wrote"
            raise InputError("holds neither a dataset, nor a run, nor a model", file=name, fix=fix)
        found += held
    return found


def _kind(path: Path) -> Literal["dataset", "run", "model"] | None:
    if any((path / "sft").glob("*.parquet")):
        return "dataset"
    if any((path / name).is_file() for name in (*RUN_FILES, LINES, f"rollouts/{LINES}")):
        return "run"
    return "model" if any((path / f"{name}config.json").is_file() for name in ("", "adapter_")) else None


class DatasetView:
    """The rows of a dataset's `sft` config, with their `ids`; one becomes Python objects when it is looked at.

    Raises [`InputError`] where a file has no such rows.
    """

    def __init__(self, folder: Path) -> None:
        files = sorted(map(str, (folder / "sft").glob("*.parquet")))
        try:
            table = pq.read_table(files, columns=["id", "segments"])
        except (OSError, ValueError, pa.ArrowException) as error:
            raise InputError(f"cannot be read ({error})", file=folder / "sft") from None
        self.ids, self._segments = table["id"].to_pylist(), table["segments"]

    def segments(self, name: str) -> list[dict[str, Any]]:
        """The segments of a row."""
        return self._segments[self.ids.index(name)].as_py()


def _lines(file: Path) -> pa.Table:
    """The last line of each rollout: one that failed is made again."""
    rows = {row["id"]: row for row in intact_rows(file)}
    return pa.Table.from_pylist(list(rows.values()), schema=ROLLOUT_FEATURES.arrow_schema)


class RunView:
    """A run, or an evaluation of one; a trajectory becomes Python objects when it is looked at.

    `records` are by id what was asked, with golden calls and verdicts if it was scored. Raises [`InputError`].
    """

    def __init__(self, folder: Path) -> None:
        self.name, self.records = str(folder), dict[str, dict[str, Any]]()
        self._places: dict[str, int] = {}
        files = [place / name for name in ("trajectories.parquet", LINES) for place in (folder / "rollouts", folder)]
        file = next((file for file in files if file.is_file()), None)
        self._rollouts = None if file is None else file.parent
        if file is not None:
            try:
                self._table = pq.read_table(file) if file.suffix == ".parquet" else _lines(file)
                about = self._table.select(["id", "api", "instruction", "ended", "error"]).to_pylist()
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise InputError(f"cannot be read ({error})", file=file, fix="run again") from None
            self._places = {row["id"]: place for place, row in enumerate(about)}
            self.records = {row["id"]: row | {"index": "", "failed": row["ended"] == "failed"} for row in about}
        if (scored := folder / "instructions.json").is_file():
            try:
                # Verdicts that were counted alone have no instruction.
                rows = {str(row["id"]): row for row in read_json(scored)}
                self.records = {id: row | {"instruction": str(row.get("instruction", id))} for id, row in rows.items()}
            except (TypeError, KeyError) as error:
                raise InputError(f"holds no records ({error})", file=scored) from None

    def trajectory(self, name: str) -> Trajectory | None:
        """What the model did, where that is known."""
        place = self._places.get(name)
        return None if place is None else trajectory_of(self._table.slice(place, 1).to_pylist()[0])

    @cached_property
    def replay(self) -> Replay | None:
        """Makes its calls again; `None` of trajectories that no run wrote, or whose `run.json` is damaged."""
        try:
            return None if self._rollouts is None else Replay(self._rollouts)
        except (ToolAlpacaError, LookupError, TypeError, ValueError, AttributeError):
            return None

    def values(self, key: str) -> list[str]:
        """The values of a field to filter by, `all` first."""
        return [ANY, *sorted({str(record.get(key) or "none") for record in self.records.values()})]

    def choose(self, *wanted: str) -> list[tuple[str, str]]:
        """Label and id of the records that pass a value each for [`FILTERS`]; what is left out lets all pass."""
        pairs = [(key, value) for key, value in zip(FILTERS, wanted, strict=False) if value != ANY]
        return [
            (f"{record.get('process_verdict') or record.get('ended')}: {record['instruction'][:90]}", name)
            for name, record in self.records.items()
            if all(value == str(record.get(key) or "none") for key, value in pairs)
        ]
