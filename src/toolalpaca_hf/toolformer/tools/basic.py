"""The tools that compute their result: calculator and calendar."""

import ast
import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import date, datetime
from typing import Any

from ...errors import OptionError
from .tool import Tool

_LONGEST = 200
_OPERATORS = (ast.Add, ast.Sub, ast.Mult, ast.Div, ast.USub, ast.UAdd)
_SIGNS = str.maketrans({"×": "*", "·": "*", "÷": "/", "−": "-", "–": "-"})
_DATE_IN_URL = re.compile(r"(?<!\d)((?:19|20)\d\d)[-/_](0?[1-9]|1[0-2])[-/_](0?[1-9]|[12]\d|3[01])(?!\d)")


class Calculator(Tool):
    """The calculator of section 3: `+ - * /` and parentheses, rounded to two decimals; no result for anything else."""

    name = key = "Calculator"
    prompt = "calculator.txt"

    def __call__(self, text: str) -> str | None:
        from simpleeval import DEFAULT_OPERATORS, InvalidExpression, SimpleEval

        text = text.translate(_SIGNS)
        # Of what these characters can express, only powers and integer divisions are not the paper's operations.
        if len(text) > _LONGEST or not re.fullmatch(r"[0-9.,+\-*/()\s]+", text) or re.search(r"\*\s*\*|/\s*/", text):
            return None
        text = re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", " ".join(text.split()))
        text = re.sub(r"(?<![\d.])0+(?=\d)", "", text)  # Python takes no 007
        if "," in text:  # a tuple
            return None
        operators = {kind: DEFAULT_OPERATORS[kind] for kind in _OPERATORS}
        try:
            value = SimpleEval(operators=operators, functions={}, names={}).eval(text)
            if isinstance(value, float) and abs(value) >= 2**53:
                return None  # such a float has digits that nobody computed
            value = round(value, 2)
            return str(int(value)) if value == int(value) else f"{value:.2f}".rstrip("0")
        except (InvalidExpression, ArithmeticError, ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
            return None


class Calendar(Tool):
    """The calendar of section 3: takes no input and returns the date, by default today's."""

    name = "Calendar"
    prompt = "calendar.txt"

    def __init__(self, day: date | str | None = None) -> None:
        self.day = day if day is None or isinstance(day, date) else _date_of(day)
        if day is not None and (self.day is None or (isinstance(day, str) and len(day.strip()) > 10)):
            raise OptionError(f"{day!r} is not a date", option="--date", fix="write one as 2023-01-30")

    @property
    def key(self) -> str:  # type: ignore[override]  # changes at midnight
        return f"Calendar {self._today():%Y-%m-%d}"

    def __call__(self, text: str) -> str:
        day = self._today()
        return f"Today is {day:%A, %B} {day.day}, {day.year}."

    def for_document(self, meta: Mapping[str, Any]) -> "Calendar":
        """A calendar with the date in the document's `url`, else its `date`, which may be that of a crawl."""
        day = date_in_url(meta.get("url")) or _date_of(meta.get("date"))
        return Calendar(day) if day else self

    def _today(self) -> date:
        return self.day or datetime.now().astimezone().date()


def date_in_url(url: Any) -> date | None:
    """The first date in a URL (`/2012/07/01/`), or `None`."""
    for match in _DATE_IN_URL.finditer(str(url)):
        with suppress(ValueError):  # the 31st of February
            return date(*map(int, match.groups()))
    return None


def _date_of(value: Any) -> date | None:
    if isinstance(value, date):
        return value.date() if isinstance(value, datetime) else value
    try:
        return date.fromisoformat(str(value).strip()[:10])
    except ValueError:
        return None
