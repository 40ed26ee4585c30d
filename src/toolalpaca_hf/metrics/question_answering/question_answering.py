"""`question_answering` as a module of `evaluate`, which copies this file; the rules are in `metrics.answers`."""

from toolalpaca_hf.metrics.answers import answer_given
from toolalpaca_hf.metrics.modules import accuracy_metric

_DESCRIPTION = """
The answer to a question by Toolformer's measure (section 4.2.3): the first twenty words that the model writes hold it.
"""
_EXAMPLE = (["It was Marie Curie."], [["Curie", "Maria Skłodowska"]])

QuestionAnswering = accuracy_metric(__name__, "QuestionAnswering", answer_given, _DESCRIPTION, _EXAMPLE)
