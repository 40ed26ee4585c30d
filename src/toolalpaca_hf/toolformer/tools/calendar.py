"""What day it is."""

import re
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from ...errors import ToolAlpacaError
from .base import Tool

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = "January February March April May June July August September October November December".split()

_IN_URL = re.compile(r"(?<!\d)((?:19|20)\d\d)[-/_](0?[1-9]|1[0-2])[-/_](0?[1-9]|[12]\d|3[01])(?!\d)")


class Calendar(Tool):
    """The calendar of section 3: takes no input and tells the date.

    Args:
        day (`date` or `str`, *optional*): The date, `2023-01-30`; defaults to today's.

    Raises:
        [`ToolAlpacaError`]: `day` is no date.

    Example:

    ```python
    >>> Calendar("2023-01-30")("")
    'Today is Monday, January 30, 2023.'
    >>> Calendar().for_document({"date": "2019-04-25T12:57:54Z"})("")
    'Today is Thursday, April 25, 2019.'
    >>> Calendar().for_document({"date": "2019-04-25", "url": "https://example.com/2012/07/01/news"})("")
    'Today is Sunday, July 1, 2012.'
    ```
    """

    name = "Calendar"
    prompt = "calendar.txt"

    def __init__(self, day: date | str | None = None) -> None:
        self.day = day if day is None or isinstance(day, date) else _date_of(day)
        if day is not None and self.day is None:
            raise ToolAlpacaError(f"{day!r} is no date; write one as 2023-01-30")

    @property
    def key(self) -> str:  # type: ignore[override]
        """Its date decides what it says."""
        return f"Calendar {self._today():%Y-%m-%d}"

    def __call__(self, text: str) -> str:
        """Today's date, whatever the input."""
        day = self._today()
        return f"Today is {DAYS[day.weekday()]}, {MONTHS[day.month - 1]} {day.day}, {day.year}."

    def for_document(self, meta: Mapping[str, Any]) -> "Calendar":
        """A calendar of the date in the document's `url`, else of its `date`, which may be that of a crawl."""
        day = date_in(meta.get("url")) or _date_of(meta.get("date"))
        return Calendar(day) if day else self

    def _today(self) -> date:
        return self.day or datetime.now().astimezone().date()


def date_in(url: Any) -> date | None:
    """The first date in a URL; `None` where there is none.

    Example:

    ```python
    >>> date_in("https://example.com/2012/07/01/news")
    datetime.date(2012, 7, 1)
    ```
    """
    for match in _IN_URL.finditer(url) if isinstance(url, str) else ():
        try:
            return date(*map(int, match.groups()))
        except ValueError:
            continue  # the 31st of February
    return None


def _date_of(value: Any) -> date | None:
    if isinstance(value, date):
        return value.date() if isinstance(value, datetime) else value
    try:
        return date.fromisoformat(str(value).strip()[:10])
    except ValueError:
        return None
