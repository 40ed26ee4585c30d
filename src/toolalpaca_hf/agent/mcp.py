"""The tools of any MCP server as an API: they are listed once and called from the threads of rollouts."""

import json
import re
import shlex
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import httpx
from anyio.from_thread import start_blocking_portal
from mcp import Client, MCPError, StdioServerParameters

from ..errors import InputError, OptionError, ToolAlpacaError
from ..openapi import Allowlist, ApiClient, CallLimits, api_of, mapping
from ..schema import Api
from .toolbox import ApiCalls

MAX_PAGES = 100
_SERVER = "http://mcp"


class McpTools:
    """A connection to an MCP server, for the duration of a `with` block: its tools as an `api`, and `calls` of these.

    `server` is a URL that speaks streamable HTTP, or a command that speaks MCP on stdio; it is started without a shell
    and sees the environment that MCP's SDK passes on (`PATH`, `HOME`, ...); `env NAME=VALUE COMMAND` adds to it. One
    call takes at most so many `seconds`. A server that cannot be reached, or has no tools, is a [`ToolAlpacaError`].
    """

    def __init__(self, server: str, seconds: float = 60.0) -> None:
        self._target: Any = server
        if not server.lower().startswith(("http://", "https://")):
            try:
                command, *arguments = shlex.split(server)
            except ValueError as error:
                raise OptionError(f"no command ({error})", option="--mcp", fix="quote it as for a shell") from None
            self._target = StdioServerParameters(command=command, args=arguments)
        self._seconds, self._stack = seconds, ExitStack()

    def __enter__(self) -> "McpTools":
        try:
            self._portal = self._stack.enter_context(start_blocking_portal())
            client = Client(self._target, read_timeout_seconds=self._seconds)
            self._client = self._stack.enter_context(self._portal.wrap_async_context_manager(client))
            if not (tools := self._portal.call(self._list)):
                raise InputError("the MCP server has no tools", option="--mcp")
            info = self._client.server_info
            self.api = _api(info.name if info else "MCP server", tools)
        except Exception as error:  # a group of whatever the transport met
            with suppress(Exception):  # ended as if nothing was wrong: its task groups would wrap the error
                self._stack.close()
            while isinstance(error, BaseExceptionGroup):
                error = error.exceptions[0]
            if isinstance(error, ToolAlpacaError):
                raise error from None
            problem = f"the MCP server cannot be used ({type(error).__name__}: {str(error)[:200]})"
            raise ToolAlpacaError(problem, option="--mcp", fix="check the command or the URL") from None
        limits = CallLimits(total=self._seconds)
        sender = ApiClient(Allowlist(frozenset({"mcp"})), limits=limits, exchange=self._exchange)
        self.calls = ApiCalls(self.api, _SERVER, sender)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    async def _list(self) -> list[Any]:
        found: list[Any] = []
        cursor = None
        for _ in range(MAX_PAGES):
            page = await self._client.list_tools(cursor=cursor)
            found += page.tools
            if not (cursor := page.next_cursor):
                break
        return found

    def _exchange(
        self, method: str, url: str, headers: Mapping[str, str], content: bytes
    ) -> tuple[int, httpx.Headers, bytes]:
        """Call a tool in place of sending a request; an error of the tool has the status that it names, or 500."""
        name = unquote(urlsplit(url).path.removeprefix("/"))
        try:
            result = self._portal.call(self._client.call_tool, name, json.loads(content or b"{}"))
        except MCPError as error:
            return 500, httpx.Headers({"content-type": "text/plain"}), str(error).encode()
        except TimeoutError:
            raise httpx.ReadTimeout("the tool did not answer") from None
        parts = [part.text if part.type == "text" else f"({part.type}, not shown)" for part in result.content]
        if not parts and result.structured_content is not None:
            parts = [json.dumps(result.structured_content, ensure_ascii=False)]
        text, status = "\n".join(parts), 500 if result.is_error else 200
        if result.is_error and (named := re.match(r"Status Code: (\d{3})\. Response: ", text, re.ASCII)):
            status, text = int(named[1]), text[named.end() :]
        return status, httpx.Headers({"content-type": "text/plain; charset=utf-8"}), text.encode("utf-8", "replace")


def _api(name: str, tools: list[Any]) -> Api:
    """Tools as an API: an operation each, whose body is the tool's input."""
    paths: dict[str, Any] = {}
    shared: dict[str, Any] = {}
    for number, tool in enumerate(tools):
        # References are to the schema's own root, which is the document's here.
        text, root = json.dumps(tool.input_schema), f'"#/components/schemas/tool{number}.'
        schema = json.loads(text.replace('"#/$defs/', root).replace('"#/definitions/', root))
        for key in ("$defs", "definitions"):
            shared |= {f"tool{number}.{own}": part for own, part in mapping(schema.pop(key, None)).items()}
        body = {"required": bool(schema.get("required")), "content": {"application/json": {"schema": schema}}}
        paths[f"/{quote(tool.name, safe='')}"] = {
            "post": {
                "operationId": tool.name,
                "summary": tool.description or tool.title or tool.name,
                "requestBody": body,
                "responses": {"200": {"description": "The tool's answer."}},
            }
        }
    document = {"openapi": "3.1.0", "info": {"title": name, "version": "1"}, "servers": [{"url": _SERVER}]}
    return api_of({**document, "paths": paths, "components": {"schemas": shared}}, "mcp")
