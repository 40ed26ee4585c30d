"""The simulator's web application: routes, sessions and the answer store."""

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, unquote

from fastapi import FastAPI, Response
from fastapi.responses import JSONResponse
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.types import Receive, Scope, Send

from ..errors import OptionError, ToolAlpacaError
from ..openapi import add_value, map_holders, mapping
from ..schema import Api
from .faults import FAULT_HEADER, REFUSALS, FaultPlan, altered, refused
from .operations import Directory, SimulatedApi, SimulatedOperation
from .requests import FORM, IncomingRequest, RequestRefused, parse_body, raw_pairs
from .responder_llm import chat_responder
from .responders import AnswerStore, ReplayResponder, SchemaResponder
from .responses import Responder, SimulatedCall, SimulatedResponse, dump_json
from .state import SESSION_HEADER, Session, Sessions

RESPONDER_HEADER = "X-Toolalpaca-Responder"  # of a response: who answered
FALLBACK_HEADER = "X-Toolalpaca-Fallback"  # why the `schema` responder answered in place of the model
UNRECORDED_HEADER = "X-Toolalpaca-Unrecorded"  # the request is not among the recorded ones
MAX_BODY = 2**20  # bytes; a longer request is answered with 413
MAX_TARGET = 2**16  # the longest URL, and the longest headers

SESSION_KEY = SESSION_HEADER.lower().encode()
RESPONDERS = ("schema", "llm", "replay")
BODY_KEY = "toolalpaca.body"  # where the scope of a request in this process has its body


