"""Schemas survive Python signatures: transformers reads from a method what the document says, to the last field."""

import json
from typing import Any

import pytest
from transformers.utils import get_json_schema

from toolalpaca_hf.data import read_corpus, resolve_sources
from toolalpaca_hf.environments.signature import python_names, tool_method
from toolalpaca_hf.formats import tools_of
from toolalpaca_hf.schema import Api

CORPUS = read_corpus(resolve_sources("sample"))
APIS = [*CORPUS.apis["train"], *CORPUS.apis["eval_simulated"]]


def restored(tool: dict[str, Any]) -> dict[str, Any]:
    """The tool that transformers reads from a method, with what stands in the descriptions as JSON put back."""
    heard: dict[str, Any] = {}
    method = tool_method(tool, lambda self, arguments: heard.update(arguments) or "")
    read = get_json_schema(method)["function"]
    parameters = tool["function"]["parameters"]
    names = {alias: name for name, alias in python_names(parameters.get("properties", {})).items()}
    properties = {}
    for alias, schema in read["parameters"]["properties"].items():
        name, words = names[alias], schema.pop("description")
        original = parameters["properties"][name].get("description")
        opened = words.find('{"')
        left = json.loads(words[opened:]) if words.endswith("}") and opened >= 0 else {}
        if "enum" in schema and "type" not in parameters["properties"][name]:
            del schema["type"]  # transformers adds that of the values
        if original is not None:
            assert words.startswith(" ".join(original.split()))
            left["description"] = original
        properties[name] = schema | left
    made = {"type": "object", "properties": properties}
    if required := read["parameters"].get("required"):
        made["required"] = [names[alias] for alias in required]
    method(None, **{alias: alias for alias in names})
    assert heard == {name: alias for alias, name in names.items()}, "the call has the document's names"
    return {"type": "function", "function": {**read, "parameters": made}}


def same(tool: dict[str, Any]) -> dict[str, Any]:
    """The tool, `required` in the order of the parameters."""
    parameters = tool["function"]["parameters"]
    needed = [name for name in parameters["properties"] if name in parameters.get("required", ())]
    parameters = {key: value for key, value in parameters.items() if key != "required"}
    parameters |= {"required": needed} if needed else {}
    return {**tool, "function": {**tool["function"], "parameters": parameters}}


@pytest.mark.parametrize("api", APIS, ids=lambda api: api.id)
def test_every_embedded_tool_is_read_again_as_it_was(api: Api) -> None:
    for tool in tools_of(api):
        assert restored(tool) == same(tool)


def tool_of(description: str = "Do it.", required: tuple[str, ...] = (), **properties: Any) -> dict[str, Any]:
    parameters = {"type": "object", "properties": properties, **({"required": list(required)} if required else {})}
    return {"type": "function", "function": {"name": "do-it", "description": description, "parameters": parameters}}


NESTED = {
    "type": "object",
    "description": "Where.",
    "properties": {"lat": {"type": "number", "minimum": -90}, "tags": {"type": "array", "items": {"type": "string"}}},
    "required": ["lat"],
}


@pytest.mark.parametrize(
    "tool",
    [
        tool_of(required=("class", "from"), **{"accept-language": {"type": "string"}, "class": {}, "from": NESTED}),
        tool_of(self={"type": "integer"}, cls={"type": "boolean"}, **{"return": {"type": "number"}}),
        tool_of(**{"a-b": {"type": "string"}, "a_b": {"type": "integer"}, "a.b": {"enum": [1, 1.5, "x", True]}}),
        tool_of(**{"2nd": {"type": "string"}, "größe": {"type": "integer"}, "": {"type": "string"}}),
        tool_of(one={"type": "array", "items": NESTED}, two={"type": "array", "items": {"type": "integer"}}),
        tool_of(one={"anyOf": [{"type": "string"}, {"type": "null"}]}, two={"type": ["integer", "string"]}),
        tool_of(one={"type": ["string", "null"], "default": None}, two={"enum": ["a", "a"], "type": "string"}),
        tool_of(one={"type": "number", "enum": [1, 2]}, two={"type": "string", "enum": ["a"], "format": "x"}),
    ],
    ids=lambda tool: ",".join(tool["function"]["parameters"]["properties"]),
)
def test_names_and_schemas_that_a_signature_cannot_hold(tool: dict[str, Any]) -> None:
    assert restored(tool) == same(tool)


def test_words_that_docstrings_take_for_sections() -> None:
    words = "Find. Returns: a list\n\nArgs:\n  none. Raises: hands"
    tool = tool_of(words, one={"type": "string", "description": "Returns: it (choices: [1"})
    read = get_json_schema(tool_method(tool, lambda self, arguments: ""))["function"]
    assert read["description"].count(":") == 3 and "hands" in read["description"]
    assert read["parameters"]["properties"]["one"]["description"].startswith("Returns : it")
    choices = tool_of(one={"type": "string", "description": "Pick (choices: a, b)"})
    assert "enum" not in get_json_schema(tool_method(choices, lambda self, arguments: ""))["function"]["parameters"]
