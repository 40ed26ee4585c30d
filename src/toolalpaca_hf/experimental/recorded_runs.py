"""Upstream's evaluation outputs: parses their verdict texts again, and the trajectories inside the recorded prompts.

The layout: `{"statistics": {...}, API name: [{"id", "input", "output", "process_correctness",
"final_response_correctness"}]}`; `input` is the one message the judge was sent, or empty if nothing was judged. An
entry without `id` (ToolAlpaca13b.json has none) is identified by its position; `14|1`, `[14, 1]` and the like are
one of several verdicts on instruction 14. `input` and `output` may also be texts, messages, or parts of messages.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..data import LeftOut, left_out, read_json
from ..errors import InputError, ToolAlpacaError
from ..evaluation import Attempt, Suite, aggregate, index_of, read_trajectories
from ..metrics import VERDICTS, JudgeVerdict, judge_statistics, parse_verdict
from ..openapi import listed, mapping
from ..schema import Api, Instruction, Step, Trajectory
from ..storage import write_json


def evaluate_judged(file: str | Path, out: str | Path) -> dict[str, Any]:
    """Recount the verdicts of a recorded evaluation output, without instructions and trajectories."""
    records, problems = read_recorded(file)
    metrics = aggregate(records, "", Path(file).stem, {"trajectories": Path(file).name})
    metrics["notes"] = [*filter(None, [left_out(problems)]), *problems]
    write_json(Path(out) / "instructions.json", records)
    write_json(Path(out) / "metrics.json", metrics)
    return metrics


def read_run(path: Path, suite: Suite) -> tuple[list[Attempt], list[str]]:
    """[`read_trajectories`] that also reads upstream's evaluation outputs with `statistics`."""
    content = None
    with suppress(ToolAlpacaError):
        content = read_json(path) if path.suffix == ".json" else None
    if not _is_recorded(content):
        return read_trajectories(path, suite)
    attempts, notes = recorded_attempts(path, suite.apis, suite.instructions, content)
    notes = list(dict.fromkeys([*notes, *read_recorded(path, content)[1]]))  # some are found by both
    if all(attempt.ended == "missing" for attempt in attempts):
        reason = left_out(notes) or (notes or ["it has no entry"])[0]
        raise InputError(f"no trajectory for the instructions of {suite.file}: {reason}", file=path)
    return attempts, notes


SOLUTION = "## AI Assistant's Solution"
PARTS = {"process": "process_correctness", "response": "final_response_correctness"}  # of a verdict, and the fields
_ID = re.compile(r"[\s(\[#]*(\d{1,99})[a-z]?(?![a-z0-9])", re.ASCII | re.IGNORECASE)


def _number(entry: dict[str, Any]) -> int | None:
    """The instruction index in an entry's own id, or `None`."""
    found = None if isinstance(entry.get("id"), bool) else _ID.match(str(entry.get("id")))
    return int(found[1]) if found else None


def _entries(file: Path, raw: Any, problems: list[str]) -> Iterator[tuple[str, str, int, dict[str, Any]]]:
    """API name, id, instruction index and entry, for each entry that can be identified."""
    for name, entries in raw.items():
        if name == "statistics":
            continue
        if not isinstance(entries, list):
            problems.append(LeftOut(f"{file}: {name}", "is no list of entries; it is left out"))
            continue
        # What names its instruction comes before what has only its place.
        named = (entry for entry in entries if isinstance(entry, dict) and _number(entry) is not None)
        taken, seen = {str(entry["id"]).strip() for entry in named}, set[str]()
        for place, entry in enumerate(entries):
            where = f"{file}: entry {place} of {name}"
            if not isinstance(entry, dict):
                problems.append(LeftOut(where, "is no object; it is left out"))
                continue
            index = _number(entry)
            key = str(place) if index is None else str(entry["id"]).strip()
            if index is None and entry.get("id") is not None:
                problems.append(f"{where} has the id {entry['id']!r}; it is read as {place}")
            if key in seen or (index is None and key in taken):
                problems.append(LeftOut(where, f"has the id {key} of another; it is left out"))
                continue
            seen.add(key)
            yield name, key, place if index is None else index, entry


