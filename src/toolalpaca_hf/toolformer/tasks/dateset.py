"""Questions about dates in the manner of the paper's Dateset (section 4.2.5), whose own questions are not public.

Each of a number of random days is taken as today, and the templates of `dateset.txt` are asked on it. What is today only the
calendar can tell.
"""

import random
from collections.abc import Iterator
from datetime import date, timedelta
from importlib.resources import files

from .layouts import Question

FIRST, LAST = date(1980, 1, 1), date(2029, 12, 31)
MOST_DAYS = 60


def dateset(days: int = 500, seed: int = 0) -> Iterator[Question]:
    """Questions about dates.

    Args:
        days (`int`, *optional*, defaults to 500): How many days are taken as today, as many as in the paper.
        seed (`int`, *optional*, defaults to 0): Which ones.

    Example:

    ```python
    >>> next(dateset(days=1))
    Question(text='What day of the week is it today?', answers=('Thursday',), context='', date='2014-07-24')
    ```
    """
    drawn = random.Random(seed)
    lines = (files(__package__) / "dateset.txt").read_text(encoding="utf-8").splitlines()
    templates = [line.split("\t") for line in lines if line.strip()]
    for _ in range(days):
        today = FIRST + timedelta(days=drawn.randrange((LAST - FIRST).days))
        for asked, answer in templates:
            distance = drawn.randint(2, MOST_DAYS)
            # A dict's format fields reach attributes of dates alone; the templates are this package's own.
            fields = {
                "today": today,
                "past": today - timedelta(days=distance),
                "future": today + timedelta(days=distance),
                "days": distance,
            }
            yield Question(asked.format(**fields), (answer.format(**fields),), date=today.isoformat())
