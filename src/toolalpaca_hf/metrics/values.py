"""When two names mean one function, and two values say the same: what every metric that compares calls stands on."""

import json
import re
from decimal import Decimal
from typing import Any

from ..formats import parse_arguments
from ..schema import REDACTED

# As JSON writes numbers, with a sign or a bare point besides; `float` would also take `nan`, `infinity` and `1_000`.
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d{1,4})?", re.ASCII | re.IGNORECASE)


def _scalar(value: float | str) -> Decimal | str:
    """A number, exactly (ids of 17 digits can differ in the last one alone), or text without its case, as is `true`."""
    words = str(value).strip()
    return Decimal(words) if _NUMBER.fullmatch(words) else words.casefold()


def _equal(golden: Any, made: Any) -> bool:
    if golden == REDACTED:
        return True
    if isinstance(golden, dict) and isinstance(made, dict):
        return arguments_equal(golden, made)
    if isinstance(golden, list) and isinstance(made, list):
        return len(golden) == len(made) and all(map(_equal, golden, made))
    if isinstance(golden, int | float | str) and isinstance(made, int | float | str):
        return _scalar(golden) == _scalar(made)
    return golden == made


def arguments_equal(golden: dict[str, Any], made: dict[str, Any]) -> bool:
    """Whether two argument objects say the same: `"3"` is 3, case is ignored, empty and null values count as absent.

    Args:
        golden (`dict`): Golden arguments; the value `***` matches anything.
        made (`dict`): Arguments that a model made.

    Example:

    ```python
    >>> arguments_equal({"city": "Paris", "days": 3, "units": ""}, {"city": "paris", "days": "3"})
    True
    ```
    """
    golden = {k: v for k, v in golden.items() if v not in ("", None)}
    made = {k: v for k, v in made.items() if v not in ("", None)}
    return golden.keys() == made.keys() and all(_equal(v, made[k]) for k, v in golden.items())


def golden_arguments(text: str) -> dict[str, Any] | None:
    """Arguments of a golden call; what the published files leave open, as `${start date}`, matches any value.

    Args:
        text (`str`): The golden `Action_Input`, not always valid JSON.

    Returns:
        `dict`, *optional*: The arguments, open values as `***`; `None` where the text can not be read even so, which
        no made call matches.

    Example:

    ```python
    >>> golden_arguments('{"animeId": ${animeId from searchAnime}}')
    {'animeId': '***'}
    ```
    """
    opened = re.sub(r'"?\$?\{[^{}":]*\}"?', json.dumps(REDACTED), text)
    for candidate in (text, opened):
        arguments = parse_arguments(candidate)
        if arguments is not None:
            return _opened(arguments)
    return None


def _opened(value: Any) -> Any:
    """The value with everything in it that is wholly a placeholder, `${start date}` or `{start date}`, as `***`."""
    if isinstance(value, dict):
        return {key: _opened(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_opened(item) for item in value]
    return REDACTED if isinstance(value, str) and re.fullmatch(r"\$?\{[^{}\":]*\}", value) else value


def same_function(golden: str, made: str) -> bool:
    """Whether two names mean one function: the published golden names differ from the documents' in punctuation.

    Example:

    ```python
    >>> same_function("preferred-routes_search_get", "preferredroutes_search_get")
    True
    ```
    """
    plain = [re.sub(r"[\W_]+", "", name.removeprefix("[Optional]")).casefold() for name in (golden, made)]
    return plain[0] == plain[1]
