"""An OpenAPI document as plain JSON values, however it was written; what is wrong with it; its references followed."""

import json
import math
import re
from typing import Any
from urllib.parse import unquote

import yaml

from ..errors import ToolAlpacaError
from ..schema import Api
from .kept import kept_copy
from .swagger2 import to_openapi3

MAX_DEPTH = 64
"""How deep a document, or a schema with its references followed, may be nested; real ones stay below 30."""

MAX_NODES = 20_000
"""How many values one resolved node may hold: references that fan out grow a small document exponentially."""


MAX_VALUES = 5_000_000
"""How many values a whole document may hold once its YAML aliases are written out: a few lines of them grow without end."""


CACHED_FROM = 200_000
"""Documents of more characters than this are kept parsed."""


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
    """YAML 1.2: the C loader where there is one, which is ten times as fast."""


# Only what JSON has: a bare `NO` stays text, as do a date and `12:30`.
_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("null", r"^(null|~|)$", ["n", "~", ""]),
    ("bool", r"^(true|false)$", ["t", "f"]),
    ("int", r"^-?(0|[1-9][0-9]*)$", list("-0123456789")),
    ("float", r"^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?$", list("-0123456789")),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), _first)


def document_of(api: Api) -> dict[str, Any]:
    """The OpenAPI document of an API, to call it by.

    Args:
        api ([`Api`]):
            The API. A document that is not JSON is kept there as its text, and may be YAML.

    Returns:
        `dict`: The document; empty where it can not be loaded.

    Example:

    ```python
    >>> document_of(Api("train/cats", "Cats", documentation={"text": "paths: {}"}))
    {'paths': {}}
    ```
    """
    source = api.documentation
    try:
        return load_document(source["text"] if set(source) == {"text"} else source)
    except ToolAlpacaError:
        return {}


def load_document(source: str | dict[str, Any]) -> dict[str, Any]:
    """Load an OpenAPI document. A document that is not valid OpenAPI still loads: see [`violations`].

    Args:
        source (`str` or `dict`):
            JSON or YAML text, or the parsed document.

    Returns:
        `dict`: A copy made of JSON values only, with string keys. Swagger 2.0 is converted to OpenAPI 3.0; what cannot
        be converted is named under `x-not-converted`.

    Raises:
        [`ToolAlpacaError`]: The text is neither JSON nor YAML, is not a mapping, or is nested too deep.

    Example:

    ```python
    >>> load_document("openapi: 3.0.0\\npaths: {}")
    {'openapi': '3.0.0', 'paths': {}}
    ```
    """
    if isinstance(source, Document):
        return source
    if isinstance(source, str) and len(source) > CACHED_FROM:
        return Document(kept_copy(source, lambda: to_openapi3(original(source))))
    return Document(to_openapi3(original(source)))


def original(source: str | dict[str, Any]) -> dict[str, Any]:
    """As [`load_document`], with a Swagger 2.0 document left as it is."""
    if isinstance(source, str):
        source = _parse(source)
    if not isinstance(source, dict):
        raise ToolAlpacaError(
            f"the OpenAPI document is a {type(source).__name__}, not a mapping; pass an object with `paths`"
        )
    return _plain(source, 0, [MAX_VALUES])


class Document(dict):
    """A document that [`load_document`] has made, which need not be copied again; with what was converted of it."""

    def __init__(self, *values: Any) -> None:
        super().__init__(*values)
        self.converted: dict[bool, Any] = {}


