import json
from typing import Any

import pytest
from hypothesis import given, settings
from openapi_documents import documents

from toolalpaca_hf.openapi import describe, functions_of, load_document


def test_published_descriptions_are_equal(published_apis: list[dict[str, Any]]) -> None:
    different = []
    for api in published_apis:
        made = describe(load_document(api["Documentation"]))
        assert list(made.function_projection.items()) == list(api["Function_Projection"].items())
        same = made.nl_documentation == api["NLDocumentation"]
        if not same or list(made.function_description.items()) != list(api["Function_Description"].items()):
            different.append(api["Name"])
    assert different == []
    assert len(published_apis) == 64


def test_the_layout_in_small() -> None:
    document = {
        "paths": {
            "/cats": {
                "post": {
                    "operationId": "addCat",
                    "description": "Add a cat",
                    "parameters": [
                        {"name": "dry", "in": "query", "schema": {"type": "boolean"}},
                        {"name": "tags", "required": True, "schema": {"type": "array", "items": {"type": "string"}}},
                    ],
                    "requestBody": {
                        "content": {
                            "application/json": {
                                "schema": {
                                    "type": "object",
                                    "properties": {"coat": {"type": "string", "enum": ["red", "tabby"]}},
                                    "required": ["coat"],
                                }
                            }
                        }
                    },
                    "responses": {
                        "201": {"description": "Added", "content": {"text/json": {"schema": {"$ref": "#/x/Cat"}}}}
                    },
                }
            }
        },
        "components": {"schemas": {"Cat": {"type": "object", "properties": {"id": {"type": "integer"}}}}},
    }
    made = describe(document)
    assert made.function_description["addCat"] == (
        "Add a cat\n"
        'Parameters: {"dry": "boolean. ", "tags": "Required. Array[string].  ",'
        ' "coat": "Required. string. One of: [red, tabby]."}\n'
        "Output: Added.\n"
        " - Format: text/json\n"
        " - Structure: #Cat"
    )
    assert made.function_description["components"].endswith("\n#Cat: Object{id}")
    assert made.nl_documentation.startswith("addCat: Add a cat\n")


NAME, AGE = (
    {"properties": {"name": {"type": "string"}}, "required": ["name"]},
    {"properties": {"age": {"type": "integer"}}},
)
HIDDEN = {"properties": {"id": {"type": "integer", "readOnly": True}}}


@pytest.mark.parametrize(
    ("schema", "parameters"),
    [
        ({"allOf": [NAME, AGE, HIDDEN]}, {"name": "Required. string. ", "age": "integer. "}),
        ({"oneOf": [NAME, AGE, HIDDEN]}, {"name": "string. ", "age": "integer. "}),
        ({"type": "array", "items": {"type": "string"}}, {"body": "Required. Array[string]. "}),
        ({"type": "string", "description": "A note"}, {"body": "Required. string. A note."}),
        ({}, {}),
    ],
)
def test_every_kind_of_body_is_described(schema: dict[str, Any], parameters: dict[str, str]) -> None:
    body = {"required": True, "content": {"application/json": {"schema": schema}}}
    made = describe({"paths": {"/x": {"post": {"operationId": "x", "summary": "X", "requestBody": body}}}})
    line = made.function_description["x"].splitlines()[1].removeprefix("Parameters: ")
    assert {name: words.strip() for name, words in json.loads(line).items()} == {
        name: words.strip() for name, words in parameters.items()
    }


@settings(max_examples=40)
@given(documents)
def test_any_document_is_described(document: dict[str, Any]) -> None:
    made = describe(document)
    names = [operation.name for operation in functions_of(document)]
    assert list(made.function_projection) == names
    assert set(made.function_description) == {*names, "components"}


@pytest.mark.parametrize("ref", [None, 3, [], {}, ""])
def test_a_reference_that_is_no_text_refers_to_nothing(ref: Any) -> None:
    node = {"type": None, "$ref": ref}
    answer = {"description": "ok", "content": {"application/json": {"schema": {"allOf": [node]}}}}
    operation = {"parameters": [{"name": "q", "in": "query", "schema": node}, node], "responses": {"200": answer}}
    document = {"openapi": "3.1.0", "info": {"title": "x", "version": "1"}, "paths": {"/a": {"get": operation}}}
    assert list(describe(document).function_projection.values()) == [["/a", "get"]]


def test_every_argument_is_described_under_the_name_that_calls_take() -> None:
    query = {"name": "id", "in": "query", "schema": {"type": "boolean"}}
    fields = {"id": {"type": "integer"}, "n": {"type": "number"}}
    body = {"content": {"application/json": {"schema": {"properties": fields}}}}
    post = {"operationId": "x", "summary": "X", "parameters": [query], "requestBody": body}
    line = describe({"paths": {"/x/{id}": {"post": post}}}).function_description["x"].splitlines()[1]
    described = json.loads(line.removeprefix("Parameters: "))
    assert {name: words.strip() for name, words in described.items()} == {
        "query_id": "boolean.",
        "id": "Required. string.",
        "body_id": "integer.",
        "n": "number.",
    }


