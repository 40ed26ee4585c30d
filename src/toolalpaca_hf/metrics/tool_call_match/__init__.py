"""Made calls against golden ones; `tool_call_match.py` is what `evaluate.load` takes, the rules are in `rules.py`."""

from .rules import match_calls

__all__ = ["match_calls"]
