"""`lama` as a module of `evaluate`, which runs a copy of this file; the rules are in `metrics.answers`."""

from toolalpaca_hf.metrics.answers import lama_correct
from toolalpaca_hf.metrics.modules import accuracy_metric

Lama = accuracy_metric(__name__, "Lama", lama_correct, ["in the city of Ulm, Germany."], ["Ulm"])
