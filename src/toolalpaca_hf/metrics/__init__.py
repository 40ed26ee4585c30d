"""The metrics room: calls against golden ones, verdicts with and without a judge, and Toolformer's task metrics."""

from .lama import lama_correct
from .load import load
from .math_answer import math_correct
from .question_answering import answer_given
from .token_perplexity import perplexity
from .tool_call_match import match_calls
from .tool_call_validity import call_validity
from .values import arguments_equal, golden_arguments, same_function

__all__ = [
    "answer_given",
    "arguments_equal",
    "call_validity",
    "golden_arguments",
    "lama_correct",
    "load",
    "match_calls",
    "math_correct",
    "perplexity",
    "same_function",
]
