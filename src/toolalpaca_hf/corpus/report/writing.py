"""Writes `corpus_report.html` and `.md`: statistics, filter results and a few instances to read."""

import json
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import NotFoundError
from ...report import BLUE, ORANGE, bar_plot, clip, plot, render, write_texts
from ...schema import Api
from ..config import FilterSettings
from ..simulation.filters import FILTERS, count_tokens
from .statistics import InstanceRow, Statistics, json_lines, rows_of_file, rows_of_folder

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PACKAGE = "toolalpaca_hf.corpus.report"
SHOWN = 8  # instances that were kept, and as many that were not
LONGEST = 1500  # characters of a text
MOST_CATEGORIES = 20

# The counts of `corpus.json`, in words and in the order in which they come about.
STAGES = {
    "entries": "APIs of the list",
    "copies": "- set aside as a copy of another",
    "set_aside": "- set aside in all",
    "apis": "APIs",
    "written": "Instructions written",
    "instructions": "- fit to be used",
    "taken": "- neither seen before nor in an evaluation set",
    "instances": "Instances played",
    "kept": "- that passed every gate",
}

MEANING = {
    "finished": "ended with a response",
    "well_formed": "every turn calls a function of the API, with a JSON object",
    "grounded": "every argument is in the instruction or in an earlier observation",
    "no_placeholders": "no placeholder was copied",
    "supported": "the response says nothing that no observation does",
    "length": "fits the training limit",
}


def write_report(
    source: str | Path, out: str | Path | None = None, settings: FilterSettings | None = None
) -> dict[str, Any]:
    """Write `corpus_report.html`, `corpus_report.md` and `corpus_report.json`; returns the figures.

    Args:
        source (`str` or `Path`): The folder of a corpus, or a file in the raw layout, whose instances are filtered.
        out (`str` or `Path`, *optional*): The output folder; defaults to that of the corpus or file.
        settings ([`FilterSettings`], *optional*): How tokens are counted, the limit to draw, and how strict to be.

    Raises:
        [`NotFoundError`], [`InputError`]: The source is missing, or cannot be read.
        [`OptionError`]: The folder cannot be written.
        [`MissingDependencyError`]: jinja2 is not installed.
    """
    settings, source = settings or FilterSettings(), Path(source)
    if not source.exists() and str(source) != "sample":
        fix = "pass a folder that corpus build wrote, or a file in the raw layout"
        raise NotFoundError("no such file or folder", file=source, fix=fix)
    statistics = Statistics(lambda text: count_tokens(text, settings))
    shown: dict[str, list[dict[str, Any]]] = {"kept": [], "left out": []}
    spare: dict[str, list[dict[str, Any]]] = {"kept": [], "left out": []}
    for api, rows in rows_of_folder(source) if source.is_dir() else rows_of_file(source, settings):
        statistics.add(api, rows)
        for row in rows:
            kind = "kept" if row.kept else "left out"
            # One of each API before a second, so that the page shows many.
            new = not shown[kind] or shown[kind][-1]["id"].rpartition("/")[0] != api.id
            held = shown[kind] if new else spare[kind]
            if len(held) < SHOWN:
                held.append(_instance(api, row))
    for kind, held in shown.items():
        held += spare[kind][: SHOWN - len(held)]
    note = _note(source)
    figures = statistics.figures() | {"cost": note.get("cost"), "set_aside_apis": note.get("set_aside", 0)}
    figures |= {"stages": {name: note[name] for name in STAGES if name in note}, "asked": note.get("asked", {})}
    values = {
        "title": source.name or str(source),
        "figures": figures,
        "rows": table(figures),
        "gates": [(name, MEANING[name], figures["failed"][name], figures["failed_first"][name]) for name in FILTERS],
        "stages": [(STAGES[name], count) for name, count in figures["stages"].items()],
        "roles": [_role(role, usage) for role, usage in _usage(figures)],
        "set_aside": _set_aside(source) if source.is_dir() else [],
        "shown": shown,
        "limit": settings.max_tokens,
        "characters": settings.characters if settings.count is None and settings.tokenizer is None else None,
    }
    texts = {
        "corpus_report.md": render(PACKAGE, "report.md.jinja", **values),
        "corpus_report.html": render(PACKAGE, "report.html.jinja", plots=_plots(statistics, settings), **values),
        "corpus_report.json": json.dumps(figures, indent=1, ensure_ascii=False) + "\n",
    }
    write_texts(Path(out) if out is not None else source if source.is_dir() else source.parent, texts)
    return figures