def _parse(text: str) -> Any:
    try:
        return json.loads(text)
    except RecursionError:
        raise ToolAlpacaError("the OpenAPI document is nested too deep; flatten it") from None
    except ValueError:
        pass
    try:
        return yaml.load(text, Loader=_Loader)  # a subclass of SafeLoader: it builds no Python objects
    # ValueError and its like come from scalars with an explicit tag, such as `!!int x`.
    except (yaml.YAMLError, ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ToolAlpacaError(f"the OpenAPI document is neither JSON nor YAML ({reason}); correct its text") from None


def _plain(value: Any, depth: int, left: list[int]) -> Any:
    left[0] -= 1
    if left[0] < 0:
        raise ToolAlpacaError(f"the OpenAPI document holds more than {MAX_VALUES:,} values; cut down its aliases")
    if depth > MAX_DEPTH:
        raise ToolAlpacaError(f"the OpenAPI document is nested more than {MAX_DEPTH} levels deep; flatten it")
    if isinstance(value, dict):
        return {_text(key): _plain(item, depth + 1, left) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, depth + 1, left) for item in value]
    if value is None or isinstance(value, bool):
        return value
    # Integers beyond 64 bits, infinity and NaN do not survive Parquet's and other languages' JSON.
    if (isinstance(value, int) and -(2**63) <= value < 2**63) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return _text(value)


def _text(value: Any) -> str:
    # Python refuses to write integers of thousands of digits in decimal.
    words = hex(value) if isinstance(value, int) and abs(value) >= 2**63 else str(value)
    return words.encode("utf-8", "replace").decode("utf-8")  # half a surrogate pair has no UTF-8


def lookup(document: dict[str, Any], ref: Any) -> Any:
    """The value that a local reference (`#/components/schemas/Cat`) points at, or `None` where it leads nowhere."""
    if not isinstance(ref, str) or not ref.startswith("#/"):
        return None
    value: Any = document
    for part in ref[2:].split("/"):
        key = unquote(part).replace("~1", "/").replace("~0", "~")
        if isinstance(value, dict) and key in value:
            value = value[key]
        elif isinstance(value, list) and key.isdecimal() and len(key) < 9 and int(key) < len(value):
            value = value[int(key)]
        else:
            return None
    return value


def hidden_names(document: dict[str, Any], schema: Any, flag: str, seen: tuple[str, ...] = ()) -> frozenset[str]:
    """Names of an object's properties that bear a flag, `readOnly` or `writeOnly`, whichever part of it says so."""
    found: set[str] = set()
    if not isinstance(schema, dict) or not flag or len(seen) > MAX_DEPTH:
        return frozenset()
    if isinstance(schema.get("$ref"), str) and schema["$ref"] not in seen:
        found |= hidden_names(document, lookup(document, schema["$ref"]), flag, (*seen, schema["$ref"]))
    properties = schema.get("properties")
    for name, inner in properties.items() if isinstance(properties, dict) else ():
        if _flagged(document, inner, flag, 0):
            found.add(name)
    for member in schema["allOf"] if isinstance(schema.get("allOf"), list) else ():
        found |= hidden_names(document, member, flag, (*seen, ""))
    return frozenset(found)


def _flagged(document: dict[str, Any], schema: Any, flag: str, depth: int) -> bool:
    if not isinstance(schema, dict) or depth > 8:
        return False
    members = schema.get("allOf") if isinstance(schema.get("allOf"), list) else ()
    if schema.get(flag) is True or any(_flagged(document, member, flag, depth + 1) for member in members):
        return True
    return "$ref" in schema and _flagged(document, lookup(document, schema["$ref"]), flag, depth + 1)