def _is_recorded(raw: Any) -> bool:
    if not isinstance(raw, dict):
        return False
    entries = [entry for value in raw.values() for entry in listed(value)]
    judged = any(isinstance(entry, dict) and "process_correctness" in entry for entry in entries)
    return judged or isinstance(raw.get("statistics"), dict)


def _read(file: str | Path) -> dict[str, Any]:
    raw = read_json(Path(file))
    if not _is_recorded(raw):
        fix = "pass an evaluation output of upstream's, an object with `statistics` and a list of entries per API"
        raise InputError("no `statistics` and no verdicts", file=file, fix=fix)
    return raw


def _texts(entry: dict[str, Any]) -> tuple[str, str]:
    """The judge's prompt and answer; empty where missing."""
    sent, said = _contents(entry.get("input")), _contents(entry.get("output"))
    # Where a system message comes first, the prompt is the one with the solution.
    prompt = next((text for text in sent if SOLUTION in text), sent[0] if sent else "")
    prompt = prompt.replace("\r\n", "\n") if f"\r\n{SOLUTION}\r\n" in prompt else prompt
    return prompt, said[0] if said else ""


def _contents(value: Any) -> list[str]:
    """The texts of a message, of several, or of a message's parts, in their order."""
    texts, left = [], [value]
    while left:
        value = left.pop()
        texts += [value] if isinstance(value, str) else []
        left += [value.get("text"), value.get("content")] if isinstance(value, dict) else listed(value)[::-1]
    return texts


def read_recorded(file: str | Path, raw: dict[str, Any] | None = None) -> tuple[list[dict[str, Any]], list[str]]:
    """Parse the verdict texts of an evaluation output again; how they and their counts differ from those recorded."""
    raw, problems = raw or _read(file), list[str]()
    records = []
    for name, key, index, entry in _entries(Path(file), raw, problems):
        sent, text = _texts(entry)
        verdict = parse_verdict(text)
        if not (sent or text):  # some forks keep the verdicts without the texts
            kept = [str(entry.get(field) or "").strip().capitalize() for field in PARTS.values()]
            verdict = JudgeVerdict(*kept) if set(kept) <= set(VERDICTS) else verdict
        said = verdict.whole()
        was_sent = bool(sent or text) or not verdict.malformed
        error = "" if not verdict.malformed else "no verdict could be read" if was_sent else "nothing was judged"
        for part, field in PARTS.items():
            recorded = entry.get(field, said[part]) or None
            if (recorded.strip().capitalize() if isinstance(recorded, str) else recorded) != said[part]:
                problems.append(f"{file}: {name}/{key} has {field} {entry.get(field)!r}, its text says {said[part]!r}")
        record = {"id": f"{name}/{key}", "api": name, "index": index, "failed": not was_sent}
        record |= {"ended": "answered" if was_sent else "failed", "error": "" if was_sent else error}
        records.append(record | {"judge": {**said, "text": text, "error": error}})
    if not records:
        raise InputError(f"no verdict: {left_out(problems) or 'it has no entry'}", file=file)
    statistics = judge_statistics([record["judge"] for record in records], len(records))
    problems += _differences(Path(file), mapping(raw["statistics"]), statistics) if "statistics" in raw else []
    return records, problems


def _differences(file: Path, recorded: dict[str, Any], counted: dict[str, Any], path: str = "") -> list[str]:
    found = []
    for key, value in counted.items():
        other = recorded.get(key)
        if isinstance(value, dict):
            found += _differences(file, other if isinstance(other, dict) else {}, value, f"{path}{key}.")
        elif other != value and (value or other is not None):  # a count of nothing may be left out
            found.append(f"{file}: statistics have {path}{key} {other!r}, the texts give {value}")
    return found


