"""`question_answering` as a module of `evaluate`; the rule is in `toolalpaca_hf.metrics.question_answering.rules`.

`evaluate.load` copies this one file elsewhere and runs it there, so it imports the package by its full name.
"""

from collections.abc import Sequence
from typing import Any

import datasets
import evaluate

from toolalpaca_hf.metrics.question_answering.rules import answer_given
from toolalpaca_hf.metrics.rows import means, required

_DESCRIPTION = """
The answer to a question by Toolformer's measure (section 4.2.3): the first twenty words that the model writes hold it.
"""

_CITATION = r"""
@article{schick2023toolformer,
    title = {Toolformer: Language Models Can Teach Themselves to Use Tools},
    author = {Schick, Timo and Dwivedi-Yu, Jane and Dess{\`i}, Roberto and Raileanu, Roberta and Lomeli, Maria and
              Zettlemoyer, Luke and Cancedda, Nicola and Scialom, Thomas},
    journal = {arXiv preprint arXiv:2302.04761},
    year = {2023},
}
"""

_KWARGS_DESCRIPTION = """
Args:
    predictions (`list[str]`):
        What the model wrote after each prompt.
    references (`list[str]` or `list[list[str]]`):
        The gold answer of each, or several of which any will do.

Returns:
    `dict`: `accuracy`, and `n`, how many there are.

Example:

    >>> from toolalpaca_hf import metrics
    >>> metric = metrics.load("question_answering")
    >>> metric.compute(predictions=["It was Marie Curie."], references=[["Curie", "Maria Skłodowska"]])
    {'accuracy': 1.0, 'n': 1}
"""


@evaluate.utils.file_utils.add_start_docstrings(_DESCRIPTION, _KWARGS_DESCRIPTION)
class QuestionAnswering(evaluate.Metric):
    def _info(self) -> evaluate.MetricInfo:
        text = datasets.Value("string")
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_KWARGS_DESCRIPTION,
            features=[
                datasets.Features({"predictions": text, "references": text}),
                datasets.Features({"predictions": text, "references": datasets.List(text)}),
            ],
            reference_urls=["https://arxiv.org/abs/2302.04761"],
        )

    def _compute(self, predictions: Sequence[str | None], references: Sequence[str | Sequence[str]]) -> dict[str, Any]:
        scores = [
            {"accuracy": answer_given(given or "", wanted)}  # `None` is an answer that is missing
            for given, wanted in zip(predictions, required("references", references), strict=True)
        ]
        return means(scores, ["accuracy"])
