"""A comparison as tables: for the terminal and in Markdown."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .compare import HEADLINE

if TYPE_CHECKING:
    from rich.console import Group

NONE = "–"


@dataclass(frozen=True)
class _Table:
    title: str
    columns: list[str]
    rows: list[list[str]]


def comparison_table(comparison: Mapping[str, Any]) -> "Group":
    """A comparison for the terminal.

    Args:
        comparison (`Mapping`):
            From [`compare.compare`].

    Returns:
        `rich.console.Group`: Three tables, of rates, differences and APIs, and the notes; `rich.print` shows it.

    Example:

    ```python
    >>> import rich
    >>> rich.print(comparison_table(compare(["runs/before", "runs/after"])))  # doctest: +SKIP
    ```
    """
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    parts: list[Any] = []
    for table in _tables(comparison):
        # `Text`: a name with square brackets is a name, not markup.
        shown = Table(title=Text(table.title), title_justify="left")
        for i, column in enumerate(table.columns):
            shown.add_column(Text(column), justify="right" if i else "left", overflow="fold")
        for row in table.rows:
            shown.add_row(*map(Text, row))
        parts.append(shown)
    return Group(*parts, *(Text(f"Note: {note}.") for note in comparison["notes"]))


def comparison_markdown(comparison: Mapping[str, Any]) -> str:
    """A comparison in Markdown.

    Args:
        comparison (`Mapping`):
            From [`compare.compare`].

    Example:

    ```python
    >>> rate = {"value": 0.5, "low": 0.4, "high": 0.6, "n": 10}
    >>> run = {"name": "a", "model": "m", "suite": "real", "n": 10, "failed": 1, "missing": 0, "rates": {"f1": rate}}
    >>> print(comparison_markdown({"runs": [run], "differences": [], "by_api": {}, "notes": []}).splitlines()[-1])
    | F1 of calls | 50.0 (40.0 to 60.0) |
    ```
    """
    parts = []
    for table in _tables(comparison):
        rule = ["---", *["---:"] * (len(table.columns) - 1)]
        lines = [f"| {' | '.join(map(_cell, row))} |" for row in (table.columns, rule, *table.rows)]
        parts.append("\n".join([f"### {table.title}", "", *lines]))
    parts += [f"Note: {_cell(note)}." for note in comparison["notes"]]
    return "\n\n".join(parts) + "\n"


def _cell(text: str) -> str:
    """Text that stays in its cell, whatever a folder or an API is called."""
    return " ".join(text.replace("\\", "\\\\").replace("|", "\\|").replace("[", "\\[").replace("<", "&lt;").split())


def _tables(comparison: Mapping[str, Any]) -> list[_Table]:
    runs = comparison["runs"]
    names = [run["name"] for run in runs]
    shown = [key for key in HEADLINE if any(key in run["rates"] for run in runs)]
    rows = [
        [heading, *(str(NONE if run.get(key) is None else run[key]) for run in runs)]
        for heading, key in (
            ("Model", "model"),
            ("Suite", "suite"),
            ("Instructions", "n"),
            ("Failed", "failed"),
            ("Missing", "missing"),
        )
    ]
    rows += [[HEADLINE[key], *(_rate(run["rates"].get(key)) for run in runs)] for key in shown]
    tables = [_Table("Rates, in percent, with 95% intervals", ["", *names], rows)]
    differences = comparison["differences"]
    if differences:
        headings = [f"{one['name']} (n = {one['n']})" for one in differences]
        rows = [
            [HEADLINE[key], *(_difference(one["rates"].get(key)) for one in differences)]
            for key in HEADLINE
            if any(key in one["rates"] for one in differences)
        ]
        title = f"Difference to {names[0]}, in points, on the instructions that both have"
        tables.append(_Table(title, ["", *headings], rows))
    # One rate an API: the first that some run has.
    groups = comparison["by_api"]
    of_api = next(
        (k for k in HEADLINE if any(k in group for runs_ in groups.values() for group in runs_.values())), ""
    )
    if of_api:
        rows = [[api, *(_of_api(by_run.get(name), of_api) for name in names)] for api, by_run in groups.items()]
        tables.append(_Table(f"{HEADLINE[of_api]}, by API, in percent", ["", *names], rows))
    return tables


def _rate(rate: Mapping[str, Any] | None) -> str:
    if rate is None:
        return NONE
    return f"{100 * rate['value']:.1f} ({100 * rate['low']:.1f} to {100 * rate['high']:.1f})"


def _difference(one: Mapping[str, Any] | None) -> str:
    if one is None:
        return NONE
    p = "p < 0.001" if one["p_value"] < 0.001 else f"p = {one['p_value']:.3f}"
    points, low, high = (100 * one[key] for key in ("difference", "low", "high"))
    return f"{points:+.1f} ({low:+.1f} to {high:+.1f}), {p}, {one['wins']} won, {one['losses']} lost"


def _of_api(group: Mapping[str, Any] | None, key: str) -> str:
    return f"{100 * group[key]['value']:.1f} (n = {group['n']})" if group and key in group else NONE
