"""The simulator's web application: routes, sessions and the store around a responder."""

import asyncio
import json
import re
from collections.abc import Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, unquote_plus

from fastapi import FastAPI, Response
from fastapi.responses import JSONResponse
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.types import Receive, Scope, Send

from ..errors import ToolAlpacaError
from ..schema import Api
from .answers import FALLBACK_HEADER, RESPONDER_HEADER, Answer, Call, Responder, dump
from .arguments import Refused, Request, parse_body
from .manifest import manifest, served_document
from .responder_replay import UNRECORDED_HEADER, ReplayResponder
from .responder_schema import SchemaResponder
from .routes import Directory, SimulatedApi
from .sessions import SESSION_HEADER, Sessions
from .store import Store

MAX_BODY = 2**20
"""The longest request body, in bytes; a longer one is answered with 413."""

MAX_TARGET = 2**16
SESSION_KEY = SESSION_HEADER.lower().encode()
RESPONDERS = ("schema", "llm", "replay")


class Simulator:
    """Answers every operation of some APIs; an ASGI application.

    Args:
        apis (`Sequence[Api]`): The APIs.
        responder (`str` or [`Responder`]): `schema`, `llm`, `replay`, `replay:NAME`, or a function that answers calls.
        store ([`Store`], *optional*): Where answers are recorded.
        seed (`int`): Seed of the `schema` responder.
    """

    def __init__(self, apis: Sequence[Api], responder: str | Responder, store: Store | None, seed: int) -> None:
        self.directory = Directory(apis)
        self.sessions = Sessions()
        self.store = store
        self.responder = _responder(responder, store, seed)
        self.name = getattr(self.responder, "name", type(self.responder).__name__)
        self.replaying = isinstance(self.responder, ReplayResponder)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await send({"type": "websocket.close"})
            return
        answer, headers = await self._answer(HttpRequest(scope, receive))
        fields = [(b"content-length", str(len(answer.body)).encode())]
        if answer.media:
            charset = "; charset=utf-8" if answer.media.startswith("text/") and "charset" not in answer.media else ""
            fields.append((b"content-type", (answer.media + charset).encode("latin-1", "replace")))
        if answer.status in (204, 205, 304):
            fields = []
        fields += [(name.lower().encode(), _header(value)) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": answer.status, "headers": fields})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else answer.body})

    async def _answer(self, http: HttpRequest) -> tuple[Answer, dict[str, str]]:
        try:
            return await self._routed(http)
        except Refused as refused:
            return _said(refused.status, str(refused)), {}
        except ToolAlpacaError as error:  # the store: nothing is wrong with the request
            return _said(503, str(error)), {}
        except ClientDisconnect:
            return _said(400, "The request was cut off."), {}

    async def _routed(self, http: HttpRequest) -> tuple[Answer, dict[str, str]]:
        scope = http.scope
        raw = scope.get("raw_path") or quote(scope["path"]).encode()
        if len(raw) + len(scope["query_string"]) > MAX_TARGET:
            raise Refused("The URL is too long.", 414)
        # Split before decoding, so that an encoded slash stays inside its name.
        path = raw.decode("latin-1").split("?")[0]
        segments = [unquote(part, errors="replace") for part in path.lstrip("/").split("/")]
        found = self.directory.find(segments)
        if found is None:
            raise Refused(f"There is no API at /{'/'.join(segments)[:200]}; /health lists those that there are.", 404)
        api, rest = found
        slash = len(rest) > 0 and rest[-1] == ""
        below = rest[:-1] if slash else rest
        method = scope["method"].lower()
        raw_query = scope["query_string"].decode("latin-1")
        query = parse_qsl(raw_query, keep_blank_values=True, errors="replace")
        routed = api.find(below, method, query)
        if routed is None or (not below and not slash):
            special = _special(api, below, str(http.base_url))
            if special is not None and scope["method"] in ("GET", "HEAD"):
                return Answer(200, dump(special)), {}
            if routed is None:
                raise Refused(f"{api.api.name} has no path /{'/'.join(below)[:200]}.", 404)
        endpoint, values, methods = routed
        if endpoint is None:
            allowed = ", ".join(sorted(name.upper() for name in methods))
            reason = f"/{'/'.join(below)[:200]} of {api.api.name} does not take {method.upper()[:20]}, but {allowed}."
            return _said(405, reason), {"Allow": allowed}
        headers = {name.decode("latin-1"): _header_text(value) for name, value in scope["headers"]}
        raw_body = await _body(http)
        kind = headers.get("content-type", "")
        if kind.startswith("multipart/form-data") and raw_body:
            body = await _multipart(http, raw_body)
        else:
            body = parse_body(raw_body, kind, endpoint) if raw_body else None
        raw_parts = path.lstrip("/").split("/")[len(segments) - len(rest) :]
        raw_values = dict(values)
        for part, sent in zip(endpoint.segments, raw_parts, strict=False):
            if part.startswith("{") and part.count("{") == 1 and part.endswith("}"):
                raw_values[part[1:-1]] = sent
        pairs = (part.partition("=") for part in raw_query.split("&") if part)
        raw_pairs = [(unquote_plus(name, errors="replace"), value) for name, _, value in pairs]
        request = Request(
            endpoint.method,
            "/" + "/".join(below),
            values,
            query,
            headers,
            body,
            bool(raw_body),
            media=kind.partition(";")[0].strip().lower(),
            raw_values=raw_values,
            raw_query=raw_pairs,
        )
        return await self._called(api, endpoint, request, scope)

    async def _called(
        self, api: SimulatedApi, endpoint: Any, request: Request, scope: Scope
    ) -> tuple[Answer, dict[str, str]]:
        name = next((value for key, value in scope["headers"] if key == SESSION_KEY), b"").decode("latin-1")[:200]
        session = self.sessions.get(name, api.slug)
        async with session.lock:
            before, size = session.digest, session.size
            call = Call(api, endpoint, request, session)
            answer = await self.responder(call)
            self.sessions.grew(name, api.slug, session.size - size)
            if self.store is not None and not self.replaying and self.sessions.keeping:
                # In a thread: a store that is locked is not to hold up other sessions.
                await asyncio.to_thread(self.store.put, call, before, self.name, answer)
        if self.replaying and answer.fallback.startswith("unrecorded"):
            return answer, {RESPONDER_HEADER: self.name, UNRECORDED_HEADER: "1"}
        headers = {RESPONDER_HEADER: self.name}
        return answer, headers | ({FALLBACK_HEADER: answer.fallback} if answer.fallback else {})


def _responder(responder: str | Responder, store: Store | None, seed: int) -> Responder:
    if not isinstance(responder, str):
        return responder
    kind, _, name = responder.partition(":")
    if kind == "replay":
        if store is None:
            raise ToolAlpacaError("replay needs recorded answers; name their file with --store")
        return ReplayResponder(store, name or None)
    if responder == "schema":
        return SchemaResponder(seed)
    if responder == "llm":
        from .responder_llm import LLMResponder  # openai takes half a second to import

        return LLMResponder(store=store, seed=seed)
    raise ToolAlpacaError(f"unknown responder {responder!r}; choose one of {', '.join(RESPONDERS)}")


def _header_text(value: bytes) -> str:
    """A header's value: UTF-8, as most clients write it, else Latin-1."""
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _header(text: str) -> bytes:
    """A text as a header's value: one line of ASCII."""
    return re.sub(r"[^ -~]+", " ", text)[:500].strip().encode("ascii")


def _said(status: int, reason: str) -> Answer:
    return Answer(status, dump({"error": reason}))


def _special(api: SimulatedApi, below: tuple[str, ...], base: str) -> Any:
    """What an API has beside its operations."""
    base = f"{base.rstrip('/')}/{api.slug}"
    if below in ((), (".well-known", "ai-plugin.json")):
        return manifest(api, base)
    return served_document(api, base) if below == ("openapi.json",) else None


async def _body(http: HttpRequest) -> bytes:
    """The request's body.

    Raises:
        Refused: It is longer than `MAX_BODY`; what came of it is dropped.
    """
    length = http.headers.get("content-length", "0")
    too_long = length.isdecimal() and (len(length) > 12 or int(length) > MAX_BODY)
    parts: list[bytes] = []
    size = 0
    if not too_long:
        async for part in http.stream():
            size += len(part)
            if size > MAX_BODY:
                too_long = True
                break
            parts.append(part)
    if too_long:
        raise Refused(f"The body is longer than {MAX_BODY} bytes.", 413)
    return b"".join(parts)


async def _multipart(http: HttpRequest, raw: bytes) -> dict[str, Any]:
    """The fields of a multipart form; of a file, its name and its text."""

    async def again() -> dict[str, Any]:
        return {"type": "http.request", "body": raw, "more_body": False}

    try:
        form = await HttpRequest(http.scope, again).form(max_part_size=MAX_BODY)
    except Exception as error:  # the parser has no one base class of its own
        raise Refused(f"The body is no multipart form: {str(error)[:200]}.") from None
    found: dict[str, Any] = {}
    for name, value in form.multi_items():
        text = value if isinstance(value, str) else (await value.read()).decode("utf-8", "replace")
        held = found.get(name)
        found[name] = text if name not in found else [*(held if isinstance(held, list) else [held]), text]
    await form.close()
    return json.loads(json.dumps(found).encode("utf-8", "replace"))


def create_app(
    apis: Sequence[Api], responder: str | Responder = "schema", store: str | Path | None = None, seed: int = 0
) -> FastAPI:
    """Make the simulator as an application, to be served or embedded.

    Args:
        apis (`Sequence[Api]`):
            The APIs to simulate.
        responder (`str` or [`Responder`], *optional*, defaults to `"schema"`):
            `schema`, `llm` (see [`LLMResponder`]), `replay`, `replay:NAME` (of several recorded responders, that one), or
            any function that answers a [`Call`].
        store (`str` or `Path`, *optional*):
            SQLite file in which every answer is recorded, or from which it is replayed.
        seed (`int`, *optional*, defaults to 0):
            Seed of the `schema` responder's world.

    Returns:
        `FastAPI`: The application; `app.state.simulator` is the [`Simulator`].

    Raises:
        [`ToolAlpacaError`]: The responder is unknown, or the store can not be used or holds nothing to replay.

    Example:

    ```python
    >>> from fastapi.testclient import TestClient
    >>> document = {"paths": {"/cats/{catId}": {"get": {"responses": {"200": {"content": {"application/json": {
    ...     "schema": {"type": "object", "properties": {"catId": {"type": "integer"}, "city": {"type": "string"}}}}}}}}}}}
    >>> app = create_app([Api("train/cats", "Cats", documentation=document)])
    >>> TestClient(app).get("/cats/cats/7").json()
    {'catId': 7, 'city': 'Kyoto'}
    ```
    """
    if isinstance(responder, str) and responder.partition(":")[0] not in RESPONDERS:
        raise ToolAlpacaError(f"unknown responder {responder!r}; choose one of {', '.join(RESPONDERS)}")
    replays = isinstance(responder, str) and responder.startswith("replay")
    opened = None if store is None else Store(store, create=not replays)
    simulator = Simulator(apis, responder, opened, seed)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> Any:
        yield
        if opened is not None:
            opened.close()

    # An API may well be called docs.
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, lifespan=lifespan, redirect_slashes=False)
    app.state.simulator = simulator
    _add_own_routes(app, simulator)
    # Whatever is no route of its own; a mount would not take every path, such as one with a line break in it.
    app.router.default = simulator
    return app


