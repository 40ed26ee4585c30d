"""The rule of `question_answering`."""

from collections.abc import Sequence

from ..words import within_first

WORDS = 20
"""How many predicted words count; for questions in other languages (section 4.2.4) the paper takes 10."""


def answer_given(prediction: str, gold: str | Sequence[str], words: int = WORDS) -> bool:
    """Whether the first twenty predicted words hold a gold answer: the Toolformer paper's measure for questions
    (section 4.2.3).

    Args:
        prediction (`str`): What a model wrote.
        gold (`str` or `Sequence[str]`): The right answer, or several of which any will do.
        words (`int`, *optional*, defaults to 20): How many words count.

    Example:

    ```python
    >>> answer_given("That was Marie Curie, in 1903.", ["Marie Curie", "Maria Skłodowska"])
    True
    ```
    """
    return within_first(prediction, gold, words)
