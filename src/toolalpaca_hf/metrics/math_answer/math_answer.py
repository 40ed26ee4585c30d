"""`math_answer` as a module of `evaluate`, which runs a copy of this file; the rules are in `metrics.answers`."""

from toolalpaca_hf.metrics.answers import math_correct
from toolalpaca_hf.metrics.modules import accuracy_metric

_DESCRIPTION = """
The answer to a maths problem by Toolformer's measure (section 4.2.2): the first number that the model writes is the
right one.
"""
_EXAMPLE = (["$1,200 in 2 years", "none"], ["1200.0", "0"])

MathAnswer = accuracy_metric(__name__, "MathAnswer", math_correct, _DESCRIPTION, _EXAMPLE)
