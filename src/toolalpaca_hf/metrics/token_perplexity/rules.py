"""The rule of `token_perplexity`."""

import math
from collections.abc import Sequence
from typing import Any

from ...errors import ToolAlpacaError


def perplexity(log_probs: Sequence[Sequence[float | None]]) -> dict[str, Any]:
    """The exponential of the mean negative log-likelihood of all tokens, each with the same weight whatever text it
    is from (the Toolformer paper compares models by it in section 4.3).

    Args:
        log_probs (`Sequence[Sequence[float]]`):
            For each text the natural logarithms of the probabilities of its tokens. `None`, as the first token has, is
            left out.

    Returns:
        `dict[str, Any]`: `perplexity`, which is infinite where a token was impossible, `nll`, the mean, and `tokens`.

    Raises:
        [`ToolAlpacaError`]: A value is no logarithm of a probability, or there is no token at all.

    Example:

    ```python
    >>> perplexity([[None, -1.0, -1.0], [-4.0]])
    {'perplexity': 7.38905609893065, 'nll': 2.0, 'tokens': 3}
    ```
    """
    known = []
    for row, text in enumerate(log_probs):
        for value in text:
            if value is not None and not value <= 0:  # NaN is not, either
                raise ToolAlpacaError(
                    f"text {row} has the log-probability {value}; pass natural logarithms of probabilities, 0 at most"
                )
        known += [value for value in text if value is not None]
    if not known:
        raise ToolAlpacaError("there is no token with a log-probability; pass at least one")
    nll = -math.fsum(known) / len(known)
    try:
        value = math.exp(nll)
    except OverflowError:
        value = math.inf
    return {"perplexity": value, "nll": nll, "tokens": len(known)}
