"""Simulated APIs as MCP tools, asked by the SDK's own client; and a model that uses the tools of such a server."""

import asyncio
import json
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import uvicorn
from mcp import Client, StdioServerParameters
from scripted_golden import GoldenBackend
from typer.testing import CliRunner

from toolalpaca_hf.agent import McpTools, run
from toolalpaca_hf.cli import app
from toolalpaca_hf.environments import mcp_server, openapi_environments
from toolalpaca_hf.errors import OptionError, ToolAlpacaError
from toolalpaca_hf.openapi import Operations
from toolalpaca_hf.schema import Api, Function
from toolalpaca_hf.simulator import SimulateConfig, Simulator, listening_socket, read_apis

PATHS = os.pathsep.join(sys.path)
ARGUMENTS = ["-m", "toolalpaca_hf.cli", "simulate", "--apis", "sample", "--mcp"]
COMMAND = f"env PYTHONPATH={PATHS} {sys.executable} {' '.join(ARGUMENTS)}"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """The server over streamable HTTP."""
    served = mcp_server(Simulator(read_apis("sample"))).streamable_http_app()
    with closing(listening_socket("127.0.0.1", 0)) as sock:
        server = uvicorn.Server(uvicorn.Config(served, log_level="error"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]}, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{sock.getsockname()[1]}/mcp"
        server.should_exit = True
        thread.join(10)


async def asked(target: Any) -> dict[str, Any]:
    async with Client(target) as client:
        tools = (await client.list_tools()).tools
        right = await client.call_tool(*GOLDEN)
        wrong = await client.call_tool(GOLDEN[0], {})
        absent = await client.call_tool("noSuchTool", {})
        return {
            "names": [tool.name for tool in tools],
            "schemas": [tool.input_schema for tool in tools],
            "right": right,
            "wrong": wrong,
            "absent": absent,
        }


TASKS = openapi_environments("sample", split="eval_simulated")
FIRST = next(iter(next(iter(TASKS.values())).tasks.values()))
GOLDEN = (FIRST.golden_calls[0].action, json.loads(FIRST.golden_calls[0].action_input))


def check(found: dict[str, Any]) -> None:
    wanted = [tool["function"] for kind in TASKS.values() for tool in kind.tools[1:]]
    assert found["names"] == [tool["name"] for tool in wanted]
    assert found["schemas"] == [tool["parameters"] for tool in wanted]
    assert not found["right"].is_error and json.loads(found["right"].content[0].text)
    assert found["wrong"].is_error and "Missing required" in found["wrong"].content[0].text
    assert found["absent"].is_error


def test_over_streamable_http(url: str) -> None:
    check(asyncio.run(asked(url)))


def test_over_stdio() -> None:
    parameters = StdioServerParameters(command=sys.executable, args=ARGUMENTS, env={"PYTHONPATH": PATHS})
    check(asyncio.run(asked(parameters)))


def test_a_model_uses_the_tools_of_a_server(url: str, tmp_path: Path) -> None:
    """The golden calls, through MCP: every observation is the one that the environment gives."""
    from test_environment import golden, tools_of

    backend = GoldenBackend(TASKS)
    backend.width = 1  # all rollouts share the server's session: what one makes, another that is behind it would list
    ids = [id for kind in TASKS.values() for id in list(kind.tasks)[:3]]
    tasks = {id: TASKS[id.rpartition("/")[0]].tasks[id] for id in ids}
    with McpTools(url) as tools:
        assert len(tools.api.functions) == 28 and tools.api.functions[0].description
        asked = [task.instruction for task in tasks.values()]
        note = run("", backend, tmp_path, instructions=asked, mcp=tools, progress=False)
    assert note["settings"]["calls"] == "mcp" and note["ended"] == {"answered": len(ids)}
    lines = (tmp_path / "rollouts.jsonl").read_text(encoding="utf-8").splitlines()
    rows = {row["instruction"]: row for row in map(json.loads, lines)}
    for id, task in tasks.items():
        environment = TASKS[id.rpartition("/")[0]]()
        environment.reset(id=id)
        seen = [tools_of(environment)[name](**arguments) for name, arguments in golden(environment, id)]
        assert [step["observation"] for step in rows[task.instruction]["steps"]] == seen


def test_a_command_is_started_and_ended(tmp_path: Path) -> None:
    with McpTools(COMMAND) as tools:
        name, arguments = GOLDEN
        assert tools.calls.call(name, json.dumps(arguments)).startswith("Status Code: 200. Response: ")
        assert "Missing required" in tools.calls.call(name, "{}")
    for wrong in (f"{sys.executable} -c 'print(1)'", "/no/such/command", "http://127.0.0.1:9/mcp"):
        with pytest.raises(ToolAlpacaError), McpTools(wrong, seconds=20.0):
            pass
    with pytest.raises(OptionError):
        McpTools("unclosed 'quote")


def test_names_that_two_apis_share_are_as_long_as_providers_take() -> None:
    long = "find" * 15
    paths = {"/x": {"get": {"operationId": long, "responses": {"200": {"description": "ok"}}}}}
    apis = [
        Api(
            f"train/animals-{n}",
            f"Animals {n}",
            documentation={"paths": paths},
            functions=[Function(long, "/x", "get", "")],
        )
        for n in (1, 2)
    ]

    async def names() -> list[str]:
        async with Client(mcp_server(Simulator(apis))) as client:
            return [tool.name for tool in (await client.list_tools()).tools]

    found = asyncio.run(names())
    assert len(set(found)) == 2 and max(map(len, found)) == 64


