"""`lama` as a module of `evaluate`, which runs a copy of this file; the rules are in `metrics.answers`."""

from toolalpaca_hf.metrics.answers import lama_correct
from toolalpaca_hf.metrics.modules import accuracy_metric

_DESCRIPTION = """
The completion of a fact by Toolformer's measure for LAMA (section 4.2.1), which it takes for its temporal datasets
(section 4.2.5), too: the right word is among the first five that the model writes.
"""
_EXAMPLE = (["in the city of Ulm, Germany."], ["Ulm"])

Lama = accuracy_metric(__name__, "Lama", lama_correct, _DESCRIPTION, _EXAMPLE)
