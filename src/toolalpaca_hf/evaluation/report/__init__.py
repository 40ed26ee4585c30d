"""The report of an evaluation: one self-contained page, the same in Markdown, and results for a model card."""

import json
from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from itertools import chain, repeat
from pathlib import Path
from typing import Any

from ...agent import ended_words
from ...formats import NO_CALL
from ...report import clip, render, write_texts
from ...schema import Trajectory
from ..suite import Attempt
from .figures import LABELS, label, model_index, plots, template_values

SHOWN = 4000  # characters of a text that the page shows at most

BUDGET = 2_500_000  # characters of observations in the page at most; with more of them, less of each is shown

FOLDED = 400  # characters from which on an observation is folded

FAILURES = 10  # how many failures the Markdown lists


def write_report(
    folder: Path, metrics: dict[str, Any], records: Sequence[dict[str, Any]], attempts: Sequence[Attempt]
) -> None:
    """Write the report's files; a record whose attempt is not among `attempts` is shown without trajectory."""
    texts = {"report.html": report_html(metrics, records, attempts), "report.md": report_markdown(metrics, records)}
    index = json.dumps(model_index(metrics), indent=2, ensure_ascii=False) + "\n"
    write_texts(folder, texts | {"model_index.json": index})


def report_html(metrics: dict[str, Any], records: Sequence[dict[str, Any]], attempts: Sequence[Attempt] = ()) -> str:
    """Render `report.html`; arguments as in [`write_report`]."""
    made = {attempt.instruction.id: attempt.trajectory for attempt in attempts}
    limit = min(SHOWN, BUDGET // max(1, sum(len(trajectory.steps) for trajectory in made.values() if trajectory)))
    grouped: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for record in records:
        grouped[record["api"]].append(_instruction(record, made.get(record["id"]), limit))
    titles = {"settings": "Settings", "judge_settings": "Settings of the judge"}
    dump = partial(json.dumps, indent=2, ensure_ascii=False, default=str)
    settings = [(title, dump(metrics[key])) for key, title in titles.items() if metrics.get(key)]
    values = template_values(metrics) | {"plots": plots(metrics), "settings": settings, "apis": list(grouped.items())}
    return render(__name__, "report.html.jinja", **values)


def instruction_page(record: dict[str, Any], trajectory: Trajectory | None, states: Sequence[str] = ()) -> str:
    """One instruction as `report.html` shows it, unfolded, as a page of its own; `states` are what exists in the
    simulator after each step, as far as it is known."""
    return render(__name__, "single.html.jinja", item=_instruction(record, trajectory, SHOWN, states))


def report_markdown(metrics: dict[str, Any], records: Sequence[dict[str, Any]]) -> str:
    """Render `report.md`, GitHub's Markdown: the figures, and the first failures."""
    failed = [record for record in records if record["process_verdict"] != "Yes"]
    failures = []
    for record in failed[:FAILURES]:
        place, reason = f"{record['api']}, instruction {record['index']}", clip(record["reason"], 500)
        failures.append((place, clip(record["instruction"], 300), ended_words(record["ended"]), reason))
    values = template_values(metrics) | {"failures": failures, "failed_verdicts": len(failed)}
    return render(__name__, "report.md.jinja", **values)


def _instruction(
    record: dict[str, Any], trajectory: Trajectory | None, limit: int, states: Sequence[str] = ()
) -> dict[str, Any]:
    """The template's data for one instruction."""

    def text(value: Any) -> dict[str, Any]:
        """What is shown of a text, and of how many characters."""
        value = "" if value is None else str(value)
        shown = clip(value, limit)
        return {"shown": shown, "length": len(value), "folded": len(value) > FOLDED or shown.count("\n") > 12}

    ended, judge = str(record.get("ended") or ""), record.get("judge")
    scores = {label(key): record[key] for key in LABELS if key in record and key != "process_verdict"}
    counted = {label(key): value for key, value in (record.get("validity") or {}).items() if key != "shares"}
    counts = [f"{key}: {_count(value)}" for key, value in (scores | counted).items() if not isinstance(value, bool)]
    return {
        "index": str(record.get("index")),
        "asked": text(record.get("instruction")),
        "scored": "process_verdict" in record,
        "verdict": str(record.get("process_verdict") or "none"),
        "reason": text(record.get("reason")),
        "failed": bool(record.get("failed")),
        "ended_words": ended_words(ended),
        "missing": ended == "missing",
        "error": text(record.get("error")),
        "golden": [(text(call["action"]), text(call["action_input"])) for call in record.get("golden_calls") or []],
        "steps": [
            {
                "reasoning": text(step.reasoning if step.reasoning != step.thought else ""),
                "thought": text(step.thought),
                "parallel": step.parallel,
                "action": text("(no call)" if step.action == NO_CALL else step.action),
                "input": text(step.action_input),
                "observation": text(step.observation),
                "log": text(step.log) if step.action == NO_CALL and step.log else None,
                "state": text(state),
            }
            for step, state in zip(trajectory.steps if trajectory else (), chain(states, repeat("")), strict=False)
        ],
        "has_trajectory": trajectory is not None,
        "final_thought": text(trajectory.final_thought if trajectory else None),
        "response": text(trajectory.response if trajectory else None),
        "scores": [
            (word, found)
            for word, good in (("yes", True), ("no", False))
            if (found := [key for key, value in scores.items() if value is good])
        ],
        "counts": counts,
        "judge": judge
        and {
            "verdicts": [(key, str(judge.get(key) or "none")) for key in ("process", "response")],
            "text": text(judge.get("text")),
            "error": text(judge.get("error")),
        },
    }


def _count(value: Any) -> str:
    """A share, a count, or several names."""
    if isinstance(value, list | dict):
        return clip(", ".join(map(str, value)), 400) or "none"
    return f"{value:.2f}" if isinstance(value, float) else str(value)