def test_a_name_with_its_api_before_it_may_be_that_of_another_function() -> None:
    def api(name: str, *functions: str) -> Api:
        paths = {f"/{each}": {"get": {"operationId": each, "responses": {}}} for each in functions}
        listed = [Function(each, f"/{each}", "get", "") for each in functions]
        return Api(f"train/{name}", name, documentation={"paths": paths}, functions=listed)

    apis = [api("zoo", "pets_find", "find"), api("pets", "find")]

    async def used() -> tuple[list[str], list[str]]:
        async with Client(mcp_server(Simulator(apis))) as client:
            names = [tool.name for tool in (await client.list_tools()).tools]
            replies = [await client.call_tool(name, {}) for name in names]
            return names, [str(reply.content[0]) for reply in replies if not reply.is_error]

    names, replies = asyncio.run(used())
    assert names == ["pets_find", "zoo_find", "pets_find_2"] and len(replies) == 3


@pytest.mark.parametrize("definitions", [["A"], "A", {"A": []}, 1])
def test_definitions_that_are_none(definitions: Any) -> None:
    from mcp_types import Tool

    from toolalpaca_hf.agent.mcp import _api

    tool = Tool(
        name="find", input_schema={"type": "object", "$defs": definitions, "properties": {"a": {"type": "string"}}}
    )
    assert [function.name for function in _api("x", [tool]).functions] == ["find"]


def test_schemas_with_definitions_of_their_own() -> None:
    from mcp_types import Tool

    from toolalpaca_hf.agent.mcp import _api
    from toolalpaca_hf.openapi import document_of, tool_schema

    schema = {
        "type": "object",
        "properties": {"place": {"$ref": "#/$defs/Place"}},
        "required": ["place"],
        "$defs": {"Place": {"type": "object", "properties": {"lat": {"type": "number"}}, "required": ["lat"]}},
    }
    api = _api("Two", [Tool(name=name, input_schema=schema) for name in ("go", "go/there")])
    operations = Operations(document_of(api), {one.name: [one.path, one.method] for one in api.functions})
    for operation in operations.values():
        shown = tool_schema(operation)["function"]["parameters"]["properties"]["place"]
        assert shown["properties"]["lat"]["type"] == "number"


def answering(result: Any) -> Callable[..., Any]:
    """In place of a connection, one that knows a single call."""

    def call(method: str, name: str, arguments: dict[str, Any]) -> Any:
        assert (method, name, arguments) == ("call_tool", "find", {})
        return result

    return call


def test_answers_of_other_kinds_than_text() -> None:
    from mcp_types import CallToolResult, ImageContent, TextContent

    image, nothing = ImageContent(type="image", data="", mime_type="image/png"), TextContent(type="text", text="")
    for content, structured, said in (
        ([], {"high": "noon é"}, '{"high": "noon é"}'),
        ([TextContent(type="text", text="At noon.")], {"high": "noon"}, "At noon."),
        ([nothing], None, ""),
        ([], None, ""),
        ([image], None, "(image, not shown)"),
    ):
        tools = McpTools("a command")
        result = CallToolResult(content=content, structured_content=structured)
        tools._client = SimpleNamespace(call_tool="call_tool")  # type: ignore[assignment]  # no client of MCP's
        tools._portal = SimpleNamespace(call=answering(result))  # type: ignore[assignment]  # no portal of anyio's
        assert tools._exchange("POST", "http://mcp/find", {}, b"{}")[::2] == (200, said.encode())


def test_options_that_do_not_go_together(tmp_path: Path) -> None:
    for arguments in (["--apis", "sample", "--mcp", "x"], ["--mcp", "x"], []):
        found = CliRunner().invoke(app, ["run", "--model", "smollm2", "--out", str(tmp_path), *arguments])
        assert isinstance(found.exception, OptionError)
    from toolalpaca_hf.environments import serve_mcp

    with pytest.raises(OptionError):
        serve_mcp(SimulateConfig("sample", responder="llm"))


LISTS = """
import json, sys
for line in sys.stdin:
    asked = json.loads(line)
    if "id" in asked:
        version = asked.get("params", {}).get("protocolVersion")
        server = {"protocolVersion": version, "capabilities": {}, "serverInfo": {"name": "x", "version": "1"}}
        found = {"initialize": {"result": server}, "tools/list": {"result": {"tools": json.loads(sys.argv[1])}}}
        answer = found.get(asked["method"], {"error": {"code": -32601, "message": "no"}})
        print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], **answer}), flush=True)
"""


@pytest.mark.parametrize("tools", ["[]", "7"])
def test_a_list_of_tools_that_is_none(tools: str, tmp_path: Path) -> None:
    """One error, and no group of errors: the connection stands already when it is found."""
    (tmp_path / "server.py").write_text(LISTS)
    with pytest.raises(ToolAlpacaError) as caught, McpTools(f"{sys.executable} {tmp_path}/server.py {tools}", 20.0):
        pass
    assert caught.value.option == "--mcp"
