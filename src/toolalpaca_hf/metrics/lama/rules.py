"""The rule of `lama`."""

from collections.abc import Sequence

from ..words import within_first

WORDS = 5
"""How many predicted words count."""


def lama_correct(prediction: str, gold: str | Sequence[str]) -> bool:
    """Whether the gold word is among the first five predicted ones: the Toolformer paper's measure for LAMA (section
    4.2.1) and for TempLAMA and Dateset (section 4.2.5).

    Args:
        prediction (`str`): What a model wrote.
        gold (`str` or `Sequence[str]`): The right word or words, or several answers of which any will do.

    Example:

    ```python
    >>> lama_correct("the city of Ulm.", "ulm"), lama_correct("a city that is called Ulm", "Ulm")
    (True, False)
    ```
    """
    return within_first(prediction, gold, WORDS)
