"""Toolformer's measures (section 4): answers within the first words, the first number, perplexity."""

import math
import re
import unicodedata
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any

from ..errors import InputError

# Letters and figures, held together by what stands within a word: `don't`, `U.S.`, `Franco-Prussian`, `1,200`.
_WORD = re.compile(r"\w+(?:['’.,-]\w+)*")
# A minus belongs to the number unless it stands between two: `5-3` and `5 - 3` begin with 5, and the next is 3.
_NUMBER = re.compile(
    r"(?P<minus>(?<![\w)])[-−](?:(?<![\w)]\s.)\s)?)?(?:[$€£]\s?(?P<minus_inside>[-−])?)?"
    r"(?P<digits>(?:\d{1,3}(?:,\d{3})+(?![\d,]*\d)|\d+)(?:\.\d+)?|\.\d+)",
    re.ASCII,
)


def answer_given(prediction: str, gold: str | Sequence[str], words: int = 20) -> bool:
    """Whether the first 20 predicted words contain a gold answer, word for word: the paper's measure for questions
    (section 4.2.3). For multilingual questions (section 4.2.4) it uses 10 words.

    Example:

    ```python
    >>> answer_given("That was Marie Curie, in 1903.", ["Marie Curie", "Maria Skłodowska"])
    True
    ```
    """
    texts = [prediction, *([gold] if isinstance(gold, str) else gold)]
    said, *golds = (_WORD.findall(unicodedata.normalize("NFKC", text).casefold()) for text in texts)
    said = said[:words]
    return any(said[i : i + len(gold)] == gold for gold in golds if gold for i in range(len(said) - len(gold) + 1))


def lama_correct(prediction: str, gold: str | Sequence[str]) -> bool:
    """Whether a gold answer is among the first five predicted words: the measure of sections 4.2.1 and 4.2.5."""
    return answer_given(prediction, gold, 5)


def numbers_of(text: str) -> Iterator[Decimal]:
    """The numbers in a text, in their order, exactly, without thousands separators and currency signs."""
    for found in _NUMBER.finditer(text):
        number = Decimal(found["digits"].replace(",", ""))
        yield number.copy_negate() if found["minus"] or found["minus_inside"] else number


def first_number(text: str) -> Decimal | None:
    return next(numbers_of(text), None)


def math_correct(prediction: str, gold: str | Sequence[str]) -> bool:
    """Whether the first predicted number equals a gold one: the paper's measure for maths (section 4.2.2).

    Example:

    ```python
    >>> math_correct(" $1,200 in all", "1200.0"), math_correct("2 times 600 is 1200", "1200")
    (True, False)
    ```
    """
    made = first_number(prediction)
    return made is not None and made in map(first_number, [gold] if isinstance(gold, str) else gold)


def perplexity(log_probs: Sequence[Sequence[float | None] | None]) -> dict[str, Any]:
    """Exponential of the mean negative log-likelihood over all tokens (compared in the paper's section 4.3).

    `log_probs` has for each text the natural logarithms of its tokens' probabilities; `None`, as for a first token, is
    left out, as is a text that is `None`. `perplexity` is infinite if a token was impossible. A value that is no
    log-probability, or no token at all, is an [`InputError`].

    Example:

    ```python
    >>> perplexity([[None, -1.0, -1.0], [-4.0]])
    {'perplexity': 7.38905609893065, 'nll': 2.0, 'tokens': 3}
    ```
    """
    known: list[float] = []
    for row, text in enumerate(() if text is None else text for text in log_probs):
        known += [value for value in text if value is not None]
        if wrong := [value for value in text if value is not None and not value <= 0]:  # NaN is not, either
            raise InputError(f"{wrong[0]} is no natural logarithm of a probability", row=row)
    if not known:
        raise InputError("no token has a log-probability")
    nll = -math.fsum(known) / len(known)
    try:
        value = math.exp(nll)
    except OverflowError:
        value = math.inf
    return {"perplexity": value, "nll": nll, "tokens": len(known)}
