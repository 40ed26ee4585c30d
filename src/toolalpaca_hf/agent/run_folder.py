"""The folder of a run: results as they come, then the files that others read; session traces of its rollouts."""

import json
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from .. import __version__
from ..data import left_out, raw_api, raw_instance, trajectory_of
from ..errors import InputError, NotFoundError
from ..features import ROLLOUT_FEATURES
from ..schema import Instruction
from ..storage import (
    JsonlLog,
    Streamed,
    atomic_path,
    atomic_write,
    check_settings,
    disk_errors,
    intact_rows,
    read_json,
    write_json,
)
from .backend import ChatContext, openai_messages
from .rollout import Result
from .task import Task, TaskFile

LINES = "rollouts.jsonl"
GROUP = 2000  # rollouts in a row group of Parquet
MADE = ("trajectories.parquet", "trajectories.json")  # of the lines, at the end
# Of a line and of one of its steps.
FIELDS: dict[str, Any] = dict.fromkeys("id api instruction hint response ended error".split(), str)
FIELDS |= {"steps": list, "final_thought": str | None, "tokens": int}
STEP_FIELDS = dict.fromkeys("thought action action_input observation".split(), str)


class RunFolder:
    """The folder of a run: it goes on only with the same settings, and one process at a time."""

    def __init__(self, path: str | Path, settings: Mapping[str, Any]) -> None:
        self.path = Path(path)
        self.settings = json.loads(json.dumps(settings))
        self._log = JsonlLog(self.path / LINES, seen=self._count)
        self.failed: set[str] = set()
        self._ended, self._sums = Counter[str](), Counter[str]()
        self._seconds = 0.0
        self._began = self._noted = self._last = time.monotonic()

    @contextmanager
    def opened(self) -> Iterator["RunFolder"]:
        """Read what is there, and lock others out while the `with` block lasts."""
        for counted in (self.failed, self._ended, self._sums):
            counted.clear()
        with self._log:
            note = self._read_note()
            check_settings(self.path, "a run", note.get("settings") or self.settings, self.settings)
            before = note.get("seconds")
            self._seconds = before if isinstance(before, int | float) else 0.0
            self._note()
            yield self

    @property
    def rows(self) -> Mapping[str, dict[str, Any]]:
        return self._log.rows  # read from the file each time

    @property
    def finished(self) -> set[str]:
        """Ids not to repeat; failed rollouts are repeated."""
        return self.rows.keys() - self.failed

    def _count(self, row: dict[str, Any], earlier: dict[str, Any] | None) -> None:
        if not _is_rollout(row):
            raise InputError("is no rollout", file=self.path / LINES, row=row["id"], fix="remove the line")
        for one, sign in ((earlier, -1), (row, 1)):
            if one is not None:
                self._ended[one["ended"]] += sign
                self._sums["steps"] += sign * len(one["steps"])
                self._sums["tokens"] += sign * one["tokens"]
                self._sums["responses_cut"] += sign * bool(one.get("ran_on"))
        (self.failed.add if row["ended"] == "failed" else self.failed.discard)(row["id"])

    def add(self, result: Result) -> None:
        """Store a result, on disk before this returns."""
        made = asdict(result)
        row = made.pop("trajectory") | made | {"seconds": round(result.seconds, 3)}
        self._append({name: row[name] for name in row if row[name] or name not in ("ran_on", "faults", "shown")})

    def _append(self, row: dict[str, Any]) -> None:
        self._log.append(row)
        self._last = time.monotonic()
        if self._last - self._noted > 10:
            self._note()

    def begin(self) -> None:
        """Remove the output files of an earlier call, so that an unfinished run does not look complete."""
        with disk_errors(self.path):
            for name in MADE:
                (self.path / name).unlink(missing_ok=True)

    def absorb_parts(self) -> None:
        """Take over the `part-*` folders of the processes of a shared run; see [`run`]."""
        finished = self.finished
        for path in sorted(self.path.glob("part-*")):
            with RunFolder(path, self.settings).opened() as part:
                for row in part.rows.values():
                    if row["id"] not in finished:
                        self._append(row)

    def finished_anywhere(self) -> set[str]:
        """Ids finished here or in a `part-*`, even one that is being written."""
        rows = (row for path in (self.path, *self.path.glob("part-*")) for row in _whole_rows(path))
        return {row["id"] for row in rows if row["ended"] != "failed"}

    def write(self, tasks: Sequence[Task], source: TaskFile) -> dict[str, Any]:
        """Write the output files from the results so far; returns the contents of `run.json`."""
        schema, ids = ROLLOUT_FEATURES.arrow_schema, [task.id for task in source.tasks if task.id in self.rows]
        path = self.path / "trajectories.parquet"
        with disk_errors(self.path), atomic_path(path) as part, pq.ParquetWriter(part, schema) as file:
            for start in range(0, len(ids), GROUP):
                rows = [self.rows[name] for name in ids[start : start + GROUP]]
                file.write_table(pa.Table.from_pylist(rows, schema=schema))
        write_json(self.path / "trajectories.json", self._raw(source))
        return self._note(tasks, left_out(source.left_out))

    def _raw(self, source: TaskFile) -> list[dict[str, Any]]:
        instructions: dict[str, list[Instruction]] = defaultdict(list)
        tasks: dict[str, list[Task]] = defaultdict(list)
        for instruction in source.instructions:
            instructions[instruction.api].append(instruction)
        for task in source.tasks:  # as many as there are instructions: they are matched by their place
            tasks[task.api.id].append(task)

        def instances(api: str) -> list[dict[str, Any]]:
            return Streamed(lambda: map(self._instance, tasks[api]))

        return [raw_api(api, (), instructions.get(api.id)) | {"Instances": instances(api.id)} for api in source.apis]

    def _instance(self, task: Task) -> dict[str, Any]:
        row = self.rows.get(task.id)
        if row is None:
            return {"input": task.instruction, "error": "not run"}
        instance = raw_instance(trajectory_of(row)) | {"ended": row["ended"]}
        return instance | ({"error": row["error"]} if row["ended"] == "failed" else {})

    def _note(self, tasks: Sequence[Task] = (), aside: str = "") -> dict[str, Any]:
        self._noted = time.monotonic()
        note = {
            "settings": self.settings,
            "instructions": len(tasks) or None,
            "left_out": aside,
            "rollouts": len(self.rows),
            "ended": {name: count for name, count in sorted(self._ended.items()) if count},
            **{name: self._sums[name] for name in ("steps", "tokens", "responses_cut")},
            "seconds": round(self._seconds + self._last - self._began, 3),  # the clock stops at the last result
            "toolalpaca_hf": __version__,
        }
        write_json(self.path / "run.json", note, indent=2)
        return note

    def check(self) -> None:
        """Check, before a model is loaded, that a run with these or additional settings may resume here."""
        before = self._read_note().get("settings")
        known = {name: before.get(name) for name in self.settings} if before else self.settings
        check_settings(self.path, "a run", known, self.settings)

    def _read_note(self) -> dict[str, Any]:
        """The contents of `run.json`; empty if there is none."""
        path, fix = self.path / "run.json", "pass another --out"
        note = read_json(path, fix, dict) if path.exists() else {"settings": {}}
        if not isinstance(note.get("settings"), dict):
            raise InputError("holds no settings", file=path, fix=fix)
        return note


