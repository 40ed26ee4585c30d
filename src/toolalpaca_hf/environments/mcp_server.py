"""Simulated APIs as the tools of an MCP server."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from typing import Any
from uuid import uuid4

import uvicorn
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from mcp_types import CallToolRequestParams, CallToolResult, ListToolsResult, PaginatedRequestParams, TextContent, Tool

from .. import __version__
from ..errors import OptionError
from ..formats import tools_of
from ..openapi import safe_names
from ..simulator import SESSION_HEADER, SimulateConfig, Simulator, listening_socket, read_apis, read_faults, socket_url
from .sources import calls_in_process


def mcp_server(simulator: Simulator) -> Server[Any]:
    """An MCP server whose tools are the functions of a simulator's APIs.

    A function's tool has its name; where two APIs have one of the same name, the API's slug and `_` stand before it.
    What an API answers with a status other than 2xx is a result with `isError`. Over stdio a process is a session of
    the simulator, over HTTP the header `X-Toolalpaca-Session` or MCP's own session id names it; clients that send
    neither, as the newest protocol has it, share one. Its responder may not wait for others.
    """
    calls = calls_in_process(simulator)
    offered = [
        (place, served, tool["function"], function.name)
        for place, served in enumerate(simulator.directory.apis)
        for tool, function in zip(tools_of(served.api)[1:], served.api.functions, strict=True)
    ]
    named = Counter(tool["name"] for _, _, tool, _ in offered)
    found: dict[str, tuple[int, str, Tool]] = {}
    for place, served, tool, function in offered:
        name = own = tool["name"]
        name = f"{served.slug}_{own}" if named[own] > 1 else own
        while name in found or (name != own and name in named):
            name += " "  # of no name: what is another function's gets a number
        about = f"{served.api.name}: {tool['description']}"
        found[name] = place, function, Tool(name=name, description=about, input_schema=tool["parameters"])
    safe = safe_names(list(found), 64, "_-")  # as providers take them
    tools = [tool.model_copy(update={"name": safe[tool.name]}) for *_, tool in found.values()]
    targets = {safe[name]: (place, function) for name, (place, function, _) in found.items()}
    default = uuid4().hex

    async def list_tools(context: Any, params: PaginatedRequestParams | None) -> ListToolsResult:
        return ListToolsResult(tools=tools)

    async def call_tool(context: Any, params: CallToolRequestParams) -> CallToolResult:
        if params.name not in targets:
            return _result(f"There is no tool {params.name[:100]!r}.", True)
        headers = getattr(context.request, "headers", {})
        session = headers.get(SESSION_HEADER) or headers.get("mcp-session-id") or default
        place, function = targets[params.name]
        observation = calls[place].call(function, json.dumps(params.arguments or {}), session[:200])
        calls[place].faults.pop(session[:200], None)
        answer = observation.removeprefix("Status Code: 200. Response: ")
        return _result(answer, not observation.startswith("Status Code: 2"))

    return Server("toolalpaca", version=__version__, on_list_tools=list_tools, on_call_tool=call_tool)


def _result(text: str, is_error: bool) -> CallToolResult:
    return CallToolResult(content=[TextContent(type="text", text=text)], is_error=is_error)


def serve_mcp(config: SimulateConfig, http: bool = False, announce: Callable[[str], None] = lambda text: None) -> None:
    """Serve the functions of a file's APIs as MCP tools until the client leaves, or until interrupted.

    With `http` it is streamable HTTP at `/mcp`, whose address `announce` receives, instead of stdin and stdout.
    """
    if config.responder != "schema" or config.store:
        raise OptionError("answers by the schema only", option="--mcp", fix="leave out --responder and --store")
    apis = read_apis(config.apis)
    server = mcp_server(Simulator(apis, "schema", None, config.seed, read_faults(config.faults, config.seed)))
    if not http:
        asyncio.run(_serve_stdio(server))
        return
    app = server.streamable_http_app(host=config.host)
    with closing(listening_socket(config.host, config.port)) as sock:
        announce(f"{len(apis)} APIs as MCP tools at {socket_url(sock, config.host)}/mcp, Ctrl-C ends it")
        uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False)).run(sockets=[sock])


async def _serve_stdio(server: Server[Any]) -> None:
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())
