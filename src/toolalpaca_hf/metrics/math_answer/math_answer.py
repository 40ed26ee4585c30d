"""`math_answer` as a module of `evaluate`, which runs a copy of this file; the rules are in `metrics.answers`."""

from toolalpaca_hf.metrics.answers import math_correct
from toolalpaca_hf.metrics.modules import accuracy_metric

MathAnswer = accuracy_metric(__name__, "MathAnswer", math_correct, ["$1,200 in 2 years", "none"], ["1200.0", "0"])
