"""Documents, requests and judgements that the simulator's tests share."""

from typing import Any

from openapi_schema_validator import OAS30Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT4

from toolalpaca_hf.openapi.document import lookup
from toolalpaca_hf.schema import Api

METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")


def json_reply(schema: Any, status: str = "200") -> dict[str, Any]:
    """The `responses` of an operation that answers with a schema."""
    return {status: {"description": "", "content": {"application/json": {"schema": schema}}}}


def json_body(schema: Any, required: bool = True) -> dict[str, Any]:
    """A `requestBody` of a schema."""
    return {"required": required, "content": {"application/json": {"schema": schema}}}


PET = {
    "type": "object",
    "required": ["id", "name"],
    "properties": {
        "id": {"type": "integer"},
        "name": {"type": "string", "maxLength": 40},
        "status": {"type": "string", "enum": ["available", "sold"]},
        "weight": {"type": "number", "minimum": 0.5, "maximum": 90},
    },
}
NEW_PET = {
    "type": "object",
    "required": ["name"],
    "properties": {"name": {"type": "string"}, "status": {"type": "string", "enum": ["available", "sold"]}},
}
PETS: dict[str, Any] = {
    "openapi": "3.0.0",
    "info": {"title": "Pets", "version": "1"},
    "servers": [{"url": "https://pets.example.com/v1"}],
    "paths": {
        "/pets": {
            "get": {
                "parameters": [
                    {"name": "status", "in": "query", "schema": {"type": "string", "enum": ["available", "sold"]}},
                    {"name": "limit", "in": "query", "schema": {"type": "integer", "minimum": 1}},
                    {"name": "page", "in": "query", "schema": {"type": "integer"}},
                    {"name": "offset", "in": "query", "schema": {"type": "integer"}},
                ],
                "responses": json_reply({"type": "array", "items": {"$ref": "#/components/schemas/Pet"}}),
            },
            "post": {
                "requestBody": json_body({"$ref": "#/components/schemas/NewPet"}),
                "responses": json_reply({"$ref": "#/components/schemas/Pet"}, "201"),
            },
        },
        "/pets/{petId}": {
            "parameters": [{"name": "petId", "in": "path", "required": True, "schema": {"type": "integer"}}],
            "get": {"responses": json_reply({"$ref": "#/components/schemas/Pet"})},
            "put": {
                "requestBody": json_body({"$ref": "#/components/schemas/NewPet"}),
                "responses": json_reply({"$ref": "#/components/schemas/Pet"}),
            },
            "patch": {
                "requestBody": json_body({"type": "object", "properties": NEW_PET["properties"]}),
                "responses": json_reply({"$ref": "#/components/schemas/Pet"}),
            },
            "delete": {"responses": {"204": {"description": "gone"}}},
        },
    },
    "components": {"schemas": {"Pet": PET, "NewPet": NEW_PET}},
}


def api_of(document: dict[str, Any], name: str = "Pets", slug: str = "pets") -> Api:
    """An API with a document."""
    return Api(f"train/{slug}", name, documentation=document)


def one_operation(schema: Any, **operation: Any) -> dict[str, Any]:
    """A document whose only operation is `GET /thing`."""
    get = {"responses": json_reply(schema)} | operation
    return {"openapi": "3.0.0", "info": {"title": "One", "version": "1"}, "paths": {"/thing": {"get": get}}}


def problems(document: dict[str, Any], pointer: str, value: Any) -> list[str]:
    """What OpenAPI's own validator, which the simulator does not use, finds wrong with a value."""
    registry = Registry().with_resource("urn:document", Resource(contents=document, specification=DRAFT4))
    check = OAS30Validator({"$ref": f"urn:document#{pointer}"}, registry=registry)
    return [error.message for error in check.iter_errors(value)]


def declared(document: dict[str, Any], path: str, method: str, status: int) -> str | None:
    """The pointer to the JSON schema of a response; `None` where the document has none."""
    for code in (str(status), f"{status // 100}XX", "default"):
        pointer = f"/paths/{path.replace('~', '~0').replace('/', '~1')}/{method}/responses/{code}"
        response = lookup(document, "#" + pointer)
        if isinstance(response, dict):
            if "$ref" in response:
                pointer = response["$ref"].removeprefix("#")
            for media in (lookup(document, "#" + pointer) or {}).get("content", {}):
                if "json" in media:
                    pointer = f"{pointer}/content/{media.replace('/', '~1')}/schema"
                    return pointer if lookup(document, "#" + pointer) is not None else None
            return None
    return None


def a_value(schema: dict[str, Any], document: dict[str, Any], depth: int = 0) -> Any:
    """A plain value that is valid for a schema as published documents write them."""
    if "$ref" in schema:
        schema = lookup(document, schema["$ref"]) or {}
    if schema.get("enum"):
        return schema["enum"][0]
    kind = schema.get("type")
    if kind == "object" or "properties" in schema:
        fields = schema.get("properties", {}) if depth < 4 else {}
        fields = {name: {} for name in schema.get("required", [])} | fields  # some are required and not described
        return {name: a_value(part, document, depth + 1) for name, part in fields.items()}
    if kind == "array":
        return [a_value(schema.get("items", {}), document, depth + 1)] if depth < 4 else []
    dates = {"date": "2024-02-03", "date-time": "2024-02-03T10:00:00Z", "email": "a@example.com"}
    return {"integer": 7, "number": 2.5, "boolean": True}.get(kind, dates.get(schema.get("format"), "Lisbon"))
