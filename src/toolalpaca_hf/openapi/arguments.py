"""The text a model wrote as action input, as arguments."""

import json
import re
from typing import Any

from ..errors import ToolAlpacaError
from .document import MAX_DEPTH


class CallError(ToolAlpacaError):
    """A call that can not be made as the model wrote it; the message tells the model what to change.

    Example:

    ```python
    >>> read_arguments("[]")
    Traceback (most recent call last):
        ...
    toolalpaca_hf.openapi.arguments.CallError: The Action Input is a list; write one JSON object, and call one function at a time.
    ```
    """


def read_arguments(action_input: str) -> dict[str, Any]:
    """Parse an action input. Words after the object are left out, as models add them; a second object is not.

    Args:
        action_input (`str`):
            Text from a model.

    Returns:
        `dict`: The arguments.

    Raises:
        [`CallError`]: It is empty, not JSON, not an object, nested too deep, or gives a name twice.

    Example:

    ```python
    >>> read_arguments('{"city": "Paris"} and so on')
    {'city': 'Paris'}
    ```
    """

    def number(digits: str) -> float:
        if (value := float(digits)) in (float("inf"), float("-inf")):
            raise ValueError
        return value

    def refuse(constant: str) -> None:
        raise ValueError(constant)

    action_input = action_input.strip()
    if not action_input:
        raise CallError("The Action Input is empty; write a JSON object, {} if the function needs no parameters.")

    def named(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, item in pairs:
            if key in found:  # which of the two was meant, nobody can tell
                raise CallError(
                    f"The Action Input gives `{' '.join(_clean(key, 0).split())[:60]}` twice; give each name once."
                )
            found[key] = item
        return found

    try:
        decoder = json.JSONDecoder(parse_float=number, parse_constant=refuse, object_pairs_hook=named)
        value, end = decoder.raw_decode(action_input)
    except (ValueError, RecursionError):
        raise CallError(
            "The Action Input is not valid JSON; write one JSON object with its keys and texts in double quotes."
        ) from None
    if isinstance(value, list) or (isinstance(value, dict) and re.match(r"[\s,]*[\[{]", action_input[end:])):
        several = "a list" if isinstance(value, list) else "several objects"
        raise CallError(f"The Action Input is {several}; write one JSON object, and call one function at a time.")
    if not isinstance(value, dict):
        raise CallError('The Action Input is not a JSON object; write the parameters as {"name": value}.')
    return _clean(value, 0)


def _clean(value: Any, depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise CallError("The Action Input is nested too deep; write a flatter JSON object.")
    if isinstance(value, dict):
        return {_clean(key, depth): _clean(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [_clean(item, depth + 1) for item in value]
    # Half a surrogate pair is legal in JSON and has no UTF-8.
    return value.encode("utf-8", "replace").decode("utf-8") if isinstance(value, str) else value
