"""An operation as a tool: the JSON schema that chat templates show to a model."""

import json
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import accumulate, chain
from typing import Any

from .coercion import cut, kinds_of, merge_schemas, part_of, target_of, types_of
from .document import MAX_DEPTH, is_modern, lookup, mapping, text
from .operations import Operation, RequestBody, safe_names
from .schema import BOUNDS, SIZES, map_subschemas, references, subschemas, walk

MAX_DESCRIPTION = 1024  # characters that every provider takes
MAX_NODES = 20_000  # values of one resolved node: references that fan out grow a small document exponentially
# References of one object: alternatives that refer to each other can be followed in any order.
MAX_FOLLOWED = 5_000
MAX_SIZE = 20_000  # characters of JSON of one tool's parameters
# Keywords with plain values that every provider accepts.
SHOWN = ("default", "const", *chain.from_iterable(BOUNDS), "multipleOf", "pattern", "uniqueItems", *SIZES[:-1])


def tool_schema(operation: Operation, size: int = MAX_SIZE) -> dict[str, Any]:
    """Write an operation as a tool, in the layout of chat templates and OpenAI-compatible servers.

    Parameters and body properties are merged into one object, as in published action inputs; [`tool_names`] resolves
    name clashes. A body that is not an object with named properties becomes the property `body`. The result is always
    valid JSON Schema, of at most `size` characters: the most deeply nested parts go first.

    Example:

    ```python
    >>> from toolalpaca_hf.openapi import functions_of
    >>> limit = {"name": "limit", "in": "query", "schema": {"type": "integer", "default": 10}}
    >>> [operation] = functions_of({"paths": {"/cats": {"get": {"summary": "All cats", "parameters": [limit]}}}})
    >>> tool_schema(operation)["function"]["parameters"]
    {'type': 'object', 'properties': {'limit': {'type': 'integer', 'default': 10}}}
    ```
    """
    properties: dict[str, Any] = {}
    required: list[str] = []
    names, left = tool_names(operation), [MAX_NODES]
    for parameter in operation.parameters:
        name = names.parameters[parameter.place, parameter.name]
        described = text(parameter.declared.get("description"))
        schema = resolve(parameter.schema, parameter.schema, True, left)
        properties[name] = _clean(schema | ({"description": described} if described else {}))
        required += [name] if parameter.required else []
    body = operation.body
    if body is not None and names.body:
        fields, needed, _ = body_fields(body)
        for field, schema in fields.items():
            name, own = names.body[field], _clean(resolve(body.schema, schema, True, left))
            # One argument for both query and body must satisfy both.
            properties[name] = _clean({"allOf": [properties[name], own]}) if name in properties else own
        required += [names.body[field] for field in needed]
    elif body is not None and (body.schema or body.description or body.required):
        whole = resolve(body.schema, body.schema, True, left)
        properties[names.whole] = _clean({"description": body.description} | whole)
        required += [names.whole] if body.required else []
    parameters: dict[str, Any] = {"type": "object", "properties": properties}
    parameters |= {"required": list(dict.fromkeys(required))} if required else {}
    # Some templates reject a tool without a description.
    description = operation.description or f"{operation.method.upper()} {operation.path}"
    name = operation.tool_name or safe_names([operation.name], 64, "_-")[operation.name]
    function = {"name": name, "description": cut(description, MAX_DESCRIPTION)}
    return {"type": "function", "function": function | {"parameters": _bounded(names.renamed(parameters), size)}}


def arguments_of(operation: Operation) -> list[tuple[str, bool, str]]:
    """Name, required flag and types of a tool's arguments, without making its schema: fast for thousands of tools."""
    names, body = tool_names(operation), operation.body
    found = {names.parameters[each.place, each.name]: (each.required, each.kinds) for each in operation.parameters}
    if body is not None and names.body:
        fields, needed, _ = body_fields(body)
        for field, schema in fields.items():
            required, kinds = found.get(names.body[field], (False, None))
            found[names.body[field]] = required or field in needed, kinds or kinds_of(part_of(body.schema, schema))
    elif body is not None and (body.schema or body.description or body.required):
        found[names.whole] = body.required, kinds_of(body.schema)
    words = {name: " or ".join(kind for kind in kinds if kind != "null") for name, (_, kinds) in found.items()}
    return [(name, required, words[name] or "any") for name, (required, _) in found.items()]


