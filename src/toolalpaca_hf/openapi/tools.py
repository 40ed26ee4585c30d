"""An operation as a tool: the JSON schema that chat templates show to a model."""

import json
import re
from dataclasses import dataclass
from typing import Any

from .operations import Operation, mapping, media_schema, safe_names, text
from .schemas import is_pattern

TYPES = ("string", "number", "integer", "boolean", "array", "object")
BOUNDS = (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum"))
SIZES = ("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties")

MAX_DESCRIPTION = 1024
"""The longest description that every provider takes, in characters."""

MAX_SIZE = 20_000
"""How long the parameters of one tool may be, in characters of JSON."""


def tool_schema(operation: Operation, size: int = MAX_SIZE) -> dict[str, Any]:
    """Write an operation as a tool, in the layout of chat templates and OpenAI-compatible servers.

    Path, query and header parameters and the properties of the request body are merged into one object, as published
    action inputs lay them out; where two of them share a name, see [`tool_names`]. A body that is not an object with named properties is the property `body`. Whatever is not valid JSON schema in a published
    document is left out, so the result always is.

    Args:
        operation ([`Operation`]):
            An operation, as [`functions_of`] returns it.
        size (`int`, *optional*, defaults to 20,000):
            How long the parameters may be, in characters of JSON; what is nested deepest is left out first.

    Returns:
        `dict`: `{"type": "function", "function": {"name", "description", "parameters"}}`, where `parameters` has
        `required` only if something is. `nullable` marks what may be null, as in tools made by transformers.

    Example:

    ```python
    >>> limit = {"name": "limit", "in": "query", "schema": {"type": "integer", "default": 10}}
    >>> tool_schema(Operation("listCats", "/cats", "get", "All cats", [limit]))["function"]["parameters"]
    {'type': 'object', 'properties': {'limit': {'type': 'integer', 'default': 10}}}
    ```
    """
    properties: dict[str, Any] = {}
    required: list[str] = []
    names = tool_names(operation)
    for parameter in [*operation.parameters, *undeclared(operation)]:
        schema = schema_of(parameter)
        own = {"description": text(parameter.get("description")) or text(schema.get("description"))}
        name = names.parameter(parameter["name"], text(parameter.get("in")))
        properties[name] = clean_schema(schema | own)
        if parameter.get("required") is True or parameter.get("in") == "path":
            required.append(name)

    body = merged_schema(operation.request_body_schema or {}, flat=True)
    named = body_properties(body)
    if named:
        for name, schema in named.items():
            shown, own = names.body[name], clean_schema(schema)
            # One argument for the query and the body is held to both.
            properties[shown] = clean_schema({"allOf": [properties[shown], own]}) if shown in properties else own
        required += [names.body[name] for name in name_list(body.get("required"))]
    elif operation.request_body_schema is not None and (body or operation.request_body_required):
        properties[names.whole] = clean_schema(operation.request_body_schema)
        if operation.request_body_required:
            required.append(names.whole)

    parameters: dict[str, Any] = {"type": "object", "properties": properties}
    if required:
        parameters["required"] = list(dict.fromkeys(required))
    # Some templates take a tool without a description for a mistake.
    description = operation.description or f"{operation.method.upper()} {operation.path}"
    return {
        "type": "function",
        "function": {
            "name": operation.tool_name or safe_names([operation.name], 64, "_-")[operation.name],
            "description": _cut(description),
            "parameters": _bounded(names.renamed(parameters), size),
        },
    }


def schema_of(parameter: dict[str, Any]) -> dict[str, Any]:
    """The schema of a parameter; Swagger 2, which some documents mix in, has the type beside the name."""
    beside = {
        key: value for key, value in parameter.items() if key not in ("required", "name", "in", "schema", "style")
    }
    return mapping(parameter.get("schema") or media_schema(parameter) or beside)


def undeclared(operation: Operation) -> list[dict[str, Any]]:
    """Parameters that the path holds and the document forgets to declare."""
    declared = {parameter["name"] for parameter in operation.parameters if parameter.get("in") == "path"}
    names = [name for name in re.findall(r"\{([^{}/?#]+)\}", operation.path) if name not in declared]
    return [{"name": name, "in": "path", "schema": {"type": "string"}} for name in dict.fromkeys(names)]


def body_properties(body: dict[str, Any]) -> dict[str, Any]:
    """The properties of a body, flat, and those it only requires."""
    properties = mapping(body.get("properties"))
    return properties | {name: {} for name in name_list(body.get("required")) if name not in properties}


@dataclass(frozen=True)
class ToolNames:
    """What the arguments of a tool are called, and what the document calls them.

    Args:
        parameters (`dict[tuple[str, str], str]`): By place and name of a parameter, where another argument has its name.
        body (`dict[str, str]`): Names of the body's properties as arguments.
        whole (`str`): The argument that holds a body without named properties.
        safe (`dict[str, str]`): The document's name for each one that providers do not take as it is.
    """

    parameters: dict[tuple[str, str], str]
    body: dict[str, str]
    whole: str
    safe: dict[str, str]

    def parameter(self, name: str, place: str) -> str:
        """The argument of a parameter."""
        return self.parameters.get((place, name), name)

    def restored(self, value: Any) -> Any:
        """Arguments with the document's names in place of those shown to a model."""
        if not self.safe:
            return value
        if isinstance(value, list):
            return [self.restored(item) for item in value]
        if isinstance(value, dict):
            return {self.safe.get(key, key): self.restored(item) for key, item in value.items()}
        return value

    def renamed(self, schema: Any) -> Any:
        """A schema with names that providers take."""
        if not self.safe:
            return schema
        shown = {name: safe for safe, name in self.safe.items()}

        def rename(node: Any) -> Any:
            if isinstance(node, list):
                return [rename(item) for item in node]
            if not isinstance(node, dict):
                return node
            found = {key: item if key in ("enum", "const", "default") else rename(item) for key, item in node.items()}
            if isinstance(found.get("properties"), dict):
                found["properties"] = {shown.get(name, name): item for name, item in found["properties"].items()}
            if isinstance(found.get("required"), list):
                found["required"] = [shown.get(name, name) for name in found["required"]]
            return found

        return rename(schema)

    def body_arguments(self, arguments: dict[str, Any], required: list[str]) -> dict[str, Any]:
        """Arguments by the names that the body's properties have in the document.

        Where a parameter of the path, or any other of a required property's name, is given and the property's own argument
        is not, one value serves both, as published calls have it.
        """
        own = {shown: name for name, shown in self.body.items() if shown != name}
        renamed = {own[key]: value for key, value in arguments.items() if key in own}
        others = set(own.values()) - set(required) - {name for place, name in self.parameters if place == "path"}
        return {key: value for key, value in arguments.items() if key not in own and key not in others} | renamed


def tool_names(operation: Operation) -> ToolNames:
    """What the arguments of an operation's tool are called: as in the document, unless two of them share a name.

    A path parameter keeps its name before one of the query, of a header, of a cookie and a property of the body; the
    others get their place in front (`query_id`, `body_id`). A body that only repeats the query shares its arguments.
    """
    order = ("path", "query", "header", "cookie", "")
    places = [(text(parameter.get("in")), parameter["name"]) for parameter in operation.parameters]
    places += [("path", parameter["name"]) for parameter in undeclared(operation)]
    body = body_properties(merged_schema(operation.request_body_schema or {}, flat=True))
    every = {name for _, name in places} | set(body)
    taken: set[str] = set()
    parameters: dict[tuple[str, str], str] = {}

    def unique(name: str, place: str) -> str:
        if name not in taken:
            taken.add(name)
            return name
        made = f"{place or 'other'}_{name}"
        while made in taken or made in every:
            made += "_"
        taken.add(made)
        return made

    for place, name in sorted(places, key=lambda entry: order.index(entry[0]) if entry[0] in order else 4):
        if (place, name) not in parameters:
            parameters[place, name] = unique(name, place)
    query = {
        parameter["name"]: schema_of(parameter) for parameter in operation.parameters if parameter.get("in") == "query"
    }
    # A body of several properties that are all declared as the query, too, is one set of arguments written twice.
    twice = len(body) > 1 and all(
        name in query and query[name].get("type") == mapping(schema).get("type") for name, schema in body.items()
    )
    # So is a property that has no schema of its own.
    of_body = {name: name if twice or (name in taken and not body[name]) else unique(name, "body") for name in body}
    whole = "body" if "body" not in taken else unique("request_body", "body")
    inner = _property_names([operation.request_body_schema, *map(schema_of, operation.parameters)])
    shown = list(dict.fromkeys([*parameters.values(), *of_body.values(), *inner]))
    safe = {made: name for name, made in safe_names(shown, 64, "_.-").items() if made != name}
    return ToolNames(parameters, of_body, whole, safe)


def _property_names(node: Any) -> list[str]:
    found: dict[str, None] = {}

    def walk(node: Any) -> None:
        if isinstance(node, list):
            for item in node:
                walk(item)
        elif isinstance(node, dict):
            found.update(dict.fromkeys(mapping(node.get("properties"))))
            found.update(dict.fromkeys(name_list(node.get("required"))))
            for key, item in node.items():
                if key not in ("enum", "const", "default", "example", "examples"):
                    walk(item)

    walk(node)
    return list(found)


def _cut(words: str) -> str:
    return words if len(words) <= MAX_DESCRIPTION else f"{words[: MAX_DESCRIPTION - 3]}..."


def _bounded(parameters: dict[str, Any], size: int) -> dict[str, Any]:
    """Parameters of at most so many characters as JSON: what is nested deepest is left out first, required parts last."""
    for depth in (12, 8, 6, 4, 3, 2, 1):
        if len(json.dumps(parameters, ensure_ascii=False)) <= size:
            return parameters
        parameters = _shallow(parameters, depth)
    required = parameters.get("required", ())
    kept = {name: schema for name, schema in parameters["properties"].items() if name in required}
    left = size - len(json.dumps(parameters | {"properties": kept}, ensure_ascii=False))
    for name, schema in parameters["properties"].items():
        left -= len(json.dumps({name: schema}, ensure_ascii=False)) if name not in kept else 0
        if name not in kept and left >= 0:
            kept[name] = schema
    return parameters | {"properties": {name: kept[name] for name in parameters["properties"] if name in kept}}


def _shallow(node: dict[str, Any], depth: int) -> dict[str, Any]:
    found = dict(node)
    if depth <= 0:
        for key in ("properties", "required", "additionalProperties", "anyOf", "items"):
            found.pop(key, None)
        return found | ({"items": {}} if found.get("type") == "array" else {})
    if "properties" in node:
        found["properties"] = {name: _shallow(item, depth - 1) for name, item in node["properties"].items()}
    for key in ("items", "additionalProperties"):
        if isinstance(node.get(key), dict):
            found[key] = _shallow(node[key], depth - 1)
    if "anyOf" in node:
        found["anyOf"] = [_shallow(member, depth - 1) for member in node["anyOf"]]
    return found


def clean_schema(node: Any) -> dict[str, Any]:
    """What is valid JSON schema, and of use to a model, in a schema of an OpenAPI document."""
    node = merged_schema(mapping(node))
    members = _members(node, "anyOf") + _members(node, "oneOf")
    choices = [clean_schema(member) for member in members if member.get("type") != "null"]
    nullable = node.get("nullable") is True or len(choices) < len(members)
    if len(choices) == 1:
        own = {key: value for key, value in node.items() if key not in ("anyOf", "oneOf")}
        return choices[0] | clean_schema(own | {"nullable": nullable})

    schema: dict[str, Any] = {}
    declared = node.get("type")
    kinds = [kind for kind in (declared if isinstance(declared, list) else [declared]) if kind in TYPES]
    if not kinds and "properties" in node:
        kinds = ["object"]
    elif not kinds and "items" in node:
        kinds = ["array"]
    if kinds:
        schema["type"] = kinds[0] if len(kinds) == 1 else list(dict.fromkeys(kinds))
    schema |= {key: _cut(node[key]) for key in ("description", "format") if text(node.get(key))}
    if isinstance(node.get("enum"), list) and node["enum"]:
        schema["enum"] = node["enum"]
    if "default" in node:
        schema["default"] = node["default"]
    if "const" in node:
        schema["const"] = node["const"]
    for low_or_high, exclusive in BOUNDS:
        if type(node.get(low_or_high)) in (int, float):  # OpenAPI 3.0 has `exclusiveMinimum: true` beside `minimum`
            schema[exclusive if node.get(exclusive) is True else low_or_high] = node[low_or_high]
        if type(node.get(exclusive)) in (int, float):
            schema[exclusive] = node[exclusive]
    if type(node.get("multipleOf")) in (int, float) and node["multipleOf"] > 0:
        schema["multipleOf"] = node["multipleOf"]
    if text(node.get("pattern")) and is_pattern(node["pattern"]):
        schema["pattern"] = node["pattern"]
    if "array" in kinds and node.get("uniqueItems") is True:
        schema["uniqueItems"] = True
    schema |= {key: node[key] for key in SIZES if type(node.get(key)) is int and node[key] >= 0}
    if "array" in kinds:
        schema["items"] = clean_schema(mapping(node.get("items")))
    if "object" in kinds and (named := body_properties(node)):
        schema["properties"] = {name: clean_schema(value) for name, value in named.items()}
        if needed := name_list(node.get("required")):
            schema["required"] = needed
    if "object" in kinds and isinstance(node.get("additionalProperties"), bool | dict):
        extra = node["additionalProperties"]
        schema["additionalProperties"] = extra if isinstance(extra, bool) else clean_schema(extra)
    if choices:
        schema["anyOf"] = choices
    if nullable or (isinstance(declared, list) and "null" in declared):
        schema["nullable"] = True
    return schema


def merged_schema(node: dict[str, Any], flat: bool = False) -> dict[str, Any]:
    """A schema with the members of its `allOf` merged in; `flat` merges the properties of alternatives, too."""
    merged = {key: value for key, value in node.items() if key != "allOf"}
    for member in _members(node, "allOf"):
        for key, value in merged_schema(member, flat).items():
            if key == "properties":
                held = mapping(merged.get(key))
                both = {
                    name: {"allOf": [held[name], inner]}
                    for name, inner in mapping(value).items()
                    if name in held and held[name] != inner
                }
                merged[key] = mapping(value) | held | both
            elif key == "required":
                merged[key] = name_list(value) + name_list(merged.get(key))
            else:
                merged.setdefault(key, value)
    for key in ("anyOf", "oneOf") if flat else ():
        members = [merged_schema(member, flat) for member in _members(node, key) if member.get("type") != "null"]
        properties: dict[str, Any] = {}
        for member in members:
            for name, inner in mapping(member.get("properties")).items():
                properties[name] = _either(properties[name], inner) if name in properties else inner
        if properties:
            merged["properties"] = properties | mapping(merged.get("properties"))
        if members:  # what only an alternative requires is not always required
            wanted = name_list(members[0].get("required"))
            common = [name for name in wanted if all(name in name_list(other.get("required")) for other in members)]
            if common:
                merged["required"] = list(dict.fromkeys([*name_list(merged.get("required")), *common]))
    return merged


def _either(one: Any, other: Any) -> Any:
    """A schema of what either of two allows: one list of values where both have one."""
    if one == other:
        return one
    first, second = merged_schema(mapping(one)), merged_schema(mapping(other))
    values = [
        [node["const"]] if "const" in node else node["enum"] if isinstance(node.get("enum"), list) else None
        for node in (first, second)
    ]
    if values[0] is not None and values[1] is not None:
        rest = {key: value for key, value in first.items() if key not in ("const", "enum", "default")}
        return rest | {"enum": [*values[0], *[value for value in values[1] if value not in values[0]]]}
    members = first["anyOf"] if list(first) == ["anyOf"] else [first]
    return {"anyOf": [*members, second]}


def _members(node: dict[str, Any], key: str) -> list[dict[str, Any]]:
    return [member for member in node[key] if isinstance(member, dict)] if isinstance(node.get(key), list) else []


def name_list(value: Any) -> list[str]:
    names = value if isinstance(value, list) else []
    return list(dict.fromkeys(name for name in names if isinstance(name, str)))
