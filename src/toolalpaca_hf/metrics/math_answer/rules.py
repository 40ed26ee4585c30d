"""The rule of `math_answer`."""

import re
from decimal import Decimal

# A minus belongs to the number unless it stands between two: `5-3` begins with 5, and the next would be 3.
_NUMBER = re.compile(
    r"(?P<minus>(?<![\w)])[-−]\s?)?(?:[$€£]\s?(?P<minus_inside>[-−])?)?"
    r"(?P<digits>(?:\d{1,3}(?:,\d{3})+(?![\d,]*\d)|\d+)(?:\.\d+)?|\.\d+)",
    re.ASCII,
)


def first_number(text: str) -> Decimal | None:
    """The first number in a text, exactly; thousands separators and the sign of a currency are no part of it.

    Args:
        text (`str`): Any text.

    Example:

    ```python
    >>> first_number("She pays $1,234.50 for 3."), first_number("-$5"), first_number("none")
    (Decimal('1234.50'), Decimal('-5'), None)
    ```
    """
    found = _NUMBER.search(text)
    if found is None:
        return None
    number = Decimal(found["digits"].replace(",", ""))
    return -number if found["minus"] or found["minus_inside"] else number


def math_correct(prediction: str, gold: str) -> bool:
    """Whether the first number predicted is the gold one, `3.0` being 3: the Toolformer paper's measure for maths
    (section 4.2.2).

    Args:
        prediction (`str`): What a model wrote.
        gold (`str`): The right answer; without a number in it nothing is right.

    Example:

    ```python
    >>> math_correct(" $1,200 in all", "1200.0"), math_correct("2 times 600 is 1200", "1200")
    (True, False)
    ```
    """
    number, right = first_number(prediction), first_number(gold)
    return right is not None and number == right
