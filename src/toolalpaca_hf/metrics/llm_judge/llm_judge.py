"""`llm_judge` as a module of `evaluate`, which runs a copy of this file; the rules are in `metrics.judging`."""

from collections.abc import Callable
from typing import Any

import datasets

from toolalpaca_hf.metrics.judging import judge_statistics, parse_verdict
from toolalpaca_hf.metrics.modules import metric_class


def compute(predictions: list[str], judge: Callable[[str], str] | None = None) -> dict[str, Any]:
    r"""Verdicts of a language model on the use of tools: whether the process (the calls) and the final response are
    correct, each Yes, No or Uncertain (ToolAlpaca, arXiv 2306.05301, section 4.1). Texts without a readable verdict
    are counted as errors, in the denominator of every rate, and never as a No.

    Args:
        predictions (`list` of `str`): What the judge wrote about each instruction, empty where it wrote nothing. With
            `judge`, what it is to be asked, as `judge_prompt` makes it.
        judge (`Callable[[str], str]`, *optional*): Answers a prompt, such as the method `answer` of
            `toolalpaca_hf.evaluation.judge.Judge`, for any server that speaks OpenAI's chat completions.

    Returns:
        `process`, `response`, `both` (`float`): Shares of Yes, between 0 and 1, over all predictions.
        `statistics` (`dict`): The counts, in the layout of the published evaluation outputs.
        `texts` (`list` of `str`): What the judge wrote.

    Examples:
        >>> from toolalpaca_hf import metrics
        >>> metric = metrics.load("llm_judge")
        >>> yes = "## Results\nProcess Correctness: Yes\nFinal Response Correctness: Yes"
        >>> scores = metric.compute(predictions=[yes, ""])
        >>> scores["both"], scores["statistics"]["error_num"]
        (0.5, 1)
    """
    texts = [judge(text) if judge and text else text or "" for text in predictions]
    statistics = judge_statistics([parse_verdict(text)._asdict() for text in texts], len(texts))
    n = len(texts) or 1
    shares = {name: statistics[name]["Yes"] / n for name in ("process", "response")}
    return shares | {"both": statistics["both"] / n, "statistics": statistics, "texts": texts}


_FEATURES = datasets.Features({"predictions": datasets.Value("string")})
LlmJudge = metric_class(__name__, "LlmJudge", compute, _FEATURES, "toolalpaca", "")
