"""When an answer is right: the paper's measures (section 4.2), and one for worked solutions."""

import re
from collections.abc import Callable, Sequence

from ...metrics import answer_given, lama_correct, math_correct

Measure = Callable[[str, Sequence[str]], bool]
"""Takes what a model wrote, its calls taken out, and the right answers."""

_NUMBER = re.compile(r"-?(?:[$€£]\s?)?-?(?:\d[\d,]*(?:\.\d+)?|\.\d+)")


def final_number(text: str) -> str:
    """The part of a worked solution that has its answer: what follows the last `####`, else from the last number on.

    Example:

    ```python
    >>> final_number("48/2 = 24\\n#### 24 clips"), final_number("He has 3 and 1,200 left.")
    (' 24 clips', '1,200 left.')
    ```
    """
    _, mark, after = text.rpartition("####")
    if mark:
        return after
    found = list(_NUMBER.finditer(text))
    return text[found[-1].start() :] if found else ""


def _any_number(text: str, answers: Sequence[str]) -> bool:
    return any(math_correct(text, answer) for answer in answers)


MEASURES: dict[str, Measure] = {
    "first_number": _any_number,
    "last_number": lambda text, answers: _any_number(final_number(text), answers),
    "five_words": lama_correct,
    "ten_words": lambda text, answers: answer_given(text, answers, words=10),
    "twenty_words": answer_given,
}
"""By what they look at: the first number (section 4.2.2), the last one of a solution, or the first words that the paper
looks at for facts (4.2.1, 4.2.5), for questions in other languages (4.2.4) and for questions (4.2.3)."""
