"""`tool_call_match` as a module of `evaluate`, which runs a copy of this file; the rules are in `metrics.matching`."""

from collections.abc import Sequence
from typing import Any

import datasets

from toolalpaca_hf.metrics.matching import CALL_SCORES, match_calls
from toolalpaca_hf.metrics.modules import Rows, attempts_of, means, metric_class
from toolalpaca_hf.schema import Api


def compute(
    predictions: Rows,
    references: Rows,
    apis: Sequence[Api] | None = None,
    instructions: Sequence[str] | None = None,
    exempt_undetermined: bool = False,
) -> dict[str, Any]:
    """Compares the calls that a model made with golden ones, without a judge: which functions were called, in which
    order, and with which arguments. The ToolAlpaca paper (section 4.1) leaves that comparison to GPT-4.

    Args:
        predictions (`list[list[dict]]`): For each instruction the actions of the model, each an `action` and its
            `action_input` (JSON text); an empty list or `None` for an attempt that is missing.
        references (`list[list[dict]]`): For each instruction the golden calls, laid out alike.
        apis (`list[Api]`, *optional*): For each instruction its API, whose document gives the types of the arguments.
        instructions (`list[str]`, *optional*): What was asked, for `exempt_undetermined`.
        exempt_undetermined (`bool`, *optional*, defaults to `False`): See `match_calls`.

    Returns:
        `dict`: The shares of `all_functions`, `all_functions_repeated`, `exact_set`, `in_order` and `arguments`, the
        means of `precision`, `recall`, `f1`, `argument_precision`, `argument_recall`, `argument_f1`, and `n`.

    Example:

        >>> from toolalpaca_hf import metrics
        >>> metric = metrics.load("tool_call_match")
        >>> golden = [{"action": "findTide", "action_input": '{"port": "Brest"}'}]
        >>> made = [{"action": "findTide", "action_input": '{"port": "brest"}'}]
        >>> metric.compute(predictions=[made, []], references=[golden, golden])["arguments"]
        0.5
    """
    rows = attempts_of(predictions, references, apis, instructions)
    scores = [match_calls(golden, made or [], api, text, exempt_undetermined) for made, golden, api, text in rows]
    return means(scores, CALL_SCORES)


_CALLS = datasets.List(dict.fromkeys(("action", "action_input"), datasets.Value("string")))
_FEATURES = datasets.Features({"predictions": _CALLS, "references": _CALLS})
ToolCallMatch = metric_class(__name__, "ToolCallMatch", compute, _FEATURES, "toolalpaca")