@dataclass(frozen=True)
class ToolNames:
    """Maps between the names of a tool's arguments and the names in the document."""

    operation: Operation = field(repr=False)
    parameters: dict[tuple[str, str], str]  # by place and name
    body: dict[str, str]
    whole: str  # of a body that has no fields

    @cached_property
    def safe(self) -> dict[str, str]:
        """The document's names, also of what is inside arguments, by those that providers accept instead."""
        holders = [*([self.operation.body] if self.operation.body else ()), *self.operation.parameters]
        nodes = [node for holder in holders for node in walk(holder.schema, partial(target_of, holder.schema))]
        within = [name for node in nodes for name in (*node.get("properties", ()), *node.get("required", ()))]
        names = list(dict.fromkeys([*self.parameters.values(), *self.body.values(), *within]))
        return {made: name for name, made in safe_names(names, 64, "_.-").items() if made != name}

    def restored(self, value: Any) -> Any:
        """Rename arguments from what the model sees to the document's names."""
        if isinstance(value, dict) and self.safe:
            return {self.safe.get(key, key): self.restored(item) for key, item in value.items()}
        return [self.restored(item) for item in value] if isinstance(value, list) and self.safe else value

    def renamed(self, schema: Any) -> Any:
        """Rename a schema's properties to names that providers accept."""
        if not self.safe or not isinstance(schema, dict):
            return schema
        seen_as, found = {name: safe for safe, name in self.safe.items()}, map_subschemas(schema, self.renamed)
        if "properties" in found:
            found["properties"] = {seen_as.get(name, name): item for name, item in found["properties"].items()}
        if "required" in found:
            found["required"] = [seen_as.get(name, name) for name in found["required"]]
        return found

    def body_arguments(self, arguments: dict[str, Any], required: list[str]) -> dict[str, Any]:
        """The arguments for the body, by the document's names."""
        # One value serves a parameter and a property of one name if the one is in the path, or the other is required.
        own = {argument: name for name, argument in self.body.items() if argument != name}
        renamed = {own[key]: value for key, value in arguments.items() if key in own}
        taken = set(own.values()) - set(required) - {name for place, name in self.parameters if place == "path"}
        return {key: value for key, value in arguments.items() if key not in own and key not in taken} | renamed


def tool_names(operation: Operation) -> ToolNames:
    """The names of a tool's arguments; where the document's clash, all but one get a prefix (`body_id`)."""
    if operation.made:
        return operation.made[0]
    order = ("path", "query", "header", "cookie")
    places = [(parameter.place, parameter.name) for parameter in operation.parameters]
    body = body_fields(operation.body)[0] if operation.body else {}
    every = {name for _, name in places} | set(body)
    taken: set[str] = set()

    def unique(name: str, place: str) -> str:
        made = name if name not in taken else f"{place or 'other'}_{name}"
        while made in taken or (made != name and made in every):
            made += "_"
        taken.add(made)
        return made

    places.sort(key=lambda at: order.index(at[0]) if at[0] in order else 4)
    parameters = {(place, name): unique(name, place) for place, name in dict.fromkeys(places)}
    query = {parameter.name: parameter for parameter in operation.parameters if parameter.place == "query"}
    # A body whose properties are all declared in the query, too, is one set of arguments written twice.
    same = (name in query and query[name].schema.get("type") == mapping(of).get("type") for name, of in body.items())
    twice = len(body) > 1 and all(same)
    # So is a property that has no schema of its own.
    of_body = {name: name if twice or (name in taken and not body[name]) else unique(name, "body") for name in body}
    whole = "body" if "body" not in taken else unique("request_body", "body")
    operation.made.append(ToolNames(operation, parameters, of_body, whole))
    return operation.made[0]


def body_fields(body: RequestBody) -> tuple[dict[str, Any], list[str], bool]:
    """A body's properties in any of its alternatives, those always required, and whether others are allowed."""
    flat = flat_schema(body.schema, body.schema, frozenset())
    needed, properties = flat.get("required", []), flat.get("properties", {})
    properties = {name: {} if schema is True else schema for name, schema in properties.items()}
    properties |= {name: {} for name in needed if name not in properties}
    return properties, needed, flat.get("additionalProperties", False) is not False


