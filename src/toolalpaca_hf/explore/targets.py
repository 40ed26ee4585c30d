"""What is explored: dataset repos, runs and models in the folders that other commands write; and a Space with them."""

import io
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, reduce
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
from huggingface_hub import SpaceCardData

from .. import __version__
from ..data import Slugs, trajectory_of, version_text
from ..errors import InputError, NotFoundError, ToolAlpacaError
from ..evaluation import run_note
from ..features import ROLLOUT_FEATURES
from ..hub import Content, Manifest, check_repo_id, without_places
from ..openapi import mapping
from ..schema import Trajectory
from ..storage import intact_rows, read_json, read_text
from .playground import REPLAYED, Replay

ANY = "all"  # the filter that leaves everything

FILTERS = {"api": "API", "process_verdict": "Verdict, by rule", "ended": "Ended"}  # fields of a record

RUN_FILES = ("instructions.json", "trajectories.parquet", "rollouts/trajectories.parquet")  # of a run or an evaluation

LINES = "rollouts.jsonl"  # what a run that is not finished has

SHOWN = {  # by kind of folder, the files that the page reads
    "dataset": ("sft/*.parquet",),
    "run": (*RUN_FILES, *(f"{place}{name}.json" for place in ("", "rollouts/") for name in ("run", "trajectories"))),
}

APP = '''"""Datasets and runs as `toolalpaca explore` shows them."""

from pathlib import Path

from toolalpaca_hf.explore import build_app, find_targets, launch

folders = sorted(str(path) for path in Path(__file__).with_name("shown").iterdir())
launch(build_app(find_targets(folders)), 7860, "0.0.0.0")
'''


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
    configs = [path / name for name in ("config.json", "adapter_config.json") if (path / name).is_file()]
    # An annotation has a config.json as well.
    kinds = {"model_type", "peft_type"}
    return "model" if any(kinds & mapping(read_json(file, "pass another folder")).keys() for file in configs) else None


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
        return self._segments[self.ids.index(name)].as_py() or []


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
                if file.suffix == ".parquet":
                    self._table = pq.read_table(file)
                else:  # the last line of each rollout: one that failed is made again
                    rows = {row["id"]: row for row in intact_rows(file)}
                    self._table = pa.Table.from_pylist([*rows.values()], schema=ROLLOUT_FEATURES.arrow_schema)
                about = self._table.select(["id", "api", "instruction", "ended", "error"]).to_pylist()
            except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
                raise InputError(f"cannot be read ({error})", file=file, fix="run again") from None
            self._places = {row["id"]: place for place, row in enumerate(about)}
            self.records = {row["id"]: row | {"index": "", "failed": row["ended"] == "failed"} for row in about}
        if (scored := folder / "instructions.json").is_file():
            try:
                # Verdicts that were only counted have no instruction.
                rows = {str(row["id"]): row for row in read_json(scored)}
                self.records = {id: row | {"instruction": str(row.get("instruction", id))} for id, row in rows.items()}
            except (TypeError, KeyError) as error:
                raise InputError(f"holds no records ({error})", file=scored) from None

    def trajectory(self, name: str) -> Trajectory | None:
        """What the model did, where that is known."""
        with suppress(KeyError, TypeError, AttributeError):  # of a row that has none
            return trajectory_of(self._table.slice(self._places[name], 1).to_pylist()[0])
        return None

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
            (f"{record.get('process_verdict') or record.get('ended')}: {str(record['instruction'] or '')[:90]}", name)
            for name, record in self.records.items()
            if all(value == str(record.get(key) or "none") for key, value in pairs)
        ]


def _public(file: Path, notes: Sequence[dict[str, Any]]) -> Content:
    """A file of a run, without the servers and folders of whoever made it."""
    runs = [mapping(note.get("settings")) for note in notes] or [{}]
    if file.name == "run.json":
        return json.dumps({"settings": {name: runs[0].get(name) for name in REPLAYED}}).encode()
    if not any(each.get("endpoint") or "://" in str(each.get("calls")) for each in runs):
        return file
    if file.suffix == ".json":
        return reduce(without_places, notes, read_text(file)).encode()
    table = pq.read_table(file)
    errors = [reduce(without_places, notes, str(error or "")) for error in table["error"].to_pylist()]
    made, place = io.BytesIO(), table.column_names.index("error")
    pq.write_table(table.set_column(place, table.schema.field(place), [errors]), made)
    return made.getvalue()


def space_manifest(
    folders: Sequence[str], repo_id: str, dataset_id: str | None = None, package: str | None = None
) -> Manifest:
    """Collect what a Space shows: rows of datasets and rollouts of finished runs. The rest is left out, and said.

    Args:
        repo_id (`str`): The Space, such as `me/petstore`.
        dataset_id (`str`, *optional*): The dataset repo that the card links.
        package (`str`, *optional*): What pip installs there; this version of toolalpaca-hf with its extra `explore`.
    """
    check_repo_id(repo_id)
    files, slugs, left_out = {}, Slugs(), {}
    for target in find_targets(folders):
        if target.kind == "model":
            left_out[str(target.path)] = "a model, which `toolalpaca publish model` takes"
            continue
        place = slugs.take(" ".join(target.path.resolve().parts[-2:]))
        notes = [note for name in ("", "rollouts") if (note := run_note(target.path / name))]
        found = [file for pattern in SHOWN[target.kind] for file in sorted(target.path.glob(pattern))]
        if {file.name for file in found} <= {"run.json"}:
            left_out[str(target.path)] = "a run that is not finished"
            continue
        for file in found:
            files[f"shown/{place}/{file.relative_to(target.path).as_posix()}"] = _public(file, notes)
    if not files:
        raise InputError("no folder holds a dataset or a finished run", fix="pass what create, run or evaluate wrote")
    name = repo_id.partition("/")[2]
    run_by: dict[str, Any] = {"sdk": "gradio", "sdk_version": version("gradio"), "app_file": "app.py"}
    run_by |= {"tags": ["tool-use", "toolalpaca"], "datasets": [dataset_id] if dataset_id else None}
    about = SpaceCardData(title=name, **run_by)
    made = "Training rows with the trained text marked, and rollouts beside their golden calls and verdicts."
    card = f"---\n{about}\n---\n\n# {name}\n\n{made} Written by toolalpaca-hf {version_text()}.\n"
    wanted = f"{package or f'toolalpaca-hf[explore]=={__version__}'}\n"
    texts = {"README.md": card, "app.py": APP, "requirements.txt": wanted}
    files |= {path: text.encode() for path, text in texts.items()}
    owned = tuple(f"shown/*/{pattern}" for patterns in SHOWN.values() for pattern in patterns)
    return Manifest("space", files, "Upload Space with toolalpaca-hf", left_out, owned)
