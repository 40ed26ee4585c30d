"""The page as a Gradio Space, with the rows and rollouts that it shows."""

import io
import json
from collections.abc import Sequence
from functools import reduce
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from huggingface_hub import SpaceCardData

from .. import __version__
from ..data import Slugs, version_text
from ..errors import InputError
from ..evaluation import run_note
from ..hub import Content, Manifest, check_repo_id, without_places
from ..openapi import mapping
from ..storage import read_text
from .states import REPLAYED
from .targets import RUN_FILES, find_targets

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
    linked = [dataset_id] if dataset_id else None
    about = SpaceCardData(title=name, **run_by, tags=["tool-use", "toolalpaca"], datasets=linked)
    made = "Training rows with the trained text marked, and rollouts beside their golden calls and verdicts."
    card = f"---\n{about}\n---\n\n# {name}\n\n{made} Written by toolalpaca-hf {version_text()}.\n"
    wanted = package or f"toolalpaca-hf[explore]=={__version__}"
    texts = {"README.md": card, "app.py": APP, "requirements.txt": f"{wanted}\n"}
    files |= {path: text.encode() for path, text in texts.items()}
    owned = tuple(f"shown/*/{pattern}" for patterns in SHOWN.values() for pattern in patterns)
    return Manifest("space", files, "Upload Space with toolalpaca-hf", left_out, owned)
