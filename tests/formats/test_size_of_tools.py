"""How much of a large API a model is sent: one tool, all tools of a conversation, one function's description."""

import json

import jsonschema

from toolalpaca_hf.formats.chat import MAX_TOOLS_SIZE, tools_of
from toolalpaca_hf.openapi import functions_of, tool_schema
from toolalpaca_hf.openapi.api import LONGEST, describe
from toolalpaca_hf.openapi.tools import MAX_SIZE
from toolalpaca_hf.schema import Api, Function


def nested(width: int, depth: int) -> dict:
    """An object of objects of objects."""
    if depth == 0:
        return {"type": "string", "description": "A word of some length about what this is."}
    properties = {f"part{number}": nested(width, depth - 1) for number in range(width)}
    return {"type": "object", "properties": properties, "required": ["part0"]}


def document(operations: int, width: int, depth: int) -> dict:
    body = {"content": {"application/json": {"schema": nested(width, depth)}}}
    paths = {
        f"/orders/{number}": {"post": {"operationId": f"order{number}", "requestBody": body, "responses": {}}}
        for number in range(operations)
    }
    return {"openapi": "3.0.0", "info": {"title": "Orders", "version": "1"}, "paths": paths}


def size(value: object) -> int:
    return len(json.dumps(value, ensure_ascii=False))


def test_a_deep_tool_keeps_its_first_names() -> None:
    (operation,) = functions_of(document(1, 6, 4))
    parameters = tool_schema(operation)["function"]["parameters"]
    jsonschema.Draft202012Validator.check_schema(parameters)
    assert size(parameters) <= MAX_SIZE and list(parameters["properties"]) == [f"part{number}" for number in range(6)]
    assert parameters["properties"]["part1"]["properties"], "more than the first level fits"


def test_a_wide_tool_keeps_what_is_required() -> None:
    (operation,) = functions_of(document(1, 600, 1))
    parameters = tool_schema(operation)["function"]["parameters"]
    assert size(parameters) <= MAX_SIZE and parameters["required"] == ["part0"]
    assert "part0" in parameters["properties"] and 100 < len(parameters["properties"]) < 600


def test_all_tools_of_a_conversation_have_a_size() -> None:
    made = document(20, 6, 4)
    functions = [Function(f"order{n}", f"/orders/{n}", "post", "Order.") for n in range(20)]
    tools = tools_of(Api("train/orders", "Orders", documentation=made, functions=functions))
    assert len(tools) == 21 and size(tools) <= 1.1 * MAX_TOOLS_SIZE
    assert all("part0" in tool["function"]["parameters"]["properties"] for tool in tools[1:])


def test_a_deep_function_is_described_in_few_words() -> None:
    described = describe(document(1, 6, 4)).function_description["order0"]
    assert len(described) <= LONGEST and all(f'"part{number}"' in described for number in range(6))
