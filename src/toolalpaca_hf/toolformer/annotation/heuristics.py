"""Which texts are worth asking about a tool: the paper's heuristics (appendix A of arXiv 2302.04761)."""

import random
import re
from collections.abc import Callable, Mapping
from itertools import combinations
from typing import Any

from ..tools.calendar import date_in

_NUMBER = re.compile(r"(?<![\w.])\d{1,3}(?:,\d{3})+(?:\.\d+)?(?![\w])|(?<![\w.])\d+(?:\.\d+)?(?!\w)")
_RESULT = re.compile(r"(?:=|\bequals|\bequal to|\btotal of|\baverage of)\s*[$€£]?\s*\d", re.IGNORECASE)


def worth_asking(tool: str, text: str, meta: Mapping[str, Any], id: str) -> bool:
    """Whether the heuristics pick a text for a tool; a tool that has none gets every text.

    Args:
        tool (`str`): Its name, as it is called.
        text (`str`): The text.
        meta (`Mapping`): With its `url` and `date`, where they are known.
        id (`str`): Decides where the heuristics take a random share.

    Example:

    ```python
    >>> worth_asking("Calculator", "He had 12 apples, bought 5 more and left with 17.", {}, "1")
    True
    >>> worth_asking("Calendar", "It is Friday.", {"url": "https://example.com/2022/07/01/news"}, "1")
    True
    ```
    """
    rule = HEURISTICS.get(tool)
    return rule is None or rule(text, meta, id)


def _calculator(text: str, meta: Mapping[str, Any], id: str) -> bool:
    """Three numbers within 100 words, one of which follows from the other two; or a number behind "=", "total of" and the like; or
    1% of those that hold three numbers at all."""
    if _RESULT.search(text):
        return True
    words, starts = 0, 0
    numbers: list[tuple[int, float]] = []
    for match in _NUMBER.finditer(text):
        words += len(text[starts : match.start()].split())
        starts = match.start()
        numbers.append((words, float(match[0].replace(",", ""))))
    for n, (place, value) in enumerate(numbers):
        near = [other for at, other in numbers[:n] if place - at < 100][-20:]
        for pair in combinations(near, 2):
            a, b, c = *pair, value
            if any(_computed(*one) for one in ((a, b, c), (a, c, b), (b, c, a))):
                return True
    return len(numbers) >= 3 and random.Random(f"calculator/{id}").random() < 0.01


def _computed(a: float, b: float, result: float) -> bool:
    found = [a + b, a - b, b - a, a * b, *([a / b] if b else []), *([b / a] if a else [])]
    return any(abs(one - result) < 0.005 for one in found)


def _calendar(text: str, meta: Mapping[str, Any], id: str) -> bool:
    """A date in its URL."""
    return date_in(meta.get("url")) is not None


def _translation(text: str, meta: Mapping[str, Any], id: str) -> bool:
    """A piece in another language between English ones; pieces have 10 words, and those without letters say nothing."""
    languages = [_language(piece) for piece in _pieces(text)]
    told = [language for language in languages if language]
    other = [n for n, language in enumerate(told) if language != "en"]
    return any("en" in told[:n] and "en" in told[n + 1 :] for n in other)


def _pieces(text: str) -> list[str]:
    words = text.split()
    return [" ".join(words[n : n + 10]) for n in range(0, len(words), 10)]


def _language(piece: str) -> str | None:
    if not re.search(r"[^\W\d_]{2}", piece):
        return None
    language, probability = _identifier().classify(piece)
    return language if probability > 0.8 else None


def _identifier() -> Any:
    # Read once: its model takes a moment.
    global _IDENTIFIER
    if _IDENTIFIER is None:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier

        _IDENTIFIER = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    return _IDENTIFIER


_IDENTIFIER: Any = None

HEURISTICS: dict[str, Callable[[str, Mapping[str, Any], str], bool]] = {
    "Calculator": _calculator,
    "Calendar": _calendar,
    "MT": _translation,
}
"""By the name a tool is called by."""
