"""An operation as a tool: the JSON schema that chat templates show to a model."""

from typing import Any

from .operations import Operation, mapping, media_schema, text

TYPES = ("string", "number", "integer", "boolean", "array", "object")
BOUNDS = ("minimum", "maximum")
SIZES = ("minLength", "maxLength", "minItems", "maxItems")


def tool_schema(operation: Operation) -> dict[str, Any]:
    """Write an operation as a tool, in the layout of chat templates and OpenAI-compatible servers.

    Path, query and header parameters and the properties of the request body are merged into one object, as published
    action inputs lay them out; where a parameter and a body property share a name, the body's schema stands. A body
    that is not an object with named properties is the property `body`. Whatever is not valid JSON schema in a published
    document is left out, so the result always is.

    Args:
        operation ([`Operation`]):
            An operation, as [`functions_of`] returns it.

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
    for parameter in operation.parameters:
        # Swagger 2, which some documents mix in, has the type beside the name.
        schema = parameter.get("schema") or media_schema(parameter) or parameter
        own = {"description": text(parameter.get("description")) or text(mapping(schema).get("description"))}
        name = parameter["name"]
        properties[name] = clean_schema(mapping(schema) | own)
        if parameter.get("required") is True or parameter.get("in") == "path":
            required.append(name)

    body = merged_schema(operation.request_body_schema or {}, flat=True)
    named = mapping(body.get("properties")) | {
        name: {} for name in name_list(body.get("required")) if name not in mapping(body.get("properties"))
    }
    if named:
        properties |= {name: clean_schema(schema) for name, schema in named.items()}
        required += name_list(body.get("required"))
    elif body:
        properties["request_body" if "body" in properties else "body"] = clean_schema(body)

    parameters: dict[str, Any] = {"type": "object", "properties": properties}
    if required:
        parameters["required"] = list(dict.fromkeys(required))
    # Some templates take a tool without a description for a mistake.
    description = operation.description or f"{operation.method.upper()} {operation.path}"
    return {
        "type": "function",
        "function": {"name": operation.name, "description": description, "parameters": parameters},
    }


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
    schema |= {key: node[key] for key in ("description", "format") if text(node.get(key))}
    if isinstance(node.get("enum"), list) and node["enum"]:
        schema["enum"] = node["enum"]
    if "default" in node:
        schema["default"] = node["default"]
    schema |= {key: node[key] for key in BOUNDS if type(node.get(key)) in (int, float)}
    schema |= {key: node[key] for key in SIZES if type(node.get(key)) is int and node[key] >= 0}
    if "array" in kinds and isinstance(node.get("items"), dict):
        schema["items"] = clean_schema(node["items"])
    if "object" in kinds and isinstance(node.get("properties"), dict):
        schema["properties"] = {name: clean_schema(value) for name, value in node["properties"].items()}
        if needed := [name for name in name_list(node.get("required")) if name in schema["properties"]]:
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
                merged[key] = mapping(value) | mapping(merged.get(key))
            elif key == "required":
                merged[key] = name_list(value) + name_list(merged.get(key))
            else:
                merged.setdefault(key, value)
    alternatives = _members(node, "anyOf") + _members(node, "oneOf") if flat else []
    for member in alternatives:  # what only an alternative requires is not always required
        if properties := mapping(merged_schema(member, flat).get("properties")):
            merged["properties"] = properties | mapping(merged.get("properties"))
    return merged


def _members(node: dict[str, Any], key: str) -> list[dict[str, Any]]:
    return [member for member in node[key] if isinstance(member, dict)] if isinstance(node.get(key), list) else []


def name_list(value: Any) -> list[str]:
    names = value if isinstance(value, list) else []
    return list(dict.fromkeys(name for name in names if isinstance(name, str)))
