"""Tables in Markdown, and figures as the cells of every table have them."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

NONE = "–"  # stands where there is no figure


def finite(value: Any) -> float | None:
    """The value where it is a finite number, else `None`."""
    usable = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if usable else None


def rate_text(rate: Mapping[str, Any] | None, sign: str = "", key: str = "value") -> str:
    """A rate of shares between 0 and 1, which has `low`, `high` and the key, in percent with its interval; with the
    sign `"+"`, a difference.

    Example:

    ```python
    >>> rate_text({"value": 0.63, "low": 0.531, "high": 0.722, "n": 100}), rate_text(None)
    ('63.0 (53.1 to 72.2)', '–')
    ```
    """
    value, low, high = (finite((rate or {}).get(name)) for name in (key, "low", "high"))
    if value is None:
        return NONE
    interval = "" if low is None or high is None else f" ({100 * low:{sign}.1f} to {100 * high:{sign}.1f})"
    return f"{100 * value:{sign}.1f}{interval}"


@dataclass(frozen=True)
class Table:
    """A table of a page: its heading, rows of cells, and how many columns hold text; the others hold numbers."""

    head: Sequence[str]
    rows: Sequence[Sequence[object]]
    text_columns: int = 1


def _keep_markup(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def markdown_table(
    head: Sequence[str],
    rows: Iterable[Sequence[object]],
    text_columns: int | None = None,
    escape: Callable[[str], str] = _keep_markup,
) -> str:
    """A table in GitHub's Markdown.

    Args:
        text_columns (`int`, *optional*): How many columns hold text; those after them hold numbers, aligned right.
        escape (`Callable`, *optional*): What each cell passes; [`markdown_text`] lets no markup in.

    Example:

    ```python
    >>> print(markdown_table(("a", "n"), [("x | y", 1)], 1))
    | a | n |
    | --- | ---: |
    | x \\| y | 1 |
    ```
    """
    left = len(head) if text_columns is None else text_columns
    lines = [[escape(str(cell)) for cell in row] for row in (head, *rows)]
    lines.insert(1, ["---"] * left + ["---:"] * (len(head) - left))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
