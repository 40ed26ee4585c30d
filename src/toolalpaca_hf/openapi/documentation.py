"""Describes an OpenAPI document in words, in the style of the published corpus."""

import json
import math
from dataclasses import dataclass
from typing import Any

from ..errors import InputError
from .document import MAX_DEPTH, deref, listed, load_document, lookup, mapping, text
from .operations import Operation, functions_of, media_schema
from .schema import hidden_names, parts_of_schema, references
from .tools import tool_names

COMPONENTS = "components"  # the key of `Function_Description` that holds the shared output schemas
LONGEST = 8_000  # characters of the description of one function; the published ones have up to 1,107


@dataclass(frozen=True)
class Documentation:
    """The published descriptions of an API."""

    nl_documentation: str  # all functions and shared output schemas as one text
    function_description: dict[str, str]  # a text per function, and `components` for shared output schemas
    function_projection: dict[str, list[str]]  # path and method by function name


def describe(document: dict[str, Any]) -> Documentation:
    """Describe every operation of a document, valid or not, in words.

    Example:

    ```python
    >>> document = {"paths": {"/cats": {"get": {"operationId": "listCats", "summary": "All cats"}}}}
    >>> describe(document).nl_documentation.splitlines()[:2]
    ['listCats: All cats', 'Parameters: {}']
    ```
    """
    document = load_document(document)
    operations = functions_of(document)
    texts = {operation.name: _function(operation) for operation in operations}
    projection = {operation.name: [operation.path, operation.method] for operation in operations}
    schemas = mapping(mapping(document.get("components")).get("schemas"))
    # A shared schema that refers to no other is inlined where another uses it, unless it has no structure.
    plain = {name: _structure(schema, {}) for name, schema in schemas.items() if not references(schema)}
    shared = "".join(f"\n#{name}: {_structure(schema, plain)}" for name, schema in schemas.items())
    shared = f"The detailed output format for the tools is outlined below:{shared}" if shared else ""
    whole = "\n".join(f"{name}: {words}" for name, words in texts.items()) + (f"\n\n{shared}\n" if shared else "\n")
    descriptions = {name: words.strip() for name, words in texts.items()} | {COMPONENTS: shared}
    return Documentation(whole, descriptions, projection)


def describe_raw(raw: dict[str, Any]) -> dict[str, Any]:
    """Recreate a raw API's descriptions from its `Documentation`; an [`InputError`] if that is no OpenAPI document."""
    try:
        made = describe(load_document(raw.get("Documentation") or ""))
    except InputError as error:
        name = raw.get("Name") or "an API without a name"
        raise InputError(f"the Documentation of {name}: {error.problem}", fix=error.fix) from None
    words = {"NLDocumentation": made.nl_documentation, "Function_Description": made.function_description}
    return raw | words | {"Function_Projection": made.function_projection}


def _function(operation: Operation) -> str:
    """Describe a function; the most deeply nested parts are dropped first if it gets too long."""
    for depth in (MAX_DEPTH, 4, 2, 1):
        words = _SchemaWords(operation.document, LONGEST)
        described = _laid_out(words, operation, depth)
        if max(len(described), LONGEST - words.left) <= LONGEST:
            return described
    return _laid_out(_SchemaWords(operation.document, math.inf), operation, 0)


def _laid_out(words: "_SchemaWords", operation: Operation, depth: int) -> str:
    document, declared, parameters = operation.document, operation.declared, dict[str, str]()
    listing = [parameter.declared for parameter in operation.parameters]
    holder = deref(document, declared.get("requestBody"))
    body, inside = words.follow(media_schema(holder), ())
    fields, required = _body_fields(document, body)
    whole = not fields and (text(body.get("type")) not in ("", "object") or "items" in body)
    if whole:
        fields, required = {"body": body}, ["body"] if holder.get("required") is True else []
    names = [*(parameter["name"] for parameter in listing), *fields]
    # Names that clash are those that calls take.
    called = tool_names(operation) if len(set(names)) < len(names) else None
    for parameter in listing:
        schema, refs = words.follow(mapping(parameter.get("schema")), ())
        name, needed = parameter["name"], "Required. " if parameter.get("required") is True else ""
        name = called.parameters[text(parameter.get("in")), name] if called else name
        described = words.of(schema | {"description": ""}, depth, refs)
        parameters[name] = f"{needed}{described} {_sentence(parameter.get('description'))}"
    for field, schema in fields.items():
        name = (called.whole if whole else called.body.get(field, field)) if called else field
        parameters[name] = ("Required. " if field in required else "") + words.of(schema, depth, inside)
    responses = mapping(declared.get("responses"))
    status = min(responses, key=lambda code: (code != "200", not code.startswith("2")), default="")
    response = deref(document, responses.get(status))
    kind, media = next(iter(mapping(response.get("content")).items()), ("", {}))
    return (
        f"{operation.description}\n"
        f"Parameters: {json.dumps(parameters)}\n"
        f"Output: {_sentence(response.get('description'))}\n"
        f" - Format: {kind}\n"
        f" - Structure: {_structure(mapping(media).get('schema'), {}, depth + 1)}"
    )