def test_what_a_request_must_not_hold_is_not_described() -> None:
    text = {"type": "string"}
    inner = {"type": "object", "properties": {"id": text | {"readOnly": True}, "name": text}}
    body = {"content": {"application/json": {"schema": {"type": "object", "properties": {"inner": inner}}}}}
    document = {"paths": {"/x": {"post": {"operationId": "x", "requestBody": body}}}}
    assert '{"inner": "Object{name: string.}. "}' in describe(document).function_description["x"]


def test_an_operation_has_another_name_than_the_shared_schemas() -> None:
    paths = {"/x": {"get": {"operationId": "components", "summary": "Parts"}}}
    made = describe({"paths": paths, "components": {"schemas": {"Cat": {"type": "object"}}}})
    assert made.function_description["components_2"].startswith("Parts\n")
    assert made.function_description["components"].endswith("#Cat: Object")


def test_types_that_may_be_null_and_composed_ones_are_described() -> None:
    null, kind = {"type": "null"}, {"type": ["string", "null"], "enum": ["x", None]}
    pet = {"type": ["object", "null"], "properties": {"kind": kind}}
    ref = {"$ref": "#/components/schemas/Pet"}
    fields = {
        "a": ref,
        "b": {"allOf": [ref], "description": "A pet"},
        "c": {"anyOf": [{"type": "array", "items": ref}, null]},
        "d": {"oneOf": [{"type": "string"}, {"type": "integer"}]},
        "e": {"const": 3},
    }
    query = [{"name": "q", "in": "query", "schema": {"anyOf": [{"type": "string"}, null]}}]
    query += [{"name": "r", "in": "query", "content": {"application/json": {"schema": {"type": "integer"}}}}]
    body = {"content": {"application/json": {"schema": {"type": "object", "properties": fields}}}}
    answer = {"content": {"application/json": {"schema": {"oneOf": [ref, {"type": "array", "items": ref}, null]}}}}
    post: dict[str, Any] = {"operationId": "x", "summary": "X", "parameters": query, "requestBody": body}
    post["responses"] = {"200": answer}
    document = {"openapi": "3.1.0", "paths": {"/x": {"post": post}}, "components": {"schemas": {"Pet": pet}}}
    _, line, *_, structure = describe(document).function_description["x"].splitlines()
    described = json.loads(line.removeprefix("Parameters: "))
    assert {name: words.strip() for name, words in described.items()} == {
        "q": "string.",
        "r": "integer.",
        "a": "Object{kind: string. One of: [x].}.",
        "b": "Object{kind: string. One of: [x].}. A pet.",
        "c": "Array[Object{kind: string. One of: [x].}. ].",
        "d": "string or integer.",
        "e": ". One of: [3].",
    }
    assert structure == " - Structure: #Pet or Array[#Pet]"


def test_what_leads_back_is_named_by_whatever_way_it_does() -> None:
    text, ref = {"type": "string"}, {"$ref": "#/components/schemas/A B"}
    schemas: dict[str, Any] = {
        "again": {"type": "object", "properties": {"n": text, "up": {"allOf": [ref], "nullable": True}}},
        "more": {
            "type": "object",
            "properties": {"up": {"allOf": [ref, {"type": "object", "properties": {"n": text}}]}},
        },
        "list": {"type": "array", "items": {"allOf": [ref]}},
        "loop": {"anyOf": [{"allOf": [{"allOf": [ref]}]}]},
    }
    found = {}
    for name, schema in schemas.items():
        body = {"content": {"application/json": {"schema": {"type": "object", "properties": {"x": {"allOf": [ref]}}}}}}
        paths = {"/x": {"post": {"operationId": "x", "requestBody": body}}}
        made = describe({"openapi": "3.0.3", "paths": paths, "components": {"schemas": {"A B": schema}}})
        line = next(line for line in made.nl_documentation.splitlines() if line.startswith("Parameters: "))
        found[name] = json.loads(line.removeprefix("Parameters: "))["x"].strip()
    assert found == {
        "again": "Object{n: string., up: . Another A B.}.",
        "more": "Object{up: . Another A B.}.",
        "list": "Array[].",
        "loop": ". Another A B.",
    }


def test_alternatives_of_each_other_are_not_followed_in_every_order() -> None:
    refs = {f"#/components/schemas/C{i}": {"type": "object", "properties": {f"f{i}": {}}} for i in range(9)}
    schemas = {f"C{i}": {"anyOf": [*({"$ref": ref} for ref in refs), own]} for i, own in enumerate(refs.values())}
    body = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/C0"}}}}
    paths = {"/x": {"post": {"operationId": "x", "requestBody": body}}}
    made = describe({"openapi": "3.0.3", "paths": paths, "components": {"schemas": schemas}})
    assert all(f'"f{i}"' in made.function_description["x"] for i in range(9))
