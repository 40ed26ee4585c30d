"""`question_answering` as a module of `evaluate`, which copies this file; the rules are in `metrics.answers`."""

from toolalpaca_hf.metrics.answers import answer_given
from toolalpaca_hf.metrics.modules import accuracy_metric

QuestionAnswering = accuracy_metric(
    __name__, "QuestionAnswering", answer_given, ["It was Marie Curie."], [["Curie", "Maria Skłodowska"]]
)