def _body_fields(document: dict[str, Any], body: dict[str, Any]) -> tuple[dict[str, Any], list[Any]]:
    """The properties of a body, also of its `allOf` and its alternatives, and which are always required."""
    parts = list(parts_of_schema(document, body))
    either = [member for part in parts for key in ("anyOf", "oneOf") for member in listed(part.get(key))]
    every = parts + [part for member in either for part in parts_of_schema(document, member)]
    fields: dict[str, Any] = {}
    for name, schema in (field for part in every for field in mapping(part.get("properties")).items()):
        fields.setdefault(name, schema)
    hidden = {name for whole in (body, *either) for name in hidden_names(document, whole, "readOnly")}
    required = [name for part in parts for name in listed(part.get("required"))]
    return {name: schema for name, schema in fields.items() if name not in hidden}, required


def _sentence(value: Any) -> str:
    words = text(value)
    return words if not words or words.endswith(".") else f"{words}."


class _SchemaWords:
    """Describes types and values of parameters and body properties within a budget of characters."""

    def __init__(self, document: dict[str, Any], left: float) -> None:
        self.document, self.left = document, left

    def follow(self, node: Any, refs: tuple[str, ...]) -> tuple[dict[str, Any], tuple[str, ...]]:
        """Follow a schema's reference; one that leads back, or on without end, is named and not followed."""
        node = mapping(node)
        while isinstance(ref := node.get("$ref"), str):
            target, name = lookup(self.document, ref), ref.rsplit("/", 1)[-1]
            beside = {"description": node["description"]} if isinstance(node.get("description"), str) else {}
            if target is None or ref in refs or len(refs) > MAX_DEPTH:
                return {"description": f"Another {name}." if target is not None else f"{name}."} | beside, refs
            node, refs = mapping(target) | beside, (*refs, ref)
        return node, refs

    def of(self, node: Any, depth: int, refs: tuple[str, ...]) -> str:
        if self.left < 0:  # it is described again, with less
            return ""
        node, refs = self.follow(node, refs)
        kind, description = text(node.get("type")), _sentence(node.get("description"))
        self.left -= len(kind) + len(description) + 2
        if kind == "object":
            properties = mapping(node.get("properties")) if depth else {}
            inner = ", ".join(f"{name}: {self.of(value, depth - 1, refs)}" for name, value in properties.items())
            return f"Object{f'{{{inner}}}' if inner else ''}. {description}"
        if kind == "array":
            items, inside = self.follow(node.get("items"), refs)
            item_kind = text(items.get("type"))
            nested = self.of(items, depth, inside) if item_kind in ("object", "array") else item_kind
            return f"Array[{nested}]. {description}"
        values = node.get("enum")
        choice = f"One of: [{', '.join(str(value) for value in values)}]." if isinstance(values, list) else ""
        return " ".join(part for part in (f"{kind}.", description, choice) if part)


def _structure(node: Any, plain: dict[str, str], depth: int = MAX_DEPTH) -> str:
    """An output's structure: `Array[Object{url, source}]`, or `#Name` for a shared schema, described at the end."""
    node = mapping(node)
    if isinstance(node.get("$ref"), str):
        name = node["$ref"].rsplit("/", 1)[-1]
        return plain.get(name) or f"#{name}"
    if node.get("type") == "array":
        items = mapping(node.get("items"))
        return f"Array[{_structure(items, plain, depth) or text(items.get('type'))}]"
    if node.get("type") == "object":
        fields = mapping(node.get("properties")).items() if depth else ()
        shown = [(name, value) for name, value in fields if mapping(value).get("writeOnly") is not True]
        parts = [f"{n}: {inner}" if (inner := _structure(value, plain, depth - 1)) else n for n, value in shown]
        return f"Object{{{', '.join(parts)}}}" if parts else "Object"
    return ""
