"""Questions answered, by Toolformer's measure; `question_answering.py` is what `evaluate.load` takes."""

from .rules import answer_given

__all__ = ["answer_given"]
