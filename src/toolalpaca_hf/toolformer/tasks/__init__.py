"""The tasks of Toolformer's evaluation (section 4.2): their questions, data sources and metrics."""

import random
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from importlib.resources import files
from itertools import islice
from pathlib import Path
from typing import Any

import yaml

from ...errors import InputError, NotFoundError, OptionError, nearest
from ...metrics import answer_given, lama_correct, math_correct, numbers_of
from ..rows import hub_rows, read_rows

_BLANK = re.compile(r"(?:\[MASK\]|\[Y\]|_X_)[\s.]*$")


@dataclass(frozen=True)
class Question:
    """A question, word problem, or statement to complete, asked on `date`; any of the answers is right."""

    text: str
    answers: tuple[str, ...]
    context: str = ""
    date: str | None = None


# Reads a row; `None` where it is of another layout or cannot be asked.
Layout = Callable[[Mapping[str, Any]], Question | None]


def simple(raw: Mapping[str, Any]) -> Question | None:
    """The layout of every task: {"question": "...", "answers": ["...", 3], "date": "2015-03-02", "context": "..."}.

    So are WebQS, Natural Questions, TriviaQA (a value with aliases) and MLQA (`{"text": [...]}` or `[{"text": ...}]`).
    """
    context, day = raw.get("context"), raw.get("date")
    day = str(day) if isinstance(day, str | date) else None  # a table has dates
    given = _first(raw, "answers", "answer")
    if isinstance(given, Mapping):
        given = given.get("text") or [given.get("value"), *(given.get("aliases") or [])]
    return _question(raw.get("question"), _texts(given), context if isinstance(context, str) else "", day)


def word_problem(raw: Mapping[str, Any]) -> Question | None:
    """SVAMP, ASDiv, MAWPS and GSM8K, as published or as the Hub has them."""
    body = (_first(raw, "Body", "body") or "").strip()
    text = _first(raw, "Question", "sQuestion", "question").strip()
    # GSM8K's answer is a solution; ASDiv's names its unit, `9 (apples)`.
    answers = [
        answer.rpartition("####")[2] for answer in _texts(_first(raw, "Answer", "lSolutions", "result", "answer"))
    ]
    between = "" if not body else " " if body[-1] in ".!?,;:" else ", "
    return _question(f"{body}{between}{text}" if text else "", answers[:1])


def cloze(raw: Mapping[str, Any]) -> Question | None:
    """LAMA: statements whose last word is masked. As in the paper, one is skipped if its mask is not at the end."""
    if raw.get("template") and raw.get("sub_label"):
        sentence = raw["template"].replace("[X]", raw["sub_label"])
    else:
        evidence = (raw.get("evidences") or [raw])[0]
        sentence = "".join(_texts(raw.get("masked_sentences"))[:1]) or evidence.get("masked_sentence") or ""
    return _completed(sentence, _texts(raw.get("obj_label")))


def dated(raw: Mapping[str, Any]) -> Question | None:
    """TempLAMA: statements that end in `_X_` and are true in a year; the calendar is set to its middle."""
    answer = raw.get("answer")
    names = [n.get("name") if isinstance(n, Mapping) else n for n in answer] if isinstance(answer, list) else []
    found, year = _completed(str(raw.get("query", "")), _texts(names)), re.match(r"\d{4}", str(raw.get("date", "")))
    return found and replace(found, date=f"{year[0]}-07-01" if year else None)


def _completed(sentence: str, answers: Sequence[str]) -> Question | None:
    return _question(_BLANK.sub("", sentence), answers) if _BLANK.search(sentence) else None


def _question(text: Any, answers: Sequence[str], context: str = "", date: str | None = None) -> Question | None:
    kept = tuple(answer.strip() for answer in answers if answer.strip())
    return Question(text.strip(), kept, context, date) if isinstance(text, str) and text.strip() and kept else None


def _first(raw: Mapping[str, Any], *names: str) -> Any:
    """A row of Parquet has every column, most of them null."""
    return next((raw[name] for name in names if raw.get(name) is not None), None)


def _texts(value: Any) -> list[str]:
    listed = value if isinstance(value, list | tuple) else [value]
    values = (item.get("text") if isinstance(item, Mapping) else item for item in listed)
    return [
        str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
        for value in values
        if isinstance(value, str | int | float) and not isinstance(value, bool)
    ]


@dataclass(frozen=True)
class EvalTask:
    """A set of questions, with its prompt and metric."""

    name: str
    title: str
    section: str  # of arXiv 2302.04761
    layout: Layout  # of the published files; the simple one always works as well
    prompt: str  # a file of `prompts`
    measure: str  # of `MEASURES`
    hub: list[Any] | None = None  # repo, config and split, if the Hub has files that `load_dataset` can open
    max_new_tokens: int = 64
    max_calls: int = 1
    published: list[float] | None = None  # percent right of GPT-J 6B, and of Toolformer made of it


_FOLDER = files("toolalpaca_hf.toolformer.tasks")
_LISTED: dict[str, Any] = yaml.safe_load((_FOLDER / "tasks.yaml").read_text(encoding="utf-8"))
_LAYOUTS: dict[str, Layout] = {layout.__name__: layout for layout in (cloze, dated, simple, word_problem)}


