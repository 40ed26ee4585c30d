"""`math_answer` as a module of `evaluate`; the rule is in `toolalpaca_hf.metrics.math_answer.rules`.

`evaluate.load` copies this one file elsewhere and runs it there, so it imports the package by its full name.
"""

from collections.abc import Sequence
from typing import Any

import datasets
import evaluate

from toolalpaca_hf.metrics.math_answer.rules import math_correct
from toolalpaca_hf.metrics.rows import means, required

_DESCRIPTION = """
The answer to a maths problem by Toolformer's measure (section 4.2.2): the first number that the model writes is the
right one.
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
        What the model wrote after each problem.
    references (`list[str]`):
        The gold number of each.

Returns:
    `dict`: `accuracy`, and `n`, how many there are.

Example:

    >>> from toolalpaca_hf import metrics
    >>> metrics.load("math_answer").compute(predictions=["$1,200 in 2 years", "none"], references=["1200.0", "0"])
    {'accuracy': 0.5, 'n': 2}
"""


@evaluate.utils.file_utils.add_start_docstrings(_DESCRIPTION, _KWARGS_DESCRIPTION)
class MathAnswer(evaluate.Metric):
    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_KWARGS_DESCRIPTION,
            features=datasets.Features(
                {"predictions": datasets.Value("string"), "references": datasets.Value("string")}
            ),
            reference_urls=["https://arxiv.org/abs/2302.04761"],
        )

    def _compute(self, predictions: Sequence[str | None], references: Sequence[str]) -> dict[str, Any]:
        scores = [
            {"accuracy": math_correct(given or "", wanted)}  # `None` is an answer that is missing
            for given, wanted in zip(predictions, required("references", references), strict=True)
        ]
        return means(scores, ["accuracy"])
