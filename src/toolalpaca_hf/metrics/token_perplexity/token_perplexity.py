"""`token_perplexity` as a module of `evaluate`; the rule is in `toolalpaca_hf.metrics.token_perplexity.rules`.

`evaluate.load` copies this one file elsewhere and runs it there, so it imports the package by its full name.
"""

from collections.abc import Sequence
from typing import Any

import datasets
import evaluate

from toolalpaca_hf.metrics.token_perplexity.rules import perplexity

_DESCRIPTION = """
Perplexity over all tokens of all texts, from their log-probabilities, however a model gave them (Toolformer's section
4.3: it must not rise by training on calls).
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
    predictions (`list[list[float]]`):
        For each text the natural logarithms of the probabilities of its tokens; `None` for a token without one, as
        the first has none, is left out.

Returns:
    `dict`: `perplexity`, `nll` (the mean over tokens), `tokens`, and `n`, how many texts there are.

Example:

    >>> from toolalpaca_hf import metrics
    >>> metrics.load("token_perplexity").compute(predictions=[[None, -1.0, -1.0], [-4.0]])
    {'perplexity': 7.38905609893065, 'nll': 2.0, 'tokens': 3, 'n': 2}
"""


@evaluate.utils.file_utils.add_start_docstrings(_DESCRIPTION, _KWARGS_DESCRIPTION)
class TokenPerplexity(evaluate.Metric):
    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_KWARGS_DESCRIPTION,
            features=datasets.Features({"predictions": datasets.List(datasets.Value("float64"))}),
            reference_urls=["https://arxiv.org/abs/2302.04761"],
        )

    def _compute(self, predictions: Sequence[Sequence[float | None]]) -> dict[str, Any]:
        return perplexity(predictions) | {"n": len(predictions)}