def kept_rollouts(folder: Path) -> str:
    """What an interrupted run has finished, and how to resume it."""
    count = len(RunFolder(folder, {}).finished_anywhere()) if folder.is_dir() else 0
    return f"{count} rollouts are finished and kept in {folder}; the same command goes on"


def trace_messages(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A rollout's messages in OpenAI's layout, from a row of `rollouts.jsonl` or of the `trajectories` config."""
    context = ChatContext([{"role": "user", "content": row["instruction"]}])
    for step in trajectory_of(row).steps:
        context.add(step)
    messages = openai_messages(context.messages, "reasoning")
    for message in messages:
        message["content"] = "\n".join(filter(None, [message.pop("reasoning", ""), message["content"]]))
    if row.get("response"):
        messages.append({"role": "assistant", "content": row["response"], "thought": row.get("final_thought") or ""})
    return messages


def write_traces(run: str | Path, out: str | Path, model: str = "") -> int:
    """Write each rollout of a run's folder as a file in the Session Trace Simple Format; returns their number.

    `model` is its name in the traces, by default that in `run.json`. [`NotFoundError`]: there are no rollouts.
    """
    rows, model = _rollouts(run, model)
    for name, row in rows.items():
        head = {"type": "session", "harness": "toolalpaca-hf", "id": name, "name": row["instruction"][:80]}
        lines = [head | {"ended": row.get("ended", "answered")}]
        for message in trace_messages(row):
            made = {"role": message["role"], "content": message["content"]}
            if calls := message.get("tool_calls"):
                made |= {"content": "", "reasoningContent": message["content"]}
                made["toolCalls"] = [{"id": call["id"], "function": call["function"]} for call in calls]
            own = {"reasoningContent": message.get("thought"), "toolCallId": message.get("tool_call_id")}
            own["model"] = model if message["role"] == "assistant" else ""
            made |= {name: value for name, value in own.items() if value}
            lines.append({"type": "message", "message": made})
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        atomic_write(Path(out) / f"{name.replace('/', '-')}.jsonl", text)
    return len(rows)


def log_traces(run: str | Path, project: str, model: str = "") -> int:
    """Log each rollout of a run as a `trackio.Trace` of Trackio's project; otherwise as [`write_traces`]."""
    import trackio

    rows, model = _rollouts(run, model)
    trackio.init(project=project, name=model or None, embed=False, auto_log_cpu=False, auto_log_gpu=False)
    try:
        for step, (name, row) in enumerate(rows.items()):
            about = {"session_id": name, "ended": row.get("ended", "answered"), "model": model}
            trackio.log({"rollout": trackio.Trace(trace_messages(row), about)}, step=step)
    finally:
        trackio.finish()
    return len(rows)


def _whole_rows(folder: Path) -> Iterator[dict[str, Any]]:
    path = folder / LINES
    return filter(_is_rollout, intact_rows(path) if path.is_file() else ())


def _is_rollout(row: dict[str, Any]) -> bool:
    return _holds(row, FIELDS) and all(_holds(step, STEP_FIELDS) for step in row["steps"])


def _holds(row: Any, fields: Mapping[Any, Any]) -> bool:
    if not isinstance(row, dict):
        return False
    for name, kind in fields.items():  # a loop, since a run goes on with 200,000 rows of 13 fields
        if not isinstance(row.get(name, ...), kind):
            return False
    return True


def _rollouts(run: str | Path, model: str) -> tuple[dict[str, dict[str, Any]], str]:
    """The rollouts of a folder, and the model's name, by default that in `run.json`."""
    rows = {row["id"]: row for row in _whole_rows(Path(run))}
    if not rows:
        raise NotFoundError("no rollouts", file=run, fix="pass the folder `rollouts` of an evaluation, or a run's")
    with suppress(InputError):
        name = str(RunFolder(run, {})._read_note()["settings"].get("model") or "")
        # Of a folder on this machine the last part is all that others know.
        model = model or (Path(name).name if Path(name).is_absolute() else name)
    return rows, model
