"""The questions of a task, from a file or the Hub, as the prompts a model is given."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from ...errors import ToolAlpacaError
from ..read import hub_rows, read_lines
from . import Task, prompt_of
from .dateset import dateset
from .layouts import Question, simple


@dataclass(frozen=True)
class Item:
    """One question of a task.

    Args:
        id (`str`): `TASK/INDEX`, the index being the row's place in its file.
        prompt (`str`): What the model is given.
        answers (`tuple[str, ...]`): Each of them is right.
        date (`str`, *optional*): The day on which it is asked.
    """

    id: str
    prompt: str
    answers: tuple[str, ...]
    date: str | None = None


def read_items(
    task: Task, data: str | Path | None = None, limit: int | None = None
) -> tuple[list[Item], str, list[str]]:
    """The questions of a task.

    Args:
        task ([`Task`]): From [`task_named`].
        data (`str` or `Path`, *optional*): A file, or a folder of `.jsonl` files as LAMA has them; the Hub by default.
        limit (`int`, *optional*): The first so many alone.

    Returns:
        `tuple[list[Item], str, list[str]]`: The items, where they are from, and a note where rows were left out.

    Raises:
        [`ToolAlpacaError`]: The data can not be had, or none of it is of the task's layout.

    Example:

    ```python
    >>> from toolalpaca_hf.toolformer.tasks import TASKS
    >>> items, _, _ = read_items(TASKS["svamp"], "svamp.json")  # doctest: +SKIP
    >>> items[0].answers  # doctest: +SKIP
    ('51',)
    ```
    """
    if task.name == "dateset" and data is None:
        asked, origin = enumerate(dateset()), "made by this package"
    else:
        rows, origin = _rows(task, data)
        asked = enumerate(_question(task, raw) for raw in rows)
    template = prompt_of(task.prompt)
    items, left_out = [], 0
    for index, question in islice(asked, limit):
        if question is None:
            left_out += 1
            continue
        # Not `format`: a question may hold braces.
        prompt = template.replace("{context}", question.context).replace("{text}", question.text)
        items.append(Item(f"{task.name}/{index}", prompt, question.answers, question.date))
    if not items:
        raise ToolAlpacaError(
            f"{origin} holds no question of {task.title}; pass the published file, or JSON lines with question and answers"
        )
    notes = [f"{task.title}: {left_out} rows can not be asked (another layout, or no mask at the end)"]
    return items, origin, notes if left_out else []


def _rows(task: Task, data: str | Path | None) -> tuple[Iterable[Any], str]:
    if data is None:
        mend = "pass its file with --data"
        if task.hub is None:
            raise ToolAlpacaError(f"{task.title} is on no Hub that can be read; {mend}")
        hub = task.hub
        return hub_rows(hub.repo, hub.config, hub.split, mend), f"{hub.repo}, {hub.split}"
    path = Path(data)
    if not path.exists():
        raise ToolAlpacaError(f"{path} does not exist; pass the file of {task.title} with --data")
    return _of_files(sorted(path.rglob("*.jsonl")) if path.is_dir() else [path]), path.name


def _of_files(paths: list[Path]) -> Iterator[Any]:
    for path in paths:
        yield from read_lines(path)


def _question(task: Task, raw: Any) -> Question | None:
    if not isinstance(raw, dict):
        return None
    try:
        return task.layout(raw) or simple(raw)
    except (AttributeError, KeyError, TypeError):  # a field of another kind, somewhere inside
        return None