TASKS: dict[str, EvalTask] = {}
for _name, _own in _LISTED["tasks"].items():
    _fields = _LISTED["kinds"].get(_own.pop("kind", ""), {}) | _own
    TASKS[_name] = EvalTask(_name, **_fields | {"layout": _LAYOUTS[_fields["layout"]]})


def task_named(name: str, solutions: bool = False) -> EvalTask:
    """A task by its name; with `solutions`, maths tasks ask for a worked solution and take its last number."""
    if name not in TASKS:
        fix = f"{nearest(name, TASKS)}choose among {', '.join([*TASKS, 'perplexity'])}"
        raise OptionError(f"no task {name!r}", option="--task", fix=fix)
    task = TASKS[name]
    if not solutions or task.prompt == "solution":
        return task
    if task.prompt != "number":
        raise OptionError(f"{name} has no worked solutions", option="--solutions", fix="leave it out")
    return replace(task, title=f"{task.title}, worked out", published=None, **_LISTED["kinds"]["solutions"])


def prompt_of(name: str) -> str:
    """A prompt with the placeholder `{text}`, and for some tasks `{context}`."""
    return (_FOLDER / "prompts" / f"{name}.txt").read_text(encoding="utf-8")


def _final_number(text: str) -> str:
    """The part of a solution with its answer: after the last `####`, else the last number."""
    _, mark, after = text.rpartition("####")
    return after if mark else "".join(f"{number:f}" for number in [*numbers_of(text)][-1:])


MEASURES: dict[str, Callable[[str, Sequence[str]], bool]] = {
    "first_number": math_correct,
    "last_number": lambda text, answers: math_correct(_final_number(text), answers),
    "five_words": lama_correct,
    "ten_words": lambda text, answers: answer_given(text, answers, words=10),
    "twenty_words": answer_given,
}
"""Whether a text without its calls gives one of the answers: in a number (section 4.2.2) or in its first words."""


_FIRST, _LAST = date(1980, 1, 1), date(2029, 12, 31)
_FIX = "pass its file with --data"


@dataclass(frozen=True)
class Item:
    """A question of a task as a prompt, asked on a `date`. The id is `TASK/INDEX`, the row's index in its file."""

    id: str
    prompt: str
    answers: tuple[str, ...]
    date: str | None = None


def read_items(
    task: EvalTask, data: str | Path | None = None, limit: int | None = None
) -> tuple[list[Item], str, list[str]]:
    """The questions of a task (a file's, a folder of `.jsonl` files', or the Hub's), their origin, and notes."""
    rows: Iterable[Any]
    if data is not None:
        path, origin = Path(data), Path(data).name
        if not path.exists():
            raise NotFoundError("no such file", file=path, fix=f"pass the file of {task.title} with --data")
        paths = sorted(path.rglob("*.jsonl")) if path.is_dir() else [path]
        rows = (row for file in paths for row in read_rows(file))
    elif task.name == "dateset":
        rows, origin = dateset(), "made by this package"
    elif task.hub is None:
        raise NotFoundError("is not on the Hub in files that can be read", file=task.title, fix=_FIX)
    else:
        rows, origin = hub_rows(*task.hub, fix=_FIX), f"{task.hub[0]}, {task.hub[2]}"
    template = prompt_of(task.prompt)
    items, left_out = [], 0
    for index, row in islice(enumerate(rows), limit):
        question = row if isinstance(row, Question) else _question_of(task, row)
        if question is None:
            left_out += 1
            continue
        # Not `format`, and at once: a passage may hold braces, and even these words.
        prompt = re.sub(r"\{(context|text)\}", lambda slot, asked=question: getattr(asked, slot[1]), template)
        items.append(Item(f"{task.name}/{index}", prompt, question.answers, question.date))
    if not items:
        fix = "pass the published file, or JSON lines with question and answers"
        raise InputError(f"holds no question of {task.title}", file=origin, fix=fix)
    why = "another layout, no mask at the end, no passage, or no number in the answer"
    return items, origin, [f"{task.title}: {left_out} rows cannot be asked ({why})"] if left_out else []


def _question_of(task: EvalTask, raw: Any) -> Question | None:
    try:
        found = task.layout(raw) or simple(raw)
    except (AttributeError, KeyError, TypeError):  # no object, or a field of another kind, somewhere inside
        return None
    # Whatever is answered would count as wrong where no answer holds a number, or there is no passage to look at.
    if found is None or (task.prompt == "passage" and not found.context.strip()):
        return None
    maths = task.measure in ("first_number", "last_number")
    return found if not maths or any(math_correct(right, right) for right in found.answers) else None


def dateset(days: int = 500, seed: int = 0) -> Iterator[Question]:
    """Questions like the paper's Dateset (section 4.2.5), whose own are not public, on random days taken as today."""
    rng = random.Random(seed)
    lines = (_FOLDER / "dateset.txt").read_text(encoding="utf-8").strip().splitlines()
    templates = [line.split("\t") for line in lines]
    for _ in range(days):
        today = _FIRST + timedelta(days=rng.randrange((_LAST - _FIRST).days))
        for template, answer in templates:
            days_away = rng.randint(2, 60)
            distance = timedelta(days=days_away)
            # Format fields only access attributes of dates; the templates are this package's own.
            fields = {"today": today, "past": today - distance, "future": today + distance, "days": days_away}
            yield Question(template.format(**fields), (answer.format(**fields),), date=today.isoformat())
