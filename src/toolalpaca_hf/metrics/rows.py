"""Rows of a metric: what comes beside predictions and references, and the mean over them."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from ..errors import ToolAlpacaError
from ..formats import NO_CALL
from ..schema import Step

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


class MissingAttempts:
    """Goes before `evaluate.Metric`, which refuses rows of `None`: a prediction of `None` is an attempt that is missing.

    `_compute` is given one step in which everything is `None`; see [`attempt_of`].

    Raises:
        [`ToolAlpacaError`]: A reference is `None`.
    """

    def add_batch(self, *, predictions: Any = None, references: Any = None, **more: Any) -> None:
        """As `evaluate.Metric` has it."""
        nothing = [dict.fromkeys(self.info.features["predictions"].feature)]  # type: ignore[attr-defined]
        predictions = predictions and [nothing if row is None else row for row in predictions]
        references = references and required("references", references)
        super().add_batch(predictions=predictions, references=references, **more)  # type: ignore[misc]


def attempt_of(row: Sequence[Mapping[str, Any]]) -> list[Step] | None:
    """The steps of a prediction, `None` where the attempt is missing. A step without action or input called nothing.

    Args:
        row (`Sequence[Mapping]`): Steps, each with `action`, `action_input` and perhaps an `observation`.

    Example:

    ```python
    >>> attempt_of([{"action": None, "action_input": None}])
    >>> attempt_of([{"action": "findTide", "action_input": None}])[0].action
    'hallucination'
    ```
    """
    if len(row) == 1 and not any(value is not None for value in row[0].values()):
        return None
    steps = []
    for step in row:
        called = step["action"] is not None and step["action_input"] is not None
        action, action_input = (step["action"], step["action_input"]) if called else (NO_CALL, "")
        steps.append(Step("", action, action_input, step.get("observation") or ""))
    return steps


def required(name: str, values: Sequence[T | None]) -> Sequence[T]:
    """The values, none of which may be missing.

    Args:
        name (`str`): What the argument is called.
        values (`Sequence`): One value for each row.

    Raises:
        [`ToolAlpacaError`]: A row has none.

    Example:

    ```python
    >>> required("references", [[], []])
    [[], []]
    ```
    """
    for row, value in enumerate(values):
        if value is None:
            raise ToolAlpacaError(f"{name}[{row}] is None, so there is nothing to score against; leave the row out")
    return values  # type: ignore[return-value]


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
