"""Writes `report.md` and `curve.svg`: tables by task with published figures, and the curve over model size."""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ...report import rate_text, render, write_texts
from ..tasks import TASKS

# Okabe and Ito's palette is distinguishable to colour-blind readers; the marker repeats the distinction.
_SERIES = {"with_calls": ("with calls", "#D55E00", "o-"), "without_calls": ("without calls", "#0072B2", "s--")}


def write_report(folder: Path, metrics: Mapping[str, Any]) -> None:
    files = {"curve.svg": svg} if (svg := curve(metrics)) else {}
    write_texts(folder, files | {"report.md": report_markdown(metrics, bool(files))})


def report_markdown(metrics: Mapping[str, Any], has_curve: bool = False) -> str:
    """The text of `report.md`; `has_curve` says whether there is a `curve.svg` next to it."""
    tables = [_table(task, results) for task, results in _by_task(metrics).items()]
    texts = [_perplexity_row(result) for result in metrics["results"] if "perplexity" in result]
    values = {name: metrics[name] for name in ("tools", "k", "limit", "notes")}
    values |= {"tables": tables, "perplexity": texts, "curve": has_curve}
    published = bool(texts) or any(table["published"] for table in tables)
    return render(__package__ or "", "report.md.jinja", published=published, **values)


def _by_task(metrics: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for result in metrics["results"]:
        if "perplexity" not in result:
            found.setdefault(result["task"], []).append(result)
    return found


def _table(task: str, results: list[dict[str, Any]]) -> dict[str, Any]:
    first = results[0]
    return {
        **first,
        "section": first["section"] if first["section"][:1].isdigit() else "",
        "measure": first["measure"].replace("_", " "),
        "rows": [_row(result) for result in results],
        # The paper takes the first number, so its figures do not apply to worked solutions.
        "published": None if first["measure"] == "last_number" else TASKS[task].published,
    }


def _row(result: Mapping[str, Any]) -> tuple[Any, ...]:
    names = ("without_calls", "with_calls", "call_rate", "useful", "harmful")
    rates = [rate_text(result.get(name)) for name in names]
    difference = rate_text(result.get("difference"), "+", "difference")
    return (result["model"], short_size(result["parameters"]), *rates[:2], difference, *rates[2:], result["errors"])


def _perplexity_row(result: Mapping[str, Any]) -> tuple[Any, ...]:
    found = result["perplexity"]
    interval = f"{found['value']:.2f} ({found['low']:.2f} to {found['high']:.2f})"
    return (result["model"], short_size(result["parameters"]), result["data"], interval, found["n"], found["tokens"])


def short_size(parameters: int) -> str:
    """Format a number of parameters: `135M`, `6.05B`."""
    return tqdm.format_sizeof(parameters).replace("G", "B")


def curve(metrics: Mapping[str, Any]) -> str:
    """The paper's curve over model size (section 4.4) as SVG; empty for a single size or without matplotlib."""
    tasks = _by_task(metrics)
    if len({result["parameters"] for results in tasks.values() for result in results}) < 2:
        return ""
    try:
        import matplotlib
        from matplotlib.figure import Figure  # not pyplot: no window, no state shared with who calls this
    except ImportError:
        return ""
    figure = Figure(figsize=(5 * len(tasks), 4), layout="constrained")
    for axes, results in zip(figure.subplots(1, len(tasks), squeeze=False)[0], tasks.values(), strict=True):
        results.sort(key=lambda result: result["parameters"])
        for key, (name, colour, style) in _SERIES.items():
            points = [result for result in results if result.get(key)]
            if not points:
                continue
            xs = [result["parameters"] for result in points]
            ys, lows, highs = ([100 * result[key][end] for result in points] for end in ("value", "low", "high"))
            axes.plot(xs, ys, style, color=colour, label=name)
            axes.fill_between(xs, lows, highs, color=colour, alpha=0.15)
        sizes = [result["parameters"] for result in results]
        axes.set(xscale="log", xlabel="parameters", ylabel="percent right, with 95% interval")
        axes.set_xticks(sizes, labels=list(map(short_size, sizes)))
        axes.minorticks_off()
        axes.set_title(results[0]["title"], parse_math=False)
        axes.set_ylim(bottom=0)
        axes.legend(frameon=False)
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "curve", "svg.fonttype": "none"}):
        figure.savefig(buffer, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    return buffer.getvalue()
