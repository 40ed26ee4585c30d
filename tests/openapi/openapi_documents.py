"""Documents that look like OpenAPI here and there, and hold anything elsewhere."""

from typing import Any

from hypothesis import strategies as st

_KEYS = (
    "type properties items required enum default description nullable allOf anyOf oneOf $ref schema name in content "
    "parameters requestBody responses operationId summary additionalProperties minimum maxLength format 200 "
    "application/json get post components schemas"
).split()
_VALUES = (
    st.sampled_from(
        ["string", "object", "array", "integer", "null", "path", "query", "#/components/schemas/A", "#/paths"]
    )
    | st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.floats()
    | st.text(max_size=3)
)
anything: st.SearchStrategy[Any] = st.recursive(
    _VALUES,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_KEYS) | st.text(max_size=3), inner, max_size=4)
    ),
    max_leaves=20,
)
_schema: st.SearchStrategy[Any] = st.recursive(
    anything | st.just({"$ref": "#/components/schemas/A"}) | st.just({"$ref": "#/components/schemas/B"}),
    lambda inner: st.fixed_dictionaries(
        {"type": st.sampled_from(["object", "array", "string"])},
        optional={
            "properties": st.dictionaries(st.text(max_size=3), inner, max_size=3),
            "items": inner,
            "required": st.lists(st.text(max_size=3), max_size=3) | anything,
            "allOf": st.lists(inner, max_size=2),
            "anyOf": st.lists(inner, max_size=2),
            "enum": st.lists(anything, max_size=3),
            "description": anything,
        },
    ),
    max_leaves=6,
)
_media = anything | st.fixed_dictionaries({"application/json": st.fixed_dictionaries({"schema": _schema})})
_operation = anything | st.fixed_dictionaries(
    {},
    optional={
        "operationId": st.sampled_from(["a", "b"]) | anything,
        "summary": anything,
        "parameters": anything
        | st.lists(anything | st.fixed_dictionaries({"name": st.text(max_size=3), "schema": _schema}), max_size=3),
        "requestBody": anything | st.fixed_dictionaries({"content": _media}),
        "responses": anything | st.fixed_dictionaries({"200": st.fixed_dictionaries({"content": _media})}),
    },
)
documents = st.fixed_dictionaries(
    {
        "paths": anything
        | st.dictionaries(
            st.sampled_from(["/a", "a", "/{a}"]) | st.text(max_size=4),
            anything | st.dictionaries(st.sampled_from(["get", "POST", "parameters"]), _operation, max_size=3),
            max_size=3,
        ),
    },
    optional={
        "components": anything
        | st.fixed_dictionaries({"schemas": st.fixed_dictionaries({"A": _schema, "B": _schema})})
    },
)

_name = st.sampled_from(["a", "b", "id", "X-Y"])
_plain = st.sampled_from(["string", "integer", "number", "boolean", "array", "object"]).map(
    lambda kind: {"type": kind}
)
_parameter = st.fixed_dictionaries(
    {"name": _name, "in": st.sampled_from(["path", "query", "header", "cookie"]), "schema": _plain | _schema},
    optional={
        "required": st.booleans(),
        "style": st.sampled_from(["form", "deepObject", "pipeDelimited"]),
        "explode": st.booleans(),
        "content": _media,
    },
)
_body = st.fixed_dictionaries({"properties": st.dictionaries(_name, _plain | _schema, max_size=3)}) | _plain | _schema
_kinds = st.sampled_from(
    ["application/json", "text/plain", "multipart/form-data", "application/x-www-form-urlencoded"]
)
callable_documents = st.builds(
    lambda path, method, operation, schemas: {
        "paths": {path: {method: operation}},
        "components": {"schemas": schemas, "securitySchemes": {"s": {"type": "apiKey", "in": "header", "name": "a"}}},
        "security": [{"s": []}],
    },
    st.sampled_from(["/cats", "cats/{a}", "/cats/{a}/x-{id}", "/{b}?q={a}"]),
    st.sampled_from(["get", "post"]),
    st.fixed_dictionaries(
        {"parameters": st.lists(_parameter, max_size=3)},
        optional={
            "requestBody": st.fixed_dictionaries(
                {"content": st.dictionaries(_kinds, st.fixed_dictionaries({"schema": _body}), max_size=2)},
                optional={"required": st.booleans()},
            )
        },
    ),
    st.fixed_dictionaries({"A": _schema, "B": _schema}),
)
"""Documents of one operation that can be called, whose schemas hold anything."""
