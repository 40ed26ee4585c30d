"""The metrics room: calls against golden ones, verdicts with and without a judge, and Toolformer's task metrics."""

from .values import arguments_equal, golden_arguments, same_function

__all__ = ["arguments_equal", "golden_arguments", "same_function"]
