"""The metrics room: calls against golden ones, verdicts with and without a judge, and Toolformer's task metrics."""

from .load import load
from .tool_call_match import match_calls
from .tool_call_validity import call_validity
from .values import arguments_equal, golden_arguments, same_function

__all__ = ["arguments_equal", "call_validity", "golden_arguments", "load", "match_calls", "same_function"]