def _add_own_routes(app: FastAPI, simulator: Simulator) -> None:
    """Health, and the routes by which upstream's simulator keeps and forgets what was asked."""

    @app.get("/health")
    async def health() -> dict[str, Any]:
        return {"status": "ok", "responder": simulator.name, "apis": simulator.directory.listing()}

    cache = "/__simulator_cache__"

    @app.api_route(f"{cache}/open", methods=["GET", "POST"])
    async def open_cache() -> dict[str, Any]:
        """From now on sessions keep their state, and answers are recorded. This is so from the start."""
        simulator.sessions.keeping = True
        return {"cache": "open"}

    @app.api_route(f"{cache}/close", methods=["GET", "POST"])
    async def close_cache() -> dict[str, Any]:
        """From now on each request is answered as a session's first, and nothing is kept or recorded."""
        simulator.sessions.keeping = False
        return {"cache": "closed"}

    @app.api_route(cache + "/clear/{api:path}", methods=["GET", "POST", "DELETE"])
    async def clear_cache(api: str, http: HttpRequest) -> Response:
        """Forget the state of an API: in the session that the header names, else in all. Recorded answers stay."""
        found = simulator.directory.find([api]) or simulator.directory.find(api.split("/"))
        if found is None:
            return JSONResponse({"error": f"There is no API {api[:200]}; /health lists those that there are."}, 404)
        cleared = simulator.sessions.clear(found[0].slug, http.headers.get(SESSION_HEADER))
        return JSONResponse({"cleared": found[0].slug, "sessions": cleared})
