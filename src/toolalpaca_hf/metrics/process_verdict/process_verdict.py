"""`process_verdict` as a module of `evaluate`, which runs a copy of this file; the rules are in `metrics.process`."""

from collections.abc import Sequence
from typing import Any

import datasets

from toolalpaca_hf.metrics.modules import Rows, attempts_of, means, metric_class
from toolalpaca_hf.metrics.process import ProcessVerdict, judge_process
from toolalpaca_hf.schema import Api, Instruction


def compute(
    predictions: Rows, references: Rows, instructions: Sequence[str] | None = None, apis: Sequence[Api] | None = None
) -> dict[str, Any]:
    """Whether the calls of a trajectory solve its instruction, Yes or No with a reason, by rules instead of a judge.
    They follow the guideline that ToolAlpaca's judge is given (arXiv 2306.05301): each golden call is made and
    answered, with the same arguments wherever the instruction determines them, and no unrelated function is called.

    Args:
        predictions (`list[list[dict]]`): For each instruction the steps of the model: `action`, `action_input` (JSON
            text) and `observation`, which begins with `Status Code: 200` where the API answered. Empty for an attempt
            that is missing, or `None`, which is a No whatever is golden.
        references (`list[list[dict]]`): For each instruction the golden calls: `action` and `action_input`.
        instructions (`list[str]`, *optional*): What was asked. Without it every golden argument has to be met.
        apis (`list[Api]`, *optional*): For each instruction its API, to tell invented from unrelated functions.

    Returns:
        `dict`: `process_verdict`, the share of Yes; `verdicts` and `reasons` (empty for a Yes) of each instruction.

    Example:

        >>> from toolalpaca_hf import metrics
        >>> metric = metrics.load("process_verdict")
        >>> golden = [{"action": "findTide", "action_input": '{"port": "Brest"}'}]
        >>> made = [golden[0] | {"observation": "Status Code: 200. Response: {}"}]
        >>> metric.compute(predictions=[made, []], references=[golden, golden])["reasons"]
        ['', 'findTide was never called']
    """
    verdicts = [
        ProcessVerdict("No", "there is no attempt")
        if steps is None
        else judge_process(api or Api("", ""), Instruction("", "", text, golden), steps)
        for steps, golden, api, text in attempts_of(predictions, references, apis, instructions)
    ]
    return {
        "process_verdict": means([{"yes": verdict.verdict == "Yes"} for verdict in verdicts], ["yes"])["yes"],
        "verdicts": [verdict.verdict for verdict in verdicts],
        "reasons": [verdict.reason for verdict in verdicts],
    }


_CALL = dict.fromkeys(("action", "action_input"), datasets.Value("string"))
_STEPS = datasets.List(_CALL | {"observation": datasets.Value("string")})
_FEATURES = datasets.Features({"predictions": _STEPS, "references": datasets.List(_CALL)})
ProcessVerdictMetric = metric_class(__name__, "ProcessVerdictMetric", compute, _FEATURES, "toolalpaca")
