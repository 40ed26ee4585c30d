"""`token_perplexity` as a module of `evaluate`, which runs a copy of this file; the rules are in `metrics.answers`."""

from collections.abc import Sequence
from typing import Any

import datasets

from toolalpaca_hf.metrics.answers import perplexity
from toolalpaca_hf.metrics.modules import metric_class


def compute(predictions: Sequence[Sequence[float | None]]) -> dict[str, Any]:
    """Perplexity over all tokens of all texts, from their log-probabilities, however a model gave them (Toolformer's
    section 4.3: it must not rise by training on calls).

    Args:
        predictions (`list[list[float]]`): For each text the natural logarithms of the probabilities of its tokens;
            `None` for a token without one, as the first has none, is left out.

    Returns:
        `dict`: `perplexity`, `nll` (the mean over tokens), `tokens`, and `n`, how many texts there are.

    Example:

        >>> from toolalpaca_hf import metrics
        >>> metrics.load("token_perplexity").compute(predictions=[[None, -1.0, -1.0], [-4.0]])
        {'perplexity': 7.38905609893065, 'nll': 2.0, 'tokens': 3, 'n': 2}
    """
    return perplexity(predictions) | {"n": len(predictions)}


_FEATURES = datasets.Features({"predictions": datasets.List(datasets.Value("float64"))})
TokenPerplexity = metric_class(__name__, "TokenPerplexity", compute, _FEATURES, "toolformer", [])
