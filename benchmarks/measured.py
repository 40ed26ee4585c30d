"""What the benchmarks share: medians with their spread, tables, plots, and the file that the page is rendered from.

README.md beside this file says what that file holds.
"""

import os
import shlex
import signal
import statistics
import sys
import textwrap
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from toolalpaca_hf.storage import write_json

PARENT = "TOOLALPACA_BENCHMARK_PARENT"  # names a pipe that closes when page.py, which started this process, ends
if PARENT in os.environ:
    _pipe = int(os.environ.pop(PARENT))
    threading.Thread(target=lambda: (os.read(_pipe, 1), os.killpg(0, signal.SIGKILL)), daemon=True).start()

Cell = str | float | int | None
Table = dict[str, Any]


def resident(process: int | None = None) -> float:
    """The resident memory of a process, this one by default, in MB."""
    return psutil.Process(process).memory_info().rss / 2**20


def figure(value: Cell) -> str:
    """A figure for people: three digits, thousands apart; nothing where nothing was measured."""
    if value is None:
        return ""
    if isinstance(value, str | bool):
        return str(value)
    if isinstance(value, int) or abs(value) >= 100:
        return f"{value:,.0f}"
    if abs(value) >= 1 or value == 0:
        return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
    return f"{value:.2g}" if abs(value) < 0.01 else f"{value:.3f}"


def spread(values: Sequence[float]) -> str:
    """The median, and from where to where the values go; a value by itself where there is one."""
    middle = figure(statistics.median(values))
    return f"{middle} ({figure(min(values))} to {figure(max(values))})" if len(values) > 1 else middle


def ratios(base: Sequence[float], own: Sequence[float]) -> list[float]:
    """How many times less the second took, round by round: a busy machine slows both sides of one round."""
    return [one / other for one, other in zip(base, own, strict=True)]


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Cell]], note: str = "") -> Table:
    """A table of the page: what it is about, its columns, its rows, and what a reader has to know."""
    return {"title": title, "note": note, "columns": list(columns), "rows": [list(row) for row in rows]}


def cells(one: Table) -> list[list[str]]:
    """ParsedPrompt and rows of a table as text, all of one width; a row may be a list, or a dict by column."""
    columns = list(one["columns"])
    rows = [[row.get(name) for name in columns] if isinstance(row, Mapping) else list(row) for row in one["rows"]]
    width = max(len(row) for row in [columns, *rows])
    return [[figure(cell) for cell in row] + [""] * (width - len(row)) for row in [columns, *rows]]


def show(tables: Sequence[Table]) -> None:
    """Print tables, columns aligned."""
    for one in tables:
        lines = cells(one)
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        print(f"\n{one['title']}\n")
        for line in lines:
            rest = (cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))
            print("  ".join([line[0].ljust(widths[0]), *rest]).rstrip())
        if one.get("note"):
            print("\n" + textwrap.fill(one["note"], 110))
    print(flush=True)


def command() -> str:
    """How this process was started, without where its figures go."""
    words = sys.argv[1:]
    if "--json" in words:
        at = words.index("--json")
        words = words[:at] + words[at + 2 :]
    words = [word for word in words if not word.startswith("--json=")]
    return shlex.join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *words])


def write(
    path: Path,
    seconds: float,
    tables: Sequence[Table],
    pictures: Sequence[str | dict[str, str]] = (),
    **figures: Any,
) -> None:
    """Write what was measured, whole or not at all; `figures` are for programs and do not appear on the page."""
    record = {
        "benchmark": Path(sys.argv[0]).stem,
        "command": command(),
        "seconds": round(seconds, 1),
        "tables": list(tables),
        "pictures": list(pictures),
        **figures,
    }
    write_json(path, record, indent=2)


def bars(path: Path, groups: Mapping[str, Mapping[str, Sequence[float]]], label: str) -> str:
    """Draw a group of bars a row, one a way, each at its median with its spread; the file's name."""
    from matplotlib.figure import Figure

    ways = list(dict.fromkeys(way for group in groups.values() for way in group))
    drawing = Figure(figsize=(8.5, 3.6), layout="constrained")
    axes = drawing.subplots()
    for number, way in enumerate(ways):
        found = [(place, group[way]) for place, group in enumerate(groups.values()) if way in group]
        middles = [statistics.median(values) for _, values in found]
        low = [middle - min(values) for middle, (_, values) in zip(middles, found, strict=True)]
        high = [max(values) - middle for middle, (_, values) in zip(middles, found, strict=True)]
        places = [place + (number - (len(ways) - 1) / 2) * 0.8 / len(ways) for place, _ in found]
        axes.bar(places, middles, 0.8 / len(ways), yerr=[low, high], capsize=3, label=way)
    axes.set_xticks(range(len(groups)), list(groups))
    axes.set_ylabel(label)
    # Beside the bars, where it covers none.
    drawing.legend(loc="outside right upper", fontsize=8)
    drawing.savefig(path, dpi=130)
    return path.name
