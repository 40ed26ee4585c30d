"""Four operations and parentheses."""

import ast
import re

from .base import Tool

LONGEST = 200
FOUR = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.USub, ast.UAdd)
_SIGNS = str.maketrans({"×": "*", "·": "*", "÷": "/", "−": "-", "–": "-"})


class Calculator(Tool):
    """The calculator of section 3: `+ - * /` and parentheses, rounded to two decimals.

    Anything else, such as a power, has no result; nor has a division by zero, or an expression of over 200 characters.

    Example:

    ```python
    >>> Calculator()("400 / 1400"), Calculator()("(1,000 + 500) * 2.5"), Calculator()("9**9**9")
    ('0.29', '3750', None)
    ```
    """

    name = key = "Calculator"
    prompt = "calculator.txt"

    def __call__(self, text: str) -> str | None:
        """The value of an expression."""
        from simpleeval import DEFAULT_OPERATORS, InvalidExpression, SimpleEval

        text = text.translate(_SIGNS)
        # Of what these signs can write, only powers and whole divisions are no operation of the paper's.
        if len(text) > LONGEST or not re.fullmatch(r"[0-9.,+\-*/()\s]+", text) or re.search(r"\*\s*\*|/\s*/", text):
            return None
        text = re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", " ".join(text.split()))
        text = re.sub(r"(?<![\d.])0+(?=\d)", "", text)  # Python takes no 007
        if "," in text:  # a tuple
            return None
        try:
            evaluate = SimpleEval(operators={kind: DEFAULT_OPERATORS[kind] for kind in FOUR}, functions={}, names={})
            value = evaluate.eval(text)
            return _rounded(value) if isinstance(value, int | float) else None
        except (InvalidExpression, ArithmeticError, ValueError, SyntaxError, RecursionError, MemoryError):
            return None


def _rounded(value: int | float) -> str | None:
    if isinstance(value, float) and abs(value) >= 2**53:  # it has digits that nobody computed
        return None
    value = round(value, 2)
    return str(int(value)) if value == int(value) else f"{value:.2f}".rstrip("0")
