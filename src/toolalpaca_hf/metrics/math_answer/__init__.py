"""Maths problems solved, by Toolformer's measure; `math_answer.py` is what `evaluate.load` takes."""

from .rules import math_correct

__all__ = ["math_correct"]
