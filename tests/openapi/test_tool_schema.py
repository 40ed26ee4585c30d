import json
from typing import Any

import pytest
from hypothesis import given, settings
from jsonschema import Draft7Validator, Draft202012Validator
from openapi_documents import documents

from toolalpaca_hf.openapi import Operation, describe, functions_of, load_document, tool_schema


def parameters(*declared: dict[str, Any], body: dict[str, Any] | None = None) -> dict[str, Any]:
    content = {"requestBody": {"content": {"application/json": {"schema": body}}}} if body is not None else {}
    declaring = {"parameters": list(declared)} | content
    return tool_schema(Operation("f", "/f", "post", declared=declaring))["function"]["parameters"]


def test_parameters_and_body_are_one_object() -> None:
    body = {"type": "object", "properties": {"b": {"type": "integer"}, "q": {"type": "number"}}, "required": ["b"]}
    made = parameters(
        {"name": "q", "in": "query", "description": "Q", "schema": {"type": "string"}},
        {"name": "id", "in": "path", "schema": {"type": "string", "enum": ["x"], "default": "x"}},
        {"name": "h", "in": "header", "required": True, "schema": {"type": "string"}},
        body=body,
    )
    assert made == {
        "type": "object",
        "properties": {
            "q": {"type": "string", "description": "Q"},
            "id": {"type": "string", "enum": ["x"], "default": "x"},
            "h": {"type": "string"},
            "b": {"type": "integer"},
            "body_q": {"type": "number"},
        },
        "required": ["id", "h", "b"],
    }


def test_bodies_without_named_properties_are_the_property_body() -> None:
    listing = {"type": "array", "items": {"type": "string"}}
    assert parameters(body=listing)["properties"] == {"body": listing}
    assert parameters({"name": "body", "in": "query"}, body=listing)["properties"]["request_body"] == listing


def test_required_names_without_a_schema_can_be_given() -> None:
    made = parameters(body={"type": "object", "properties": {}, "required": ["branch"]})
    assert made == {"type": "object", "properties": {"branch": {}}, "required": ["branch"]}


def test_all_of_is_merged_and_alternatives_are_kept() -> None:
    base = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
    more = {"properties": {"b": {"oneOf": [{"type": "string"}, {"type": "integer"}]}}}
    made = parameters(body={"allOf": [base, more]})
    assert made["properties"] == {"a": {"type": "string"}, "b": {"anyOf": [{"type": "string"}, {"type": "integer"}]}}
    assert made["required"] == ["a"]


def test_what_may_be_null_is_marked() -> None:
    for schema in (
        {"type": "string", "nullable": True},
        {"type": ["string", "null"]},
        {"anyOf": [{"type": "string"}, {"type": "null"}]},
    ):
        assert parameters({"name": "q", "schema": schema})["properties"]["q"] == {"type": "string", "nullable": True}


def test_places_of_a_list_are_alternatives_of_its_items() -> None:
    number, text = {"type": "number"}, {"type": "string"}
    pair = {"type": "array", "prefixItems": [number, number], "items": False}
    made = parameters(
        body={"type": "object", "properties": {"a": pair, "b": {"prefixItems": [number], "items": text}}}
    )
    assert made["properties"]["a"] == {"type": "array", "items": number, "maxItems": 2}
    assert made["properties"]["b"] == {"type": "array", "items": {"anyOf": [number, text]}}


def test_names_by_a_pattern_are_additional() -> None:
    closed = {"type": "object", "patternProperties": {"^x-": {"type": "number"}}, "additionalProperties": False}
    made = parameters(body={"type": "object", "properties": {"a": closed}})
    assert made["properties"]["a"] == {"type": "object", "additionalProperties": {"type": "number"}}


def test_types_written_as_in_swagger_2_count() -> None:
    made = parameters({"name": "q", "in": "query", "type": "array", "items": {"type": "integer"}})
    assert made["properties"]["q"] == {"type": "array", "items": {"type": "integer"}}


