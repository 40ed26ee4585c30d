"""The judge's prompt and verdicts; `llm_judge.py` is the module that `evaluate.load` takes."""

from .prompt import JudgePrompt, judge_prompt, own_prompt, published_prompt
from .verdict import VERDICTS, JudgeVerdict, judge_statistics, parse_verdict

__all__ = [
    "VERDICTS",
    "JudgePrompt",
    "JudgeVerdict",
    "judge_prompt",
    "judge_statistics",
    "own_prompt",
    "parse_verdict",
    "published_prompt",
]
