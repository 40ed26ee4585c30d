"""Rows of a metric: what comes beside predictions and references, and the mean over them."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from ..errors import ToolAlpacaError

T = TypeVar("T")


def per_row(name: str, values: Sequence[T] | None, rows: int, default: T) -> Sequence[T]:
    """One value for each row.

    Args:
        name (`str`): What the argument is called.
        values (`Sequence`, *optional*): The values.
        rows (`int`): How many rows there are.
        default (`Any`): The value of every row where there are none.

    Raises:
        [`ToolAlpacaError`]: There are more values or fewer than rows.

    Example:

    ```python
    >>> per_row("instructions", None, 2, "")
    ['', '']
    ```
    """
    if values is None:
        return [default] * rows
    if len(values) != rows:
        raise ToolAlpacaError(f"{name} has {len(values)} values for {rows} predictions; pass one for each, in order")
    return values


def means(scores: Sequence[Mapping[str, Any]], names: Sequence[str]) -> dict[str, Any]:
    """The mean of each named score over all rows, and `n`, how many there are.

    Args:
        scores (`Sequence[Mapping]`): The scores of each row, truth values or numbers.
        names (`Sequence[str]`): Which of them.

    Raises:
        [`ToolAlpacaError`]: There are no rows.

    Example:

    ```python
    >>> means([{"correct": True}, {"correct": False}], ["correct"])
    {'correct': 0.5, 'n': 2}
    ```
    """
    if not scores:
        raise ToolAlpacaError("there are no predictions to score; pass at least one")
    return {name: sum(score[name] for score in scores) / len(scores) for name in names} | {"n": len(scores)}