def recorded_attempts(
    file: str | Path, apis: Sequence[Api], instructions: Sequence[Instruction], raw: dict[str, Any] | None = None
) -> tuple[list[Attempt], list[str]]:
    """Rebuild the judged attempts from the recorded prompts, which contain no thoughts."""
    by_id = {api.id: api for api in apis}
    places = {(by_id[asked.api].name, index_of(asked)): asked for asked in instructions}
    names = {api.name for api in apis}
    found: dict[str, Attempt] = {}
    problems: list[str] = []
    further = 0
    for name, key, index, entry in _entries(Path(file), raw or _read(file), problems):
        instruction, place = places.get((name, index)), f"{file}: {name}/{key}"
        if instruction is None:
            what = f"no instruction {index} of {name}" if name in names else f"no API {name}"
            problems.append(LeftOut(place, f"is for {what} of the suite; it is left out"))
            continue
        sent, text = _texts(entry)
        trajectory, error = None, "nothing was judged"
        if sent:
            asked, solution = _sections(sent)
            if asked != instruction.instruction.strip():
                problems.append(LeftOut(place, "is about another instruction than the suite's; it is left out"))
                continue
            trajectory, error = _trajectory(instruction, solution), ""
            if trajectory is None:
                error = "its solution cannot be read"
                problems.append(f"{file}: the solution in {name}/{key} cannot be read; it counts as failed")
        before = found.get(instruction.id)
        further += before is not None
        if before is None or (before.failed and trajectory):
            ended, api = "answered" if trajectory else "failed", by_id[instruction.api]
            found[instruction.id] = Attempt(api, index, instruction, trajectory, ended, error, text or None)
    if further:
        several = f"{file} has {further} further verdicts on instructions that it judges several times"
        problems.append(f"{several}; the first of each is scored here, --judged counts them all")
    for asked in instructions:
        missing = Attempt(by_id[asked.api], index_of(asked), asked, None, "missing", "there is none")
        found.setdefault(asked.id, missing)
    return [found[asked.id] for asked in instructions], problems


def _sections(sent: str) -> tuple[str, str]:
    """The instruction and the solution of a recorded prompt; empty if there are none."""
    # The documentation before them and the returns after them may hold anything, the headings included.
    head, _, solution = sent.partition(f"\n{SOLUTION}\n")
    instruction = head.rpartition("\n## Task Instruction\n")[2].partition("\n## Standard Answer\n")[0]
    end = solution.rfind("\n\n## Analysis")
    return instruction.strip(), solution if end < 0 else solution[:end]


# What a return begins with: upstream misspells it, its forks have words of their own.
_RETURNS = (
    r"((?i:(?:\w+ )?(?:retruns?|return(?:s|ed)?|responses?|observations?|outputs?|results?|answers?)(?: values?)?) *)"
)


def _step(number: int, returns: str = _RETURNS) -> re.Pattern[str]:
    return re.compile(
        rf"(?:^|\n){number}\. Function: ([^\n]*)\nParameters: (.*?)\n{returns}:(?: |(?=\n)|$)", re.DOTALL
    )


def _trajectory(instruction: Instruction, solution: str) -> Trajectory | None:
    """The trajectory that a solution describes; `None` if it has neither a call nor an end."""
    # Steps are numbered from 1: what merely looks like one, inside a return, has another number.
    marks: list[re.Match[str]] = []
    # All returns of a file begin with the word of the first: another one is part of a return.
    returns = f"({re.escape(first[3])})" if (first := _step(1).search(solution)) else _RETURNS
    while mark := _step(len(marks) + 1, returns).search(solution, marks[-1].end() if marks else 0):
        marks.append(mark)
    # Without a response it was cut off before its end, or is of a fork that writes none.
    whole, response, end = f"\n{solution}", None, len(solution.rstrip("\n")) + 1
    for count in range(len(marks), -1, -1):
        final = f"\n{count + 1}. Final Response: "
        # The last one: a return may hold a text that looks like it, and the response rarely does.
        at = whole.rfind(final, marks[count - 1].end() if count else 0)
        if at >= 0:
            marks, response, end = marks[:count], whole[at + len(final) :], at
            break
    if not marks and response is None:
        return None
    # Without a step there is nothing for the last end to end.
    ends = [*(mark.start() for mark in marks[1:]), end - 1][: len(marks)]
    steps = [Step("", mark[1], mark[2], solution[mark.end() : stop]) for mark, stop in zip(marks, ends, strict=True)]
    return Trajectory(instruction.id, instruction.api, instruction.instruction, "", steps, None, response or "")