class Simulator:
    """An ASGI application that answers every operation of some APIs; see [`create_app`].

    Args:
        responder (`str` or [`Responder`], *optional*, defaults to `"schema"`): `schema`, `llm` (see
            [`chat_responder`]), `replay`, `replay:NAME` (one of several recorded responders), or a function that
            answers a [`SimulatedCall`].
        store (`str` or `Path`, *optional*): SQLite file to record answers in, or to replay them from.
        seed (`int`, *optional*): Seed of the `schema` responder's items.
        faults ([`FaultPlan`], *optional*): When and how it fails. Answers with faults are not recorded.

    Raises:
        [`ToolAlpacaError`]: The responder is unknown, or the store cannot be used or has nothing to replay.
    """

    def __init__(
        self,
        apis: Sequence[Api],
        responder: str | Responder = "schema",
        store: str | Path | None = None,
        seed: int = 0,
        faults: FaultPlan | None = None,
    ) -> None:
        kind, _, name = responder.partition(":") if isinstance(responder, str) else ("", "", "")
        if isinstance(responder, str) and responder not in RESPONDERS and kind != "replay":
            fix = f"choose one of {', '.join(RESPONDERS)}"
            raise OptionError(f"there is no responder {responder!r}", option="--responder", fix=fix)
        self.store = None if store is None else AnswerStore(store, create=kind != "replay")
        self.directory, self.sessions, self.faults = Directory(apis), Sessions(), faults
        if faults is not None and apis:
            faults.check([found.slug for found in self.directory.apis])
        if not isinstance(responder, str):
            self.responder = responder
        elif kind == "replay":
            if self.store is None:
                raise OptionError("replay needs recorded answers", option="--store", fix="name their file")
            self.responder = ReplayResponder(self.store, name or None)
        else:
            self.responder = chat_responder(store=self.store, seed=seed) if kind == "llm" else SchemaResponder(seed)
        self.name = getattr(self.responder, "name", type(self.responder).__name__)
        self.replaying = isinstance(self.responder, ReplayResponder)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await send({"type": "websocket.close"})
            return
        response = await self.respond(HttpRequest(scope, receive))
        await send({"type": "http.response.start", "status": response.status, "headers": header_fields(response)})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else response.body})

    async def respond(self, http: HttpRequest) -> SimulatedResponse:
        try:
            return await self._route(http)
        except RequestRefused as refused:
            return _error(refused.status, str(refused))
        except ToolAlpacaError as error:  # the store: nothing is wrong with the request
            return _error(503, str(error))
        except ClientDisconnect:
            return _error(400, "The request was cut off.")
        except RecursionError:
            return _error(400, "The request is nested too deep.")

    async def _route(self, http: HttpRequest) -> SimulatedResponse:
        scope = http.scope
        raw_query = scope["query_string"].decode("latin-1")
        raw = scope.get("raw_path") or quote(scope["path"]).encode()
        if len(raw) + len(raw_query) > MAX_TARGET:
            raise RequestRefused("The URL is too long.", 414)
        if sum(len(name) + len(value) for name, value in scope["headers"]) > MAX_TARGET:
            raise RequestRefused("The headers are too long.", 431)
        # Split before decoding, so that an encoded slash stays inside its segment.
        raw_parts = tuple(raw.decode("latin-1").split("?")[0].lstrip("/").split("/"))
        segments = [unquote(part, errors="replace") for part in raw_parts]
        found = self.directory.find(segments)
        if found is None:
            named = "/".join(segments)[:200]
            raise RequestRefused(f"There is no API at /{named}; /health lists those that there are.", 404)
        api, rest = found
        slash = rest[-1:] == ("",)
        below = rest[:-1] if slash else rest
        path, method = "/".join(below), scope["method"].lower()
        query = parse_qsl(raw_query, keep_blank_values=True, errors="replace")
        routed = api.find(raw_parts[len(segments) - len(rest) :][: len(below)], method, query, slash)
        if routed is None or (not below and not slash):
            about = _about(api, below, str(http.base_url))
            if about is not None and method in ("get", "head"):
                return SimulatedResponse(200, dump_json(about))
            if routed is None:
                raise RequestRefused(f"{api.api.name} has no path /{path[:200]}.", 404)
        operation, values, methods = routed
        if operation is None:
            allowed = ", ".join(sorted(name.upper() for name in methods))
            reason = f"/{path[:200]} of {api.api.name} does not take {method.upper()[:20]}, but {allowed}."
            return replace(_error(405, reason), headers={"Allow": allowed})
        headers = {name.decode("latin-1"): _header_text(value) for name, value in scope["headers"]}
        raw_body, kind = await _body(http), headers.get("content-type", "")
        media = kind.partition(";")[0].strip().lower()
        if media.startswith("multipart/") and raw_body:
            body = await _multipart(http, raw_body, kind)
        else:
            body = parse_body(raw_body, media, operation) if raw_body else None
        form = raw_pairs(raw_body.decode("utf-8", "replace")) if media == FORM else []
        asked = (operation.method, f"/{path}", query, headers, body, bool(raw_body), media, values)
        request = IncomingRequest(*asked, raw_query=raw_pairs(raw_query), raw_form=form)
        return await self._call(api, operation, request, scope)

    async def _call(
        self, api: SimulatedApi, operation: SimulatedOperation, request: IncomingRequest, scope: Scope
    ) -> SimulatedResponse:
        name = next((value for key, value in scope["headers"] if key == SESSION_KEY), b"").decode("latin-1")[:200]
        session = self.sessions.get(name, api.slug)
        async with session.lock:
            before, size = session.digest, session.size
            call = SimulatedCall(api, operation, request, session)
            failed = await self._fail(self.faults, call) if self.faults is not None else None
            response = failed or await self.responder(call)
            self.sessions.grew(name, api.slug, session.size - size)
            if failed is None and self.store is not None and not self.replaying and self.sessions.keeping:
                # In a thread: a locked store must not block other sessions.
                await asyncio.to_thread(self.store.put, call, before, self.name, response)
        headers = {RESPONDER_HEADER: self.name} | response.headers
        if failed is None and response.fallback:
            headers |= {UNRECORDED_HEADER: "1"} if self.replaying else {FALLBACK_HEADER: response.fallback}
        return replace(response, headers=headers)

    async def _fail(self, faults: FaultPlan, call: SimulatedCall) -> SimulatedResponse | None:
        """The response of a request that is to fail; `None` if it is not, and is still to be answered."""
        kinds, rng = faults.draw(call, call.session.requests)
        call.session.requests += 1
        answer = changed = None
        for kind in kinds:
            if kind in REFUSALS:
                changed = refused(call, kind) if answer is None else None  # else the request has been carried out
            elif kind != "stale":
                answer = answer or await self.responder(call)
                changed = altered(answer, kind, rng)
            elif call.request.method == "get" and call.session.records:
                old = await self.responder(replace(call, session=Session()))
                answer = answer or await self.responder(call)
                changed = old if old != answer else None
            if changed is not None:
                return replace(changed, headers=changed.headers | {FAULT_HEADER: kind})
        return answer

    def keep(self, keeping: bool) -> dict[str, str]:
        """Keep the state of sessions and record answers, or answer each request as a session's first."""
        self.sessions.keeping = keeping
        return {"cache": "open" if keeping else "closed"}


def header_fields(response: SimulatedResponse) -> list[tuple[bytes, bytes]]:
    fields = []
    if response.status not in (204, 205, 304):
        fields.append((b"content-length", str(len(response.body)).encode()))
        if response.media:
            text = response.media.startswith("text/") and "charset" not in response.media
            media = response.media + ("; charset=utf-8" if text else "")
            fields.append((b"content-type", media.encode("latin-1", "replace")))
    for name, value in response.headers.items():
        fields.append((name.lower().encode(), re.sub(r"[^ -~]+", " ", value)[:500].strip().encode("ascii")))
    return fields


def _header_text(value: bytes) -> str:
    """Decode a header's value: UTF-8, as most clients write it, else Latin-1."""
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _error(status: int, reason: str) -> SimulatedResponse:
    return SimulatedResponse(status, dump_json({"error": reason}))