def flat_schema(
    root: dict[str, Any], schema: Any, seen: frozenset[str], either: bool = True, left: list[int] | None = None
) -> dict[str, Any]:
    """An object's schema with references, `allOf` members and, if `either`, the alternatives' properties merged in."""
    schema, left = mapping(schema), [MAX_FOLLOWED] if left is None else left
    merged = {key: value for key, value in schema.items() if key not in ("$ref", "allOf", "$defs")}
    members = list(schema.get("allOf", ()))
    if "$ref" in schema and schema["$ref"] not in seen and len(seen) < MAX_DEPTH and left[0] > 0:
        seen, left[0] = seen | {schema["$ref"]}, left[0] - 1
        members.insert(0, target_of(root, schema["$ref"]))
    for member in members:
        merged = merge_schemas(merged, flat_schema(root, member, seen, either, left))
    for key in ("anyOf", "oneOf") if either else ():
        either_of = [member for member in schema.get(key, ()) if mapping(member).get("type") != "null"]
        members = [flat_schema(root, member, seen, True, left) for member in either_of]
        properties: dict[str, Any] = {}
        for member in members:
            for name, inner in member.get("properties", {}).items():
                properties[name] = _either(root, properties[name], inner) if name in properties else inner
        if properties:
            merged["properties"] = properties | merged.get("properties", {})
        # What only an alternative requires is not always required.
        wanted = [member.get("required", ()) for member in members]
        if common := [name for name in next(iter(wanted), ()) if all(name in names for names in wanted)]:
            merged["required"] = list(dict.fromkeys([*merged.get("required", ()), *common]))
    return merged


def _either(root: dict[str, Any], first: Any, second: Any) -> Any:
    """A schema of what either of two allows: one list of values if both have one."""
    if first == second:
        return first
    nodes = [flat_schema(root, schema, frozenset(), either=False) for schema in (first, second)]
    values = [[node["const"]] if "const" in node else node.get("enum") for node in nodes]
    if values[0] is not None and values[1] is not None:
        rest = {key: value for key, value in nodes[0].items() if key not in ("const", "enum", "default", "x-tag")}
        return rest | {"enum": [*values[0], *[value for value in values[1] if value not in values[0]]]}
    members = first["anyOf"] if isinstance(first, dict) and list(first) == ["anyOf"] else [first]
    return {"anyOf": [*members, second]}


def _bounded(parameters: dict[str, Any], size: int) -> dict[str, Any]:
    """Shrink parameters to a size in JSON characters: the most deeply nested first, required ones last."""
    for depth in (12, 8, 6, 4, 3, 2, 1):
        if len(json.dumps(parameters, ensure_ascii=False)) <= size:
            return parameters
        parameters = _shallow(parameters, depth)
    required, properties = parameters.get("required", ()), parameters["properties"]
    sizes = {name: len(json.dumps({name: schema}, ensure_ascii=False)) for name, schema in properties.items()}
    optional = [name for name in properties if name not in required]
    left = size - len(json.dumps(parameters, ensure_ascii=False)) + sum(sizes[name] for name in optional)
    shown = [name for name, end in zip(optional, accumulate(sizes[n] for n in optional), strict=True) if end <= left]
    kept = {*required, *shown}
    return parameters | {"properties": {name: schema for name, schema in properties.items() if name in kept}}


def _shallow(node: Any, depth: int) -> Any:
    if not isinstance(node, dict):
        return node
    if depth > 0:
        return map_subschemas(node, lambda part: _shallow(part, depth - 1))
    found = {key: item for key, item in node.items() if key != "required" and not any(subschemas({key: item}))}
    return found | ({"items": {}} if found.get("type") == "array" else {})


