"""Counts annotated texts per tool and filtering threshold, like the paper's table."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ...errors import InputError
from ...report import Table, markdown_table, sections_page, write_texts
from ...storage import write_json
from .annotator import ANNOTATED, most_frequent
from .config import THRESHOLDS, settings_for


def write_report(folder: str | Path) -> dict[str, Any]:
    """Write the report as JSON, Markdown and HTML; lower thresholds than the run's τ_f need its candidates."""
    folder, outcomes = Path(folder), Counter[str]()
    calls, errors = defaultdict[str, Counter[str]](Counter), defaultdict[str, Counter[str]](Counter)
    kept: dict[str, dict[str, Counter[str]]] = {}
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        for row in _lines(folder, "annotated"):
            outcomes[row["outcome"]] += 1
            for call in row["calls"]:
                calls[call["tool"]]["calls"] += 1
            for tool, sampled in row.get("sampled", {}).items():
                errors[tool].update(sampled.pop("errors", {}))
                calls[tool].update(sampled)
            if not config["candidates"]:
                _count(kept, row["calls"])
        for row in _lines(folder, "candidates") if config["candidates"] else ():
            _count(kept, row["candidates"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"cannot be read as an annotation ({error})", file=folder, fix="annotate again") from None
    tools = {
        tool: {
            **calls[tool],
            "errors": most_frequent(errors[tool]),
            "kept": {threshold: dict(counts) for threshold, counts in kept.get(tool, {}).items()},
        }
        for tool in sorted(set(calls) | set(kept))
    }
    report = {"texts": outcomes.total(), "outcomes": dict(outcomes.most_common()), "tools": tools, "config": config}
    write_json(folder / "report.json", report, indent=2)
    parts = _parts(report)
    texts = [part if isinstance(part, str) else _table(part) for part in ("# Annotation", *parts)]
    write_texts(folder, {"report.md": "\n\n".join(texts) + "\n", "report.html": sections_page("Annotation", parts)})
    return report


def read_candidates(folder: str | Path) -> Iterator[dict[str, Any]]:
    """The saved candidates of an annotation, each with the `id` of its text."""
    for row in _lines(Path(folder), "candidates"):
        for candidate in row["candidates"]:
            yield {"id": row["id"], **candidate}


def _lines(folder: Path, kind: str) -> Iterator[dict[str, Any]]:
    for path in sorted(folder.glob(f"{kind}-*.jsonl")):
        with path.open(encoding="utf-8") as file:
            yield from map(json.loads, file)


def _count(kept: dict[str, dict[str, Counter[str]]], candidates: Iterable[Mapping[str, Any]]) -> None:
    gains: dict[str, list[float]] = {}
    for candidate in candidates:
        if candidate["gain"] is not None:
            gains.setdefault(candidate["tool"], []).append(candidate["gain"])
    for tool, found in gains.items():
        counts = kept.setdefault(tool, {str(threshold): Counter() for threshold in THRESHOLDS})
        for threshold in THRESHOLDS:
            calls = sum(gain >= threshold for gain in found)
            counts[str(threshold)].update(calls=calls, texts=int(calls > 0))


def _parts(report: Mapping[str, Any]) -> list[str | Table]:
    settings, tools = report["config"]["settings"], report["tools"]
    heads = ("tool", "candidates", "executed", *(f"τ_f = {threshold}" for threshold in THRESHOLDS), "written, at τ_f")
    rows, failed = [], []
    for tool, found in tools.items():
        counts = [found["kept"].get(str(threshold), {}) for threshold in THRESHOLDS]
        kept = [f"{count.get('texts', 0):,} ({count.get('calls', 0):,})" for count in counts]
        tau_f = settings["tools"].get(tool, {}).get("tau_f", settings_for(tool).tau_f)
        made = [f"{found.get(name, 0):,}" for name in ("candidates", "executed")]
        rows.append((tool, *made, *kept, f"{found.get('calls', 0):,}, {tau_f:g}"))
        failed += [(tool, error, f"{count:,}") for error, count in found["errors"].items()]
    parts: list[str | Table] = [
        f"{report['texts']:,} texts, model `{report['config']['model']}`.",
        Table(("outcome", "texts"), [(outcome, f"{count:,}") for outcome, count in report["outcomes"].items()]),
        "Texts with a call that is kept, and calls kept, by filtering threshold.",
        Table(heads, rows),
    ]
    if not report["config"]["candidates"]:
        counted = "The calls counted are those written into the texts: none below a tool's own τ_f, one at a position."
        parts.append(f"{counted} `--candidates` has every candidate counted.")
    if failed:
        parts += ["Calls that failed.", Table(("tool", "error", "calls"), failed, 2)]
    return [*parts, f"{report['outcomes'].get(ANNOTATED, 0):,} texts hold a call. Seed {settings['seed']}."]


def _table(table: Table) -> str:
    return markdown_table(table.head, table.rows, table.text_columns, lambda cell: cell.replace("|", " "))
