"""Whether a server makes an answer follow a JSON schema, or takes `response_format` and passes over it."""

import json
from typing import Any

PROBE_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"mark": {"type": "string", "enum": ["zq-71c"]}},
    "required": ["mark"],
    "additionalProperties": False,
}
PROBE = [{"role": "user", "content": "Wish me a good morning in one short sentence."}]
"""A question whose answer does not follow `PROBE_SCHEMA` unless it has to."""


def response_format(schema: dict[str, Any]) -> dict[str, Any]:
    """The field of a request that asks for an answer which follows a schema.

    Args:
        schema (`dict`): The JSON schema.

    Example:

    ```python
    >>> response_format({"type": "object"})["json_schema"]["schema"]
    {'type': 'object'}
    ```
    """
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": True}}


def is_enforced(text: str) -> bool:
    """Whether an answer to `PROBE` shows that `PROBE_SCHEMA` was enforced.

    Args:
        text (`str`): The answer.

    Example:

    ```python
    >>> is_enforced('{"mark": "zq-71c"}'), is_enforced("Good morning!")
    (True, False)
    ```
    """
    try:
        return json.loads(text) == {"mark": "zq-71c"}
    except (ValueError, RecursionError):
        return False
