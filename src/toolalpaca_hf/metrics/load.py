"""A metric by its name, as a module of the library `evaluate`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ToolAlpacaError

if TYPE_CHECKING:
    from evaluate import EvaluationModule

FOLDER = Path(__file__).parent
"""Where the metrics are: one folder each, with a script of the folder's name."""


def names() -> list[str]:
    """The names that [`load`] takes.

    Example:

    ```python
    >>> "tool_call_match" in names()
    True
    ```
    """
    return sorted(script.stem for script in FOLDER.glob("*/*.py") if script.stem == script.parent.name)


def load(name: str, **settings: Any) -> "EvaluationModule":
    """Load a metric of this package as a module of `evaluate`. Nothing is asked of the network.

    Args:
        name (`str`):
            Its name; see [`names`].
        settings (*optional*):
            Passed on to `evaluate.load`, as `keep_in_memory`, or `experiment_id` where several processes share one
            evaluation.

    Returns:
        `evaluate.EvaluationModule`: The metric.

    Raises:
        [`ToolAlpacaError`]: There is no metric of that name, or `evaluate` is not installed.

    Example:

    ```python
    >>> from toolalpaca_hf import metrics
    >>> metrics.load("math_answer").compute(predictions=["It is $1,200."], references=["1200"])
    {'accuracy': 1.0, 'n': 1}
    ```
    """
    if name not in names():
        raise ToolAlpacaError(f"there is no metric {name!r}; choose among {', '.join(names())}")
    try:
        import evaluate
    except ImportError:
        raise ToolAlpacaError(
            "metrics load as modules of the package evaluate, which is not installed; install toolalpaca-hf[train]"
        ) from None
    # An absolute path: `evaluate` looks on the Hub for what it takes for a name.
    return evaluate.load(str(FOLDER / name), **settings)
