"""`tool_call_validity` as a module of `evaluate`, which copies this file; the rules are in `metrics.calls`."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import datasets

from toolalpaca_hf.errors import OptionError
from toolalpaca_hf.metrics.calls import OF_STEPS, call_validity, shares_of
from toolalpaca_hf.metrics.modules import Rows, attempts_of, metric_class
from toolalpaca_hf.schema import Api

_COUNTS = (*OF_STEPS, "steps", "calls", "answered_2xx", "errors", "recovered_errors", "repeated_identical")


def compute(predictions: Rows, apis: Sequence[Api] | None = None) -> dict[str, Any]:
    """Checks the calls that a model made against the API's document, without golden calls: whether an action could be
    read, whether the function exists and the arguments fit, the call was answered, and errors were fixed.

    Args:
        predictions (`list[list[dict]]`): The steps for each instruction: `action`, `action_input`, `observation`.
        apis (`list[Api]`): For each instruction its API.

    Returns:
        `dict`: What `call_validity` has of one attempt, over all (a share of nothing is `None`), and `n`.

    Example:

        >>> from toolalpaca_hf import metrics
        >>> from toolalpaca_hf.schema import Api
        >>> metric = metrics.load("tool_call_validity")
        >>> steps = [{"action": "getDetails", "action_input": "{}", "observation": "Brest."}]
        >>> metric.compute(predictions=[steps], apis=[Api("eval_real/tides", "Tides")])["known_function"]
        1.0
    """
    if apis is None:
        raise OptionError("the documents are needed", option="apis", fix="pass one API for each prediction")
    rows = attempts_of(predictions, None, apis)
    found = [call_validity(api or Api("", ""), steps or []) for steps, _, api, _ in rows]
    total = {name: sum(counts[name] for counts in found) for name in _COUNTS}
    return {
        **shares_of(total),
        **{name: total[name] for name in ("steps", "calls", "errors", "repeated_identical")},
        "error_kinds": dict(sum((Counter(counts["error_kinds"]) for counts in found), Counter()).most_common()),
        "hallucinated": sorted({name for counts in found for name in counts["hallucinated"]}),
        "n": len(found),
    }


_STEPS = datasets.List(dict.fromkeys(("action", "action_input", "observation"), datasets.Value("string")))
_FEATURES = datasets.Features({"predictions": _STEPS})
ToolCallValidity = metric_class(__name__, "ToolCallValidity", compute, _FEATURES, "toolalpaca")