def table(figures: dict[str, Any]) -> list[tuple[str, str]]:
    """The figures as rows of text, like the paper's table (arXiv 2306.05301)."""

    def spread(name: str, digits: int = 2) -> str:
        if not (found := figures[name]):
            return "–"
        mean, median = (f"{found[key]:,.{digits}f}" for key in ("mean", "median"))
        return f"{mean} (median {median}, {found['min']:,} to {found['max']:,})"

    def of_instances(name: str) -> str:
        count, total = figures[name], figures["instances"]
        return f"{count:,} ({count / total:.1%})" if total else f"{count:,}"

    error_steps = figures["error_share_of_steps"]
    rows = [
        ("APIs", f"{figures['apis']:,}"),
        ("- with instances", f"{figures['apis_with_instances']:,}"),
        ("Categories", f"{figures['categories']:,}"),
        ("Functions", f"{figures['functions']:,}"),
        ("Functions per API", spread("functions_per_api")),
        ("Instances", f"{figures['instances']:,}"),
        ("Instances per API", spread("instances_per_api")),
        ("- that call one function", of_instances("single_function")),
        ("- that call several functions", of_instances("multi_function")),
        ("- that call none", of_instances("no_function")),
        ("- that ask the user (getDetails)", of_instances("asks_user")),
        ("- with an error", of_instances("instances_with_error")),
        ("- with an error, then an answer", of_instances("recovered")),
        ("Calls", f"{figures['calls']:,}"),
        ("Calls per instance", spread("calls_per_instance")),
        ("Steps that are errors", "–" if error_steps is None else f"{error_steps:.1%}"),
        ("Words of an instruction", spread("instruction_words", 1)),
        ("Words of a response", spread("response_words", 1)),
        ("Tokens of a training row", spread("row_tokens", 0)),
    ]
    if figures.get("cost") is not None:
        rows.append(("Cost, in the currency of the prices of --config", f"{figures['cost']:,.2f}"))
    return rows


def _usage(figures: dict[str, Any]) -> Iterable[tuple[str, dict[str, int]]]:
    if figures["asked"]:
        return figures["asked"].items()
    names = {"prompt": "prompt_tokens", "completion": "completion_tokens", "retries": "retries"}
    by_role = figures["tokens_by_role"].items()  # of the instances only
    return [(role, {name: count.get(key, 0) for key, name in names.items()}) for role, count in by_role]


def _role(role: str, usage: dict[str, int]) -> tuple[Any, ...]:
    names = ("retries", "prompt_tokens", "completion_tokens")
    retries, asked, answered = (f"{usage.get(name, 0):,}" for name in names)
    return role, usage.get("calls", "–"), retries, usage.get("enforced", "–"), asked, answered


def _note(source: Path) -> dict[str, Any]:
    with suppress(OSError, ValueError):
        if isinstance(note := json.loads((source / "corpus.json").read_bytes()), dict):
            return note
    return {}


def _set_aside(folder: Path) -> list[tuple[str, str]]:
    aside = (line for line in json_lines(folder / "apis.jsonl") if line.get("set_aside"))
    names = ((str((line.get("entry") or {}).get("name", line.get("id"))), line) for line in aside)
    return [(name, clip(str(line["set_aside"]), LONGEST)) for name, line in islice(names, SHOWN)]


def _instance(api: Api, row: InstanceRow) -> dict[str, Any]:
    trajectory = row.trajectory
    texts = {"instruction": trajectory.instruction, "details": trajectory.hint, "response": trajectory.response}
    texts["final_thought"] = trajectory.final_thought or ""
    return {
        "api": api.name,
        "id": trajectory.id,
        "steps": [
            {name: clip(value, LONGEST) if isinstance(value, str) else value for name, value in asdict(step).items()}
            for step in trajectory.steps
        ],
        "reasons": [(name, reason) for name, reason in row.gates.items() if reason],
        **{name: clip(text or "", LONGEST) for name, text in texts.items()},
    }


def _plots(statistics: Statistics, settings: FilterSettings) -> dict[str, str]:
    """Instances by category, calls per instance, what the filters kept, lengths; none without matplotlib."""
    found: dict[str, str] = {}
    calls, lengths, made = statistics.values["calls"], statistics.values["lengths"], statistics.counts["made"]
    by_category = statistics.categories.most_common()
    try:
        if total := sum(statistics.categories.values()):
            rows = [(name, count) for name, count in by_category[:MOST_CATEGORIES] if count]
            if rest := sum(count for _, count in by_category[MOST_CATEGORIES:]):
                rows.append((f"{len(by_category) - MOST_CATEGORIES} more categories", rest))
            found["categories"] = bar_plot("categories", f"Instances by category (n = {total:,})", rows)
        if calls:
            highest, counts = min(max(calls), 10), Counter(calls)
            rows = [(f"{n} call{'' if n == 1 else 's'}", counts[n]) for n in range(highest + 1)]
            if more := sum(count > highest for count in calls):
                rows.append((f"more than {highest}", more))
            found["calls"] = bar_plot("calls", f"Calls of an instance (n = {len(calls):,})", rows)
        if made:
            rows = [("passed every gate", statistics.counts["passed"])]
            rows += [(f"failed: {name.replace('_', ' ')}", statistics.failed[name]) for name in FILTERS]
            title = f"Gates (n = {made:,} instances; one may fail several)"
            found["gates"] = bar_plot("gates", title, rows, ORANGE)
        if lengths:
            title = f"Length of a training row (n = {len(lengths):,})"
            found["lengths"] = plot("lengths", title, lambda axes, _: _histogram(axes, lengths, settings), grid="y")
    except ImportError:
        return {}
    return found


def _histogram(axes: "Axes", lengths: list[int], settings: FilterSettings) -> None:
    limit = settings.max_tokens
    axes.hist(lengths, bins=min(40, max(5, len(set(lengths)))), color=BLUE)
    axes.axvline(limit, color=ORANGE, linewidth=2)
    side = "right" if limit > sum(axes.get_xlim()) / 2 else "left"
    axes.text(limit, axes.get_ylim()[1], f" limit {limit:,} ", va="top", ha=side)
    axes.set_xlabel("tokens of a training row")
    axes.set_ylabel("instances")
