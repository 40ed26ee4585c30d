"""A run's figures as results of a model card."""

from typing import Any

from .headline import label, number

SPLITS = {"simulated": "eval_simulated", "real": "eval_real", "sample": "eval_simulated"}
"""The split of the dataset repo that holds a suite's instructions."""


def model_index(metrics: dict[str, Any]) -> list[dict[str, Any]]:
    """The figures as keyword arguments of `huggingface_hub.EvalResult`, for `ModelCardData(eval_results=...)`.

    Args:
        metrics (`dict`): What `metrics.json` holds.

    Returns:
        `list[dict]`: One a figure, in percent; a figure without a value is left out.

    Example:

    ```python
    >>> from huggingface_hub import EvalResult
    >>> rate = {"value": 0.63, "low": 0.531, "high": 0.722, "n": 100}
    >>> result = EvalResult(**model_index({"suite": "simulated", "n": 100, "process_verdict": rate})[0])
    >>> result.metric_value, result.metric_name
    (63.0, 'Process correct, by rule (%; 95% interval 53.1 to 72.2, n = 100)')
    ```
    """
    suite = str(metrics.get("suite") or "unnamed")
    rates = [("process_verdict", "process_verdict", metrics.get("process_verdict"))]
    rates += [("llm_judge", key, rate) for key, rate in (metrics.get("judge_rates") or {}).items()]
    rates += [("tool_call_match", key, rate) for key, rate in (metrics.get("calls") or {}).items()]
    results = []
    for metric, key, rate in rates:
        value, low, high = (number((rate or {}).get(name)) for name in ("value", "low", "high"))
        if value is None:
            continue
        n = f"n = {rate.get('n', metrics.get('n'))}"
        spread = n if low is None or high is None else f"95% interval {100 * low:.1f} to {100 * high:.1f}, {n}"
        results.append(
            {
                "task_type": "text-generation",
                "task_name": "Tool use",
                "dataset_type": "toolalpaca-sample" if suite == "sample" else "toolalpaca",
                "dataset_name": f"ToolAlpaca, {suite} suite",
                "dataset_config": "instructions",
                "dataset_split": SPLITS.get(suite),
                "metric_type": metric,
                "metric_config": key,
                "metric_name": f"{label(key)} (%; {spread})",
                "metric_value": round(100 * value, 1),
            }
        )
    return results
