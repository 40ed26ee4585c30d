"""Made calls against the API's document; `tool_call_validity.py` is what `evaluate.load` takes."""

from .rules import call_validity

__all__ = ["call_validity"]