def _clean(node: Any) -> dict[str, Any]:
    """A schema without references, reduced to keywords that every provider accepts."""
    node = flat_schema({}, node, frozenset(), either=False)
    members = [mapping(member) for key in ("anyOf", "oneOf") for member in node.pop(key, ())]
    choices, kinds = [_clean(member) for member in members if member.get("type") != "null"], types_of(node)
    nullable = node.get("nullable") is True or len(choices) < len(members) or "null" in kinds
    if len(choices) == 1:
        return choices[0] | _clean(node | {"nullable": nullable})
    kinds = [kind for kind in kinds if kind != "null"]
    kinds = kinds or [kind for kind, key in (("object", "properties"), ("array", "items")) if key in node][:1]
    schema: dict[str, Any] = {"type": kinds[0] if len(kinds) == 1 else kinds} if kinds else {}
    schema |= {"description": cut(words, MAX_DESCRIPTION)} if (words := text(node.get("description"))) else {}
    schema |= {"format": form} if (form := node.get("format") or node.get("x-format")) else {}
    if "enum" in node:
        nullable |= not kinds and None in node["enum"]
        schema["enum"] = ([value for value in node["enum"] if value is not None] if nullable else []) or node["enum"]
    schema |= {"default": node["x-tag"]} if "x-tag" in node else {}
    schema |= {key: node[key] for key in SHOWN if key in node and (key != "uniqueItems" or "array" in kinds)}
    if "array" in kinds:
        items, first = node.get("items"), node.get("prefixItems", [])
        either = [part for place, part in enumerate(first) if part not in first[:place]]
        # Providers know no places in a list.
        schema["items"] = _clean({"anyOf": [*either, *([items] if items else [])]} if first else items)
        schema |= {"maxItems": min(len(first), schema.get("maxItems", len(first)))} if items is False else {}
    if "object" in kinds:
        needed = node.get("required", [])
        properties = mapping(node.get("properties"))
        properties = properties | {name: {} for name in needed if name not in properties}
        schema |= {"properties": {name: _clean(part) for name, part in properties.items()}} if properties else {}
        schema |= {"required": needed} if needed else {}
        extra, patterns = node.get("additionalProperties"), node.get("patternProperties")
        if patterns and extra is False:  # providers know no patterns of names
            extra = {"anyOf": [*patterns.values()]}
        if isinstance(extra, bool | dict):
            schema["additionalProperties"] = _clean(extra) if isinstance(extra, dict) else extra
    return schema | ({"anyOf": choices} if choices else {}) | ({"nullable": True} if nullable else {})


def resolve(root: dict[str, Any], node: Any, ending: bool = False, left: list[int] | None = None) -> Any:
    """Inline every `$ref` below a node of a document or of a schema from [`to_json_schema`].

    Recursion, and anything beyond `MAX_DEPTH` levels or `MAX_NODES` values, is replaced by a description. With
    `ending`, cut schemas allow only values that the original allows; `left` is a budget that several calls share.
    """
    left = [MAX_NODES] if left is None else left
    modern = is_modern(root)

    def follow(value: Any, open_refs: tuple[str, ...], depth: int) -> Any:
        left[0] -= 1
        if not isinstance(value, dict | list):
            return value
        if depth > MAX_DEPTH or left[0] < 0:
            return type(value)()
        if isinstance(value, list):
            return [follow(item, open_refs, depth + 1) for item in value]
        ref = value.get("$ref")
        if not isinstance(ref, str):
            return {key: follow(item, open_refs, depth + 1) for key, item in value.items() if key != "$defs"}
        target = lookup(root, ref)
        beside = {"description": value["description"]} if isinstance(value.get("description"), str) else {}
        if ending and ref in open_refs and isinstance(target, dict):
            return _last_level(root, target, 0) | beside
        if ref in open_refs or target is None:
            name = ref.rsplit("/", 1)[-1]
            return {"description": f"Another {name}." if target is not None else f"{name}."} | beside
        target = follow(target, (*open_refs, ref), depth + 1)
        if modern and isinstance(target, dict) and value.keys() - {"$ref", "summary", "description"}:
            rest = {key: item for key, item in value.items() if key != "$ref"}
            return {"allOf": [target, follow(rest, open_refs, depth + 1)]}
        return target | beside if isinstance(target, dict) else target

    return follow(node, (), 0)


def _last_level(root: dict[str, Any], schema: Any, depth: int) -> dict[str, Any]:
    """A recursive schema without its optional references."""
    node = flat_schema(root, schema, frozenset(), either=False) if depth < 8 else {}
    if "properties" in node:
        needed, fields = node.get("required", ()), node["properties"].items()
        kept = {name: inner for name, inner in fields if name in needed or not references(inner)}
        node["properties"] = {name: _last_level(root, inner, depth + 1) for name, inner in kept.items()}
    if references(node.get("additionalProperties")):
        node["additionalProperties"] = False
    if references(node.get("items")):
        node |= {"items": {}, "maxItems": 0}
    for key in {"anyOf", "oneOf"} & node.keys():
        ending = [member for member in node[key] if not references(member)]
        node[key] = [_last_level(root, member, depth + 1) for member in ending or node[key]]
    return {key: value for key, value in node.items() if key != "not"}
