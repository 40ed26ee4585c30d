"""The instructions of a run."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..data import LeftOut, left_out, read_file
from ..errors import InputError
from ..openapi import load_api
from ..schema import Api, Instruction, Trajectory


@dataclass(frozen=True)
class Task:
    """One instruction to roll out; its id is `SPLIT/API-SLUG/INDEX`.

    The `hint` is what the user also knows; it is never shown to the model.
    """

    id: str
    api: Api
    instruction: str
    hint: str = ""


@dataclass(frozen=True)
class TaskFile:
    """APIs and instructions of a file, in its order."""

    apis: list[Api]
    tasks: list[Task]
    instructions: list[Instruction]  # with golden calls; none of training APIs
    digest: str  # git blob id; for own instructions, a hash of document and instructions
    left_out: tuple[LeftOut, ...] = ()


def own_tasks(source: str | Api, instructions: Sequence[str], private: Sequence[str] = ()) -> TaskFile:
    """Tasks from your own instructions for an API, or the URL or file of its document, see [`load_api`]."""
    api = source if isinstance(source, Api) else load_api(source, private=private)
    if not api.functions:
        raise InputError("documents no operation", file=api.link, fix="pass another document")
    tasks = [Task(f"{api.id}/{i}", api, instruction) for i, instruction in enumerate(instructions)]
    document = json.dumps([api.documentation, *instructions], sort_keys=True)
    return TaskFile([api], tasks, [], hashlib.sha1(document.encode("utf-8", "replace")).hexdigest())


def read_tasks(path: str | Path) -> TaskFile:
    """Read the instructions of a file in the raw layout, or of `sample`, the embedded corpus's held-out APIs.

    Raises:
        [`ToolAlpacaError`]: The file is missing, is not in the raw layout, or holds no instruction.

    Example:

    ```python
    >>> read_tasks("sample").tasks[0].id
    'eval_simulated/orchard-lane/0'
    ```
    """
    split, corpus = read_file(path)
    apis = corpus.apis[split]
    train, by_id = split == "train", {api.id: api for api in apis}
    asked: Sequence[Instruction | Trajectory] = (corpus.trajectories if train else corpus.instructions)[split]
    tasks = [Task(row.id, by_id[row.api], row.instruction, getattr(row, "hint", "")) for row in asked]
    if not tasks:
        why = left_out(corpus.report.notes()) or "pass a file with Instructions"
        raise InputError(f"holds no instruction that can be read: {why}", file=path)
    digest = next(source.blob_id for role, source in corpus.sources.all() if role == split)
    instructions = [] if train else list(corpus.instructions[split])
    notes = corpus.report.notes("apis", "trajectories" if train else "instructions")
    return TaskFile(list(apis), tasks, instructions, str(digest), tuple(notes))