def test_every_published_operation_is_a_valid_tool(published_apis: list[dict[str, Any]]) -> None:
    seen = 0
    for api in published_apis:
        for operation in functions_of(load_document(api["Documentation"]), api["Function_Projection"]):
            function = tool_schema(operation)["function"]
            Draft202012Validator.check_schema(function["parameters"])
            Draft7Validator.check_schema(function["parameters"])
            assert function["name"] in api["Function_Description"] and function["description"]
            assert "$ref" not in json.dumps(function)
            # The published description lists the same parameters; it leaves out bodies without named properties.
            described = api["Function_Description"][operation.name]
            listed = json.loads(
                described[described.index("Parameters: ") :].split("\n")[0].removeprefix("Parameters: ")
            )
            made = list(function["parameters"]["properties"])
            assert made[: len(listed)] == list(listed)
            if made[len(listed) :]:
                assert operation.name in {"postEcho", "putEcho", "patchEcho", "triggerNewBuild"}
            seen += 1
    assert seen == 307


def test_golden_arguments_are_accepted(published_apis: list[dict[str, Any]]) -> None:
    """Arguments that fit no tool are faults of the published instructions; nearly all fit."""
    calls = fitting = 0
    for api in published_apis:
        document = load_document(api["Documentation"])
        tools = {
            operation.name: tool_schema(operation)["function"]["parameters"]
            for operation in functions_of(document, api["Function_Projection"])
        }
        for call in [call for calls in api.get("Golden_Answers", []) for call in calls]:
            try:
                arguments = json.loads(call["Action_Input"])
            except ValueError:
                continue  # a placeholder such as ${id from search}
            if call["Action"] in tools:
                calls += 1
                fitting += set(arguments) <= set(tools[call["Action"]]["properties"])
    assert calls > 200
    assert fitting / calls > 0.95


@settings(deadline=None)
@given(documents)
def test_any_document_makes_valid_tools(document: dict[str, Any]) -> None:
    for operation in functions_of(document):
        tool = tool_schema(operation)
        Draft202012Validator.check_schema(tool["function"]["parameters"])
        json.dumps(tool, allow_nan=False)
        assert set(tool["function"]["parameters"].get("required", [])) <= set(
            tool["function"]["parameters"]["properties"]
        )


@pytest.mark.parametrize("key", ["$ref", "allOf", "anyOf", "items"])
def test_schemas_that_lead_from_one_to_the_next(key: str) -> None:
    def link(number: int) -> dict[str, Any]:
        ref = {"$ref": f"#/components/schemas/S{number}"}
        return {"type": "array", "items": ref} if key == "items" else {key: [ref]} if key != "$ref" else ref

    schemas = {f"S{number}": link(number + 1) for number in range(3_000)} | {"S3000": {"type": "string"}}
    body = {"content": {"application/json": {"schema": link(0)}}}
    document = {"components": {"schemas": schemas}, "paths": {"/a": {"post": {"requestBody": body}}}}
    [operation] = functions_of(document)
    assert list(tool_schema(operation)["function"]["parameters"]["properties"]) == ["body"]
    assert describe(document).function_projection == {"a_post": ["/a", "post"]}


def test_alternatives_that_hold_each_other_under_one_name() -> None:
    ref = {"$ref": "#/components/schemas/Tree"}
    kinds = [{"type": "object", "properties": {"of": of}} for of in (ref, ref | {"description": "what is not"})]
    body = {"content": {"application/json": {"schema": ref}}}
    document = {
        "components": {"schemas": {"Tree": {"oneOf": kinds}}},
        "paths": {"/a": {"post": {"requestBody": body}}},
    }
    [operation] = functions_of(document)
    assert list(tool_schema(operation)["function"]["parameters"]["properties"]) == ["of"]


def test_texts_that_are_no_json_numbers_stay_texts_in_an_enumeration_of_numbers() -> None:
    schema = {"type": "integer", "enum": ["01", "\u0663", "10"]}
    assert parameters({"name": "q", "schema": schema})["properties"]["q"]["enum"] == ["01", "\u0663", 10]


def test_values_of_an_enumeration_are_told_apart_as_json_has_them() -> None:
    assert parameters({"name": "q", "schema": {"enum": [1, "1", True, 1]}})["properties"]["q"] == {
        "enum": [1, "1", True]
    }


def test_a_header_that_no_caller_can_send_is_no_argument() -> None:
    names = ("Content-Type", "cookie", "X-Trace")
    headers = [{"name": name, "in": "header", "required": True, "schema": {"type": "string"}} for name in names]
    [operation] = functions_of({"paths": {"/x": {"get": {"parameters": headers}}}})
    assert tool_schema(operation)["function"]["parameters"]["required"] == ["X-Trace"]
