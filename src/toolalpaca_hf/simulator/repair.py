"""What a model wrote as a response, made valid where its meaning is plain."""

import json
import re
from typing import Any

from .draws import Draws
from .generate import Generator


def written_json(text: str) -> Any:
    """The JSON value in a model's text, which may stand in a fence or between sentences.

    Raises:
        ValueError: There is none.

    Example:

    ```python
    >>> written_json('Here you are: {"status": 200, "body": [1, 2,]}')
    {'status': 200, 'body': [1, 2]}
    ```
    """
    text = text.rpartition("</think>")[2]
    starts = [found.start() for found in re.finditer(r"[{\[]", text)][:20]
    for attempt in (text, re.sub(r",(\s*[}\]])", r"\1", text)):
        for start in [0, *starts]:
            try:
                value, _ = json.JSONDecoder(parse_constant=_none).raw_decode(attempt[start:].lstrip())
                json.dumps(value, ensure_ascii=False).encode("utf-8")
            except (ValueError, RecursionError):
                continue
            if isinstance(value, dict | list):
                return value
    raise ValueError("it holds no JSON object")


def _none(name: str) -> None:
    return None


def repaired(value: Any, make: Generator, draws: Draws) -> Any:
    """A value as its schema wants it: numbers for digits, texts for numbers, required fields that are missing filled in.

    Args:
        value: What the model wrote.
        make ([`Generator`]): Of the schema that it is to be valid for.
        draws ([`Draws`]): What missing fields are drawn from.

    Returns:
        A JSON value, valid or not.
    """
    return _repaired(value, make.root, make, draws, "", 0)


def says_nothing(value: Any, make: Generator) -> bool:
    """Whether a value has none of the fields that its schema describes: few published schemas require any, so that a
    model's copy of the schema itself is valid, too."""
    node, _ = make.merger.merged(make.root, (), 0, False)
    if isinstance(value, list) and value:
        node, _ = make.merger.merged(node.get("items", {}), (), 0, False)
        value = value[0]
    fields = node.get("properties")
    return bool(fields) and isinstance(value, dict) and not set(fields) & set(value)


def _repaired(value: Any, schema: Any, make: Generator, draws: Draws, name: str, depth: int) -> Any:
    if not isinstance(schema, dict) or depth > 30 or make.is_valid(value, schema):
        return value
    node, _ = make.merger.merged(schema, (), 0, False)
    kinds = node.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if isinstance(value, dict) and ("object" in kinds or "properties" in node):
        properties = node.get("properties", {})
        fixed = {}
        for key, part in value.items():
            part = _repaired(part, properties.get(key, {}), make, draws.child(key), key, depth + 1)
            if key in node.get("required", ()) or make.is_valid(part, properties.get(key, {})):
                fixed[key] = part
        for key in node.get("required", ()):
            if key not in fixed:
                fixed[key] = make(draws.child(key), schema=properties.get(key, {}), name=key)
        if node.get("additionalProperties") is False:
            fixed = {key: part for key, part in fixed.items() if key in properties}
        return fixed
    if isinstance(value, list) and "array" in kinds:
        items = node.get("items", {})
        return [_repaired(part, items, make, draws.child(place), name, depth + 1) for place, part in enumerate(value)]
    if "array" in kinds and isinstance(value, dict):  # {"results": [...]} where the list alone was asked for
        lists = [part for part in value.values() if isinstance(part, list)]
        return _repaired(lists[0] if len(lists) == 1 else [value], schema, make, draws, name, depth + 1)
    if isinstance(value, str) and {"integer", "number", "boolean"} & set(kinds):
        try:
            number = json.loads(value.replace(",", "").strip().lower(), parse_constant=_none)
        except (ValueError, RecursionError):
            return value
        return int(number) if "integer" in kinds and isinstance(number, float) and number.is_integer() else number
    if isinstance(value, float) and "integer" in kinds and value.is_integer():
        return int(value)
    if "string" in kinds and value is not None:
        if isinstance(value, str):
            same = [option for option in node.get("enum", []) if str(option).casefold() == value.casefold()]
            return same[0] if same else value
        return json.dumps(value, ensure_ascii=False)
    return value
