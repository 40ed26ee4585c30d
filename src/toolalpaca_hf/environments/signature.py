"""A tool as a Python method whose signature and docstring give its JSON schema back, as TRL reads it."""

import inspect
import json
import re
from collections.abc import Callable, Iterable
from functools import reduce
from keyword import iskeyword
from operator import or_
from typing import Any, Literal

from ..openapi import mapping

_PLAIN: dict[str, Any] = {"string": str, "integer": int, "number": float, "boolean": bool}
_KINDS = {str: "string", int: "integer", float: "number", bool: "boolean"}
# What transformers takes for the beginning of another section, wherever it stands.
_SECTION = re.compile(r"\b(Args|Returns|Raises):")


def python_names(names: Iterable[str]) -> dict[str, str]:
    """Names that Python takes for parameters, by the document's: `accept-language` is `accept_language`."""
    names = list(names)
    found: dict[str, str] = {}
    for name in names:
        alias = re.sub(r"\W", "_", name) or "_"
        alias = f"_{alias}" if alias[0].isdigit() else alias
        if not alias.isidentifier() or iskeyword(alias) or alias in ("self", "cls"):
            alias = f"{alias}_" if alias.isidentifier() else f"argument_{len(found)}"
        while alias != name and (alias in names or alias in found.values()):
            alias += "_"
        found[name] = alias
    return found


def tool_method(tool: dict[str, Any], call: Callable[[Any, dict[str, Any]], str]) -> Callable[..., str]:
    """A method that calls a tool, from which `transformers.utils.get_json_schema` reads the tool again.

    A parameter whose name Python does not take has another (`from_`); `call` gets the document's. What a signature
    cannot hold of a parameter's schema (nested fields, formats, bounds, defaults) stands in its description, as JSON
    Schema.
    """
    function = tool["function"]
    properties: dict[str, Any] = function["parameters"].get("properties", {})
    required = function["parameters"].get("required", ())
    aliases = python_names(properties)
    names = {alias: name for name, alias in aliases.items()}

    def method(self: Any, **arguments: Any) -> str:
        return call(self, {names.get(key, key): value for key, value in arguments.items()})

    parameters = [inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)]
    lines = [_SECTION.sub(r"\1 :", str(function["description"]).strip()) or function["name"]]
    lines += ["", "Args:"] if aliases else []
    annotations: dict[str, Any] = {}
    for name, alias in aliases.items():
        schema = mapping(properties[name])
        annotations[alias], left = _hint(schema)
        default, kind = inspect.Parameter.empty if name in required else None, inspect.Parameter.KEYWORD_ONLY
        parameters.append(inspect.Parameter(alias, kind, default=default, annotation=annotations[alias]))
        lines.append(f"    {alias}: {_described(name, alias, schema, left)}")
    method.__name__ = method.__qualname__ = function["name"]
    method.__doc__ = "\n".join(lines)
    method.__annotations__ = annotations
    method.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # functions take it
    return method


def _described(name: str, alias: str, schema: dict[str, Any], left: dict[str, Any]) -> str:
    """A parameter's description in one line, never empty, with what its type hint leaves out."""
    words = " ".join(str(schema.get("description") or "").split())
    if alias != name or not words:
        words = f"{words} ({name})" if words else name
    if left:
        words += " " + json.dumps(left, ensure_ascii=False, separators=(",", ":"))
    # Choices at the end are read as an enumeration.
    return _SECTION.sub(r"\1 :", words) + ("." if re.search(r"\(choices:.*\)$", words, re.IGNORECASE) else "")


def _hint(schema: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """A type hint, and what of the schema it does not say."""
    kind, values, items = schema.get("type"), schema.get("enum"), schema.get("items")
    hint: Any = {"array": list, "object": dict}.get(str(kind), Any)
    said = set[str]() if hint is Any else {"type"}
    plain = isinstance(values, list) and all(type(value) in _KINDS for value in values)
    if plain and values and len({(type(value), value) for value in values}) == len(values):
        kinds = list(dict.fromkeys(_KINDS[type(value)] for value in values))
        said = {"enum", "type"} if kind == (kinds[0] if len(kinds) == 1 else kinds) else {"enum"}
        hint = Literal[tuple(values)]
    elif isinstance(kind, str) and kind in _PLAIN:
        hint, said = _PLAIN[kind], {"type"}
    elif isinstance(kind, list) and kind == sorted(kind) and all(each in _PLAIN for each in kind):
        hint, said = reduce(or_, (_PLAIN[each] for each in kind)), {"type"}
    elif kind == "array" and isinstance(items, dict) and items and "description" not in items:
        inner, left = _hint(items)
        hint, said = list[inner], {"type"} if left else {"type", "items"}
    return hint, {key: value for key, value in schema.items() if key not in said and key != "description"}
