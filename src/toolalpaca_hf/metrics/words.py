"""Whether an answer stands within the first words of a text, which is how Toolformer scores free text."""

import re
import unicodedata
from collections.abc import Sequence

# Letters and figures, held together by what stands within a word: `don't`, `U.S.`, `Franco-Prussian`, `1,200`.
_WORD = re.compile(r"\w+(?:['’.,-]\w+)*")


def words_of(text: str) -> list[str]:
    """The words of a text, without case and the punctuation around them.

    Example:

    ```python
    >>> words_of("It's Berlin, the capital.")
    ["it's", 'berlin', 'the', 'capital']
    ```
    """
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def within_first(text: str, answers: str | Sequence[str], words: int) -> bool:
    """Whether one of the answers stands, whole and word for word, within the first words of a text.

    Args:
        text (`str`):
            What a model wrote.
        answers (`str` or `Sequence[str]`):
            The gold answer, or several of which any will do. One without a word in it is never found.
        words (`int`):
            How many words of the text count.

    Example:

    ```python
    >>> within_first("in New York, I think", ["new york", "nyc"], 3), within_first("in New York", "York", 2)
    (True, False)
    ```
    """
    first = words_of(text)[:words]
    for answer in [answers] if isinstance(answers, str) else answers:
        gold = words_of(answer)
        if gold and any(first[i : i + len(gold)] == gold for i in range(len(first) - len(gold) + 1)):
            return True
    return False
