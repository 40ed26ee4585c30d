"""Measuring models: first calls against golden ones, perplexity of the trained tokens."""

from ..agent.models import load_model
from .first_call import arguments_equal, baselines, golden_arguments, score_first_call, summarize
from .first_turn import first_turns
from .measure import as_table, measure, write_records
from .perplexity import perplexity

__all__ = [
    "arguments_equal",
    "as_table",
    "baselines",
    "first_turns",
    "golden_arguments",
    "load_model",
    "measure",
    "perplexity",
    "score_first_call",
    "summarize",
    "write_records",
]
