"""Counts per tool and filtering threshold, as the paper's table of annotated texts has them, from what a run left."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ...errors import ToolAlpacaError
from .annotator import ANNOTATED, most_frequent
from .defaults import THRESHOLDS, settings_for


def write_report(folder: str | Path) -> dict[str, Any]:
    """Write `report.json` and `report.md` of an annotation's folder.

    Where candidates were kept, the counts hold for every threshold; else for those from the run's own τ_f on, and only of
    calls that were written into their texts.

    Args:
        folder (`str` or `Path`): What [`annotate`] wrote.

    Returns:
        `dict`: What `report.json` says: `texts`, `outcomes`, and for each tool `candidates`, `executed`, `calls`, `errors` (of
        calls without a result, by message) and, by threshold, how many texts and calls are kept.

    Raises:
        [`ToolAlpacaError`]: It is no such folder.
    """
    folder = Path(folder)
    outcomes: Counter[str] = Counter()
    calls: dict[str, Counter[str]] = {}
    errors: dict[str, Counter[str]] = {}
    kept: dict[str, dict[str, Counter[str]]] = {}
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        for row in _lines(folder, "annotated"):
            outcomes[row["outcome"]] += 1
            for call in row["calls"]:
                calls.setdefault(call["tool"], Counter())["calls"] += 1
            for tool, of in row.get("sampled", {}).items():
                counts = {name: count for name, count in of.items() if name != "errors"}
                calls.setdefault(tool, Counter()).update(counts)
                errors.setdefault(tool, Counter()).update(of.get("errors", {}))
            if not config["candidates"]:
                _count(kept, row["calls"])
        for row in _lines(folder, "candidates") if config["candidates"] else ():
            _count(kept, row["candidates"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ToolAlpacaError(
            f"{folder} is no annotation that can be read ({error}); pass what annotate wrote"
        ) from None
    tools = {
        tool: {
            **calls.get(tool, {}),
            "errors": most_frequent(errors.get(tool, Counter())),
            "kept": {threshold: dict(of) for threshold, of in kept.get(tool, {}).items()},
        }
        for tool in sorted(set(calls) | set(kept))
    }
    report = {"texts": outcomes.total(), "outcomes": dict(outcomes.most_common()), "tools": tools, "config": config}
    (folder / "report.json").write_text(json.dumps(report, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    (folder / "report.md").write_text(_markdown(report), encoding="utf-8")
    return report


def curve(
    candidates: Iterable[Mapping[str, Any]], right: Callable[[Mapping[str, Any]], bool], thresholds: Iterable[float]
) -> list[dict[str, Any]]:
    """How many calls are kept at each threshold, and how many of these are right.

    Args:
        candidates (`Iterable[Mapping]`): With their `gain`; those without one are kept at no threshold.
        right (`Callable`): Whether a candidate is.
        thresholds (`Iterable[float]`): Values of τ_f.

    Example:

    ```python
    >>> found = [{"gain": 0.2, "result": "7"}, {"gain": 0.9, "result": "5"}, {"gain": None, "result": "5"}]
    >>> for point in curve(found, lambda one: one["result"] == "5", [0.0, 0.5]):
    ...     print(point)
    {'tau_f': 0.0, 'kept': 2, 'right': 1, 'precision': 0.5}
    {'tau_f': 0.5, 'kept': 1, 'right': 1, 'precision': 1.0}
    ```
    """
    judged = [(one["gain"], right(one)) for one in candidates if one["gain"] is not None]
    points = []
    for threshold in thresholds:
        kept = [good for gain, good in judged if gain >= threshold]
        precision = sum(kept) / len(kept) if kept else None
        points.append({"tau_f": threshold, "kept": len(kept), "right": sum(kept), "precision": precision})
    return points


def read_candidates(folder: str | Path) -> Iterator[dict[str, Any]]:
    """The candidates of an annotation that kept them, each with the `id` of its text."""
    for row in _lines(Path(folder), "candidates"):
        for one in row["candidates"]:
            yield {"id": row["id"], **one}


def _lines(folder: Path, kind: str) -> Iterator[dict[str, Any]]:
    for path in sorted(folder.glob(f"{kind}-*.jsonl")):
        with path.open(encoding="utf-8") as file:
            for line in file:
                yield json.loads(line)


def _count(kept: dict[str, dict[str, Counter[str]]], candidates: Iterable[Mapping[str, Any]]) -> None:
    """Add the calls of one text."""
    best: dict[str, float] = {}
    for one in candidates:
        if one["gain"] is None:
            continue
        of = kept.setdefault(one["tool"], {str(threshold): Counter() for threshold in THRESHOLDS})
        for threshold in THRESHOLDS:
            of[str(threshold)]["calls"] += one["gain"] >= threshold
        best[one["tool"]] = max(one["gain"], best.get(one["tool"], one["gain"]))
    for tool, gain in best.items():
        for threshold in THRESHOLDS:
            kept[tool][str(threshold)]["texts"] += gain >= threshold


def _markdown(report: Mapping[str, Any]) -> str:
    settings = report["config"]["settings"]
    lines = ["# Annotation", "", f"{report['texts']:,} texts, model `{report['config']['model']}`.", ""]
    lines += ["| outcome | texts |", "| --- | ---: |"]
    lines += [f"| {outcome.replace('|', ' ')} | {count:,} |" for outcome, count in report["outcomes"].items()]
    head = " | ".join(f"τ_f = {threshold}" for threshold in THRESHOLDS)
    lines += ["", "Texts with a call that is kept, and calls kept, by filtering threshold.", ""]
    lines += [
        f"| tool | candidates | executed | {head} | written, at τ_f |",
        "| --- |" + " ---: |" * (len(THRESHOLDS) + 3),
    ]
    for tool, of in report["tools"].items():
        kept = of["kept"]
        cells = [
            f"{kept[str(t)].get('texts', 0):,} ({kept[str(t)].get('calls', 0):,})" if kept else "0 (0)"
            for t in THRESHOLDS
        ]
        told = [f"{of.get(name, 0):,}" for name in ("candidates", "executed")]
        tau_f = settings["tools"].get(tool, {}).get("tau_f", settings_for(tool).tau_f)
        lines.append(f"| {tool} | {' | '.join([*told, *cells])} | {of.get('calls', 0):,}, {tau_f:g} |")
    if not report["config"]["candidates"]:
        lines += [
            "",
            "The calls counted are those written into the texts: nothing below a tool's own τ_f, one at a position. "
            "`--candidates` has every candidate counted.",
        ]
    if any(of["errors"] for of in report["tools"].values()):
        lines += ["", "Calls that failed.", "", "| tool | error | calls |", "| --- | --- | ---: |"]
        lines += [
            f"| {tool} | {error.replace('|', ' ')} | {count:,} |"
            for tool, of in report["tools"].items()
            for error, count in of["errors"].items()
        ]
    lines += ["", f"{report['outcomes'].get(ANNOTATED, 0):,} texts hold a call. Seed {settings['seed']}.", ""]
    return "\n".join(lines)