def tagged(document: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
    """A schema with a `discriminator`, each of its alternatives bound to the tags that stand for it."""
    discriminator = node.get("discriminator")
    name = discriminator.get("propertyName") if isinstance(discriminator, dict) else None
    if not isinstance(name, str):
        return node
    mapping = discriminator.get("mapping")
    mapping = mapping if isinstance(mapping, dict) else {}
    found = {key: value for key, value in node.items() if key != "discriminator"}
    for key in ("oneOf", "anyOf"):
        members = node.get(key)
        if not isinstance(members, list):
            continue
        found[key] = []
        for member in members:
            ref = member.get("$ref") if isinstance(member, dict) else None
            tags = [tag for tag, to in mapping.items() if to == ref or f"#/components/schemas/{to}" == ref]
            if isinstance(ref, str):
                tags = tags or [ref.rsplit("/", 1)[-1]]
                # What the alternative says itself stands; of several values of its own, those that stand for it.
                own = _values(document, _property(document, member, name, 0), 0)
                if own is not None:
                    tags = [tag for tag in tags if tag in own] or own
                tag = {"type": "object", "required": [name], "properties": {name: {"enum": tags}}}
                member = {"allOf": [member, tag]}
            found[key].append(member)
    if not any(isinstance(node.get(key), list) for key in ("oneOf", "anyOf")) and mapping:
        properties = found.get("properties") if isinstance(found.get("properties"), dict) else {}
        own = properties.get(name)
        own = own if isinstance(own, dict) else {}
        if "$ref" not in own and "enum" not in own and "const" not in own:
            found["properties"] = properties | {name: own | {"enum": list(mapping)}}
    return found


def _property(document: dict[str, Any], schema: Any, name: str, depth: int) -> Any:
    """The schema of a property of an object, found through references and `allOf`; the one that names values first."""
    if not isinstance(schema, dict) or depth > 8:
        return None
    if "$ref" in schema:
        return _property(document, lookup(document, schema["$ref"]), name, depth + 1)
    properties = schema.get("properties")
    found = [properties.get(name)] if isinstance(properties, dict) else []
    for member in schema["allOf"] if isinstance(schema.get("allOf"), list) else ():
        found.append(_property(document, member, name, depth + 1))
    found = [own for own in found if isinstance(own, dict)]
    return next((own for own in found if "enum" in own or "const" in own), found[0] if found else None)


def _values(document: dict[str, Any], schema: Any, depth: int) -> list[Any] | None:
    """The values that a schema names, itself or through what it refers to and its alternatives; `None` for any value."""
    if not isinstance(schema, dict) or depth > 8:
        return None
    if "const" in schema:
        return [schema["const"]]
    if isinstance(schema.get("enum"), list):
        return [value for value in schema["enum"] if value is not None]
    if "$ref" in schema:
        return _values(document, lookup(document, schema["$ref"]), depth + 1)
    for key in ("allOf", "anyOf", "oneOf"):
        members = schema[key] if isinstance(schema.get(key), list) else []
        found = [values for member in members if (values := _values(document, member, depth + 1)) is not None]
        if found:
            return [value for values in found for value in values]
    return None


def deref(document: dict[str, Any], node: Any) -> dict[str, Any]:
    """What a node refers to, itself where it does not; the references inside it stay. An empty one for no mapping."""
    for _ in range(MAX_DEPTH):
        if not isinstance(node, dict):
            return {}
        if not isinstance(node.get("$ref"), str):
            return node
        found = lookup(document, node["$ref"])
        beside = {key: node[key] for key in ("description", "summary") if key in node}
        node = found | beside if isinstance(found, dict) else {}
    return {}


def resolve(document: dict[str, Any], node: Any, hide: str = "") -> Any:
    """Replace every `$ref` below a node by what it refers to.

    A reference that leads back into itself is cut where it would repeat, with a description that names it; with `hide`,
    for what is sent, what is left is what such a value needs, and allows no other value than the whole schema does. So is
    everything beyond `MAX_DEPTH` levels or `MAX_NODES` values. A reference that leads nowhere, or out of the document,
    becomes a description, too. Descriptions beside a `$ref` are kept.

    Args:
        document (`dict`):
            The document that references are looked up in.
        node (`Any`):
            A part of it.
        hide (`str`, *optional*):
            `readOnly` or `writeOnly`: properties with this flag are left out, of `required` too.

    Returns:
        `Any`: A copy of `node` without references.

    Example:

    ```python
    >>> document = {"components": {"schemas": {"Cat": {"type": "object", "properties": {"name": {"type": "string"}}}}}}
    >>> resolve(document, {"$ref": "#/components/schemas/Cat"})
    {'type': 'object', 'properties': {'name': {'type': 'string'}}}
    ```
    """
    left = MAX_NODES
    modern = str(document.get("openapi", "")).startswith("3.1")

    def follow(value: Any, open_refs: tuple[str, ...], depth: int, hidden: frozenset[str]) -> Any:
        nonlocal left
        left -= 1
        if isinstance(value, dict):
            if depth > MAX_DEPTH or left < 0:
                return {}
            ref = value.get("$ref")
            if isinstance(ref, str):
                target = lookup(document, ref)
                beside = {"description": value["description"]} if isinstance(value.get("description"), str) else {}
                if hide and ref in open_refs and isinstance(target, dict):
                    return _last_level(document, target, hide, 0) | beside
                if ref in open_refs or target is None:
                    name = ref.rsplit("/", 1)[-1]
                    return {"description": f"Another {name}." if target is not None else f"{name}."} | beside
                target = follow(target, (*open_refs, ref), depth + 1, hidden)
                if modern and any(key in value for key in _BESIDE) and isinstance(target, dict):
                    rest = {key: item for key, item in value.items() if key != "$ref"}
                    return {"allOf": [target, follow(rest, open_refs, depth + 1, hidden)]}
                return target | beside if isinstance(target, dict) else target
            if hide:
                value = tagged(document, value)
                hidden |= hidden_names(document, value, hide)
            found = {}
            for key, item in value.items():
                if hide and hidden and key == "properties" and isinstance(item, dict):
                    item = {name: inner for name, inner in item.items() if name not in hidden}
                elif hidden and key == "required" and isinstance(item, list):
                    item = [name for name in item if not isinstance(name, str) or name not in hidden]
                found[key] = follow(item, open_refs, depth + 1, hidden if key in _SAME else frozenset())
            return found
        if isinstance(value, list):
            return (
                [] if depth > MAX_DEPTH or left < 0 else [follow(item, open_refs, depth + 1, hidden) for item in value]
            )
        return value

    return follow(node, (), 0, frozenset())


def _last_level(document: dict[str, Any], node: Any, hide: str, depth: int) -> Any:
    """A schema that leads back into itself, without what is optional and refers to others."""
    if not isinstance(node, dict) or depth > 8:
        return {}
    if isinstance(node.get("$ref"), str):
        return _last_level(document, lookup(document, node["$ref"]), hide, depth + 1)
    node = tagged(document, node)
    hidden = hidden_names(document, node, hide)
    found = {key: value for key, value in node.items() if key not in (*_SAME, "properties", "items", "not")}
    required = (
        [name for name in node["required"] if isinstance(name, str) and name not in hidden]
        if isinstance(node.get("required"), list)
        else []
    )
    if "required" in found:
        found["required"] = required
    if isinstance(node.get("properties"), dict):
        found["properties"] = {
            name: _last_level(document, inner, hide, depth + 1)
            for name, inner in node["properties"].items()
            if name not in hidden and (name in required or not _refers(inner))
        }
    if isinstance(found.get("additionalProperties"), dict) and _refers(found["additionalProperties"]):
        found["additionalProperties"] = False
    if "items" in node:
        found |= {"items": {}, "maxItems": 0} if _refers(node["items"]) else {"items": node["items"]}
    for key in _SAME:
        members = node[key] if isinstance(node.get(key), list) else []
        ending = [member for member in members if not _refers(member)]
        members = members if key == "allOf" or not ending else ending
        if members:
            found[key] = [_last_level(document, member, hide, depth + 1) for member in members]
    return found


def _refers(value: Any) -> bool:
    """Whether a part of a document holds a reference."""
    if isinstance(value, list):
        return any(map(_refers, value))
    return isinstance(value, dict) and ("$ref" in value or any(map(_refers, value.values())))


_SAME = ("allOf", "anyOf", "oneOf")
_BESIDE = ("properties", "required", "type", "allOf", "anyOf", "oneOf", "items", "enum", "additionalProperties")
_BESIDE += ("minimum", "maximum", "minLength", "maxLength", "pattern", "const", "minItems", "maxItems")
