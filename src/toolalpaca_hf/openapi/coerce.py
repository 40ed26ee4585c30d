"""A value as a model wrote it, made to fit a schema where that is safe; what does not fit is said in words."""

import json
import math
import re
from typing import Any

from jsonschema import Draft202012Validator, ValidationError
from jsonschema.exceptions import best_match
from jsonschema.validators import extend

SHOWN = 5
"""How many violations of one value are told: a model mends a few at a time."""

_NUMBER = re.compile(r"[+-]?[0-9]{1,300}(\.[0-9]{1,300})?([eE][+-]?[0-9]{1,3})?")


def _nullable(keyword: str) -> Any:
    own = Draft202012Validator.VALIDATORS[keyword]

    def check(validator: Any, wanted: Any, value: Any, schema: dict[str, Any]) -> Any:
        if not (value is None and schema.get("nullable")):
            yield from own(validator, wanted, value, schema)

    return check


# `nullable` is OpenAPI 3.0's; JSON schema does not know it.
_Validator = extend(Draft202012Validator, {keyword: _nullable(keyword) for keyword in ("type", "enum", "anyOf")})


def fit(value: Any, schema: dict[str, Any], name: str = "") -> tuple[Any, list[str]]:
    """Make a value fit a schema where no meaning is lost (`"3"` for 3, `3` for `"3"`, `"true"` for `True`, one value
    for a list of such), then check it.

    Args:
        value (`Any`):
            Any JSON value.
        schema (`dict`):
            A schema as [`clean_schema`] makes it.
        name (`str`, *optional*, defaults to `""`):
            What the sentences call the value.

    Returns:
        `tuple[Any, list[str]]`: The value, and a sentence for each violation that is left.

    Example:

    ```python
    >>> fit(["1", 2], {"type": "array", "items": {"type": "integer"}}, "ids")
    ([1, 2], [])
    >>> fit("x", {"type": "integer"}, "page")
    ('x', ['`page` must be an integer, not "x".'])
    ```
    """
    value = _coerced(value, schema)
    errors = sorted(
        _Validator(schema).iter_errors(value), key=lambda error: [str(part) for part in error.absolute_path]
    )
    return value, list(dict.fromkeys(_sentence(error, name) for error in errors))[:SHOWN]


def _fits(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    if kind == "integer":
        return isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    wanted = {"number": (int, float), "string": str, "array": list, "object": dict}.get(kind)
    return wanted is not None and isinstance(value, wanted)


def _fits_as_it_is(value: Any, choice: dict[str, Any]) -> bool:
    """Whether an alternative takes a value unchanged; an object only where it names all the object's properties."""
    known = choice.get("properties") if isinstance(choice, dict) else None
    return (not isinstance(value, dict) or value.keys() <= (known or {}).keys()) and _Validator(choice).is_valid(value)


def _coerced(value: Any, schema: dict[str, Any]) -> Any:
    choices = schema.get("anyOf", [])
    for choice in () if any(_fits_as_it_is(value, choice) for choice in choices) else choices:
        fitted = _coerced(value, choice)
        if _Validator(choice).is_valid(fitted):
            value = fitted
            break
    declared = schema.get("type", [])
    kinds = declared if isinstance(declared, list) else [declared]
    if value is not None and kinds and not any(_fits(value, kind) for kind in kinds):
        value = next((made for kind in kinds for made in _converted(value, kind)), value)
    if "integer" in kinds and "number" not in kinds and isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, list) and "items" in schema:
        return [_coerced(item, schema["items"]) for item in value]
    if isinstance(value, dict) and "properties" in schema:
        return {key: _coerced(item, schema["properties"].get(key, {})) for key, item in value.items()}
    allowed = schema.get("enum", [])
    if isinstance(value, str | int | float) and not kinds and value not in allowed:
        return next((member for member in allowed if written(member) == written(value)), value)
    return value


def _converted(value: Any, kind: str) -> list[Any]:
    """The value as another type; empty where something would be guessed or lost."""
    if kind == "array":
        parsed = _parsed(value)
        return [parsed if isinstance(parsed, list) else [value]]
    if kind == "object":
        parsed = _parsed(value)
        return [parsed] if isinstance(parsed, dict) else []
    if kind == "string":
        return [written(value)] if isinstance(value, bool | int | float) else []
    if not isinstance(value, str):
        return []
    word = value.strip()
    if kind == "boolean":
        return [word.lower() == "true"] if word.lower() in ("true", "false") else []
    if kind in ("integer", "number") and _NUMBER.fullmatch(word):
        if re.fullmatch(r"[+-]?[0-9]+", word):
            return [int(word)]
        number = float(word)
        return [number] if math.isfinite(number) and (kind == "number" or number.is_integer()) else []
    return []


def _parsed(value: Any) -> Any:
    """JSON inside a text, which models write for lists and objects."""
    if not isinstance(value, str) or value.strip()[:1] not in ("[", "{"):
        return None
    try:
        parsed = json.loads(value)
        json.dumps(parsed, allow_nan=False).encode()
        return parsed
    except (ValueError, RecursionError):
        return None


def written(value: Any) -> str:
    """A value as it is written in a URL or a header: text as it is, `true` for `True`, anything nested as JSON.

    Example:

    ```python
    >>> written(True), written(3.0), written("a b"), written([1, None])
    ('true', '3.0', 'a b', '[1,null]')
    ```
    """
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def shown(value: Any) -> str:
    """A value as a sentence quotes it, cut where it is long."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 120 else f"{text[:117]}..."


def _sentence(error: ValidationError, name: str) -> str:
    error = best_match([error]) or error  # into the alternative that came nearest
    place = name
    for part in error.absolute_path:
        place = f"{place}[{part}]" if isinstance(part, int) else f"{place}.{part}" if place else str(part)
    called = f"`{place}`" if place else "The input"
    if error.validator == "required":
        missing = [part for part in error.validator_value if part not in error.instance]
        return f"Missing required {', '.join(f'`{place}.{part}`' if place else f'`{part}`' for part in missing)}."
    if error.validator == "type":
        kinds = error.validator_value if isinstance(error.validator_value, list) else [error.validator_value]
        words = " or ".join(f"an {kind}" if kind[0] in "aio" else f"a {kind}" for kind in kinds)
        return f"{called} must be {words}, not {shown(error.instance)}."
    if error.validator == "enum":
        choices = ", ".join(shown(choice) for choice in error.validator_value[:30])
        more = ", ..." if len(error.validator_value) > 30 else ""
        return f"{called} must be one of {choices}{more}, not {shown(error.instance)}."
    message = " ".join(error.message.split())
    return f"{called} is not accepted: {message if len(message) <= 200 else f'{message[:197]}...'}."