def _about(api: SimulatedApi, below: tuple[str, ...], base: str) -> dict[str, Any] | None:
    """An API's plugin manifest, or its document with this server in it."""
    base = f"{base.rstrip('/')}/{api.slug}"
    if below == ("openapi.json",):

        def without_servers(holder: Any) -> Any:
            return {key: holder[key] for key in holder if key != "servers"} if isinstance(holder, dict) else holder

        # As published, except for its servers: those of a path or an operation would lead elsewhere.
        return map_holders(api.document, without_servers) | {"servers": [{"url": base}]}
    if below not in ((), (".well-known", "ai-plugin.json")):
        return None
    about = api.api.introduction or api.api.description or mapping(api.document.get("info")).get("description") or ""
    described = {"description_for_human": api.api.description or str(about), "description_for_model": str(about)}
    served = {"type": "openapi", "url": f"{base}/openapi.json", "is_user_authenticated": False}
    named = {"schema_version": "v1", "name_for_human": api.api.name, "name_for_model": api.slug.replace("-", "_")}
    rest = {"logo_url": "", "contact_email": "", "legal_info_url": api.api.link}
    return {**named, **described, "auth": {"type": "none"}, "api": served, **rest}


async def _body(http: HttpRequest) -> bytes:
    """The request's body; raises [`RequestRefused`] if it is longer than `MAX_BODY`."""
    body = http.scope.get(BODY_KEY)
    if body is None:
        body = bytearray()
        async for part in http.stream():
            body += part
            if len(body) > MAX_BODY:
                break
    if len(body) > MAX_BODY:
        raise RequestRefused(f"The body is longer than {MAX_BODY} bytes.", 413)
    return bytes(body)


async def _multipart(http: HttpRequest, raw: bytes, kind: str) -> dict[str, Any]:
    async def again() -> dict[str, Any]:
        return {"type": "http.request", "body": raw, "more_body": False}

    try:
        form_data = re.sub(r"^[^;]*", "multipart/form-data", kind).encode("latin-1", "replace")  # all have its parts
        scope = dict(http.scope) | {"headers": [(b"content-type", form_data)]}
        form = await HttpRequest(scope, again).form(max_part_size=MAX_BODY)
    except Exception as error:  # the parser has no one base class of its own
        raise RequestRefused(f"The body is no multipart form: {str(error)[:200]}.") from None
    found: dict[str, Any] = {}
    for name, value in form.multi_items():
        add_value(found, name, value if isinstance(value, str) else (await value.read()).decode("utf-8", "replace"))
    await form.close()
    return found


def create_app(apis: Sequence[Api], *args: Any, **kwargs: Any) -> FastAPI:
    """Create the simulator as an ASGI application, to serve or embed; the arguments are those of [`Simulator`].

    Example:

    ```python
    >>> from fastapi.testclient import TestClient
    >>> cat = {"type": "object", "properties": {"catId": {"type": "integer"}, "city": {"type": "string"}}}
    >>> ok = {"200": {"content": {"application/json": {"schema": cat}}}}
    >>> document = {"paths": {"/cats/{catId}": {"get": {"responses": ok}}}}
    >>> app = create_app([Api("train/cats", "Cats", documentation=document)])
    >>> TestClient(app).get("/cats/cats/7").json()
    {'catId': 7, 'city': 'Kyoto'}
    ```
    """
    simulator = Simulator(apis, *args, **kwargs)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        if simulator.store is not None:
            simulator.store.close()

    # An API may be called docs.
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, lifespan=lifespan, redirect_slashes=False)
    # All other paths than these; a mount would not match every path, such as one with a line break.
    app.router.default = simulator
    cache = "/__simulator_cache__"  # upstream's routes, which control whether state is kept
    for name, keeping in (("open", True), ("close", False)):
        app.add_api_route(f"{cache}/{name}", partial(simulator.keep, keeping), methods=["GET", "POST"])

    @app.get("/health")
    async def health() -> dict[str, Any]:
        return {"status": "ok", "responder": simulator.name, "apis": simulator.directory.listing()}

    @app.api_route(cache + "/clear/{api:path}", methods=["GET", "POST", "DELETE"])
    async def clear_cache(api: str, http: HttpRequest) -> Response:
        """Forget an API's state in the header's session, or in all. Recorded answers stay."""
        found = simulator.directory.find([api]) or simulator.directory.find(api.split("/"))
        if found is None:
            return JSONResponse({"error": f"There is no API {api[:200]}; /health lists those that there are."}, 404)
        cleared = simulator.sessions.clear(found[0].slug, http.headers.get(SESSION_HEADER))
        return JSONResponse({"cleared": found[0].slug, "sessions": cleared})

    return app
