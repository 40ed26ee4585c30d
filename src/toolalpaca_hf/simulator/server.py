"""Runs the simulator: as a server, in a thread for an agent or a test, or in this process without sockets."""

import errno
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from starlette.requests import Request as HttpRequest

from ..data import read_file
from ..errors import InputError, OptionError, ToolAlpacaError
from ..openapi import HEADERS, Exchange, build_request, document_in
from ..schema import Api
from .app import BODY_KEY, Simulator, create_app, header_fields
from .entities import Entities
from .faults import read_faults
from .generate import Generator
from .operations import SimulatedApi

IN_PROCESS = "http://simulator"  # the base URL of a simulator in this process; an API is at `/SLUG`

# What httpx sends of itself: a document may declare one of these as a parameter.
_CLIENT = {name.lower(): value for name, value in HEADERS.items()} | {"host": "simulator"}
_PLAIN = re.compile(r"/[A-Za-z0-9._~!$&'()*+,;=:@%/-]*(\?[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*)?")


@dataclass(frozen=True)
class SimulateConfig:
    """Arguments of `toolalpaca simulate`; see [`Simulator`]. An LLM and its server come from the environment."""

    apis: str  # a file in the raw layout, such as `eval_simulated.json`, an OpenAPI document, or `sample`
    host: str = "127.0.0.1"
    port: int = 5678
    responder: str = "schema"
    store: str | None = None
    seed: int = 0
    faults: str | None = None  # a rate or a file; see `read_faults`


def read_apis(path: str | Path) -> list[Api]:
    """Read the APIs of a file in the raw layout or of an OpenAPI document; `sample` has the embedded ones."""
    if str(path) != "sample" and (api := document_in(path)) is not None:
        return [api]
    split, corpus = read_file(path)
    if not corpus.apis[split]:
        fix = f"see what `toolalpaca apis show {path}` says of it"
        raise InputError("no API in it can be read", file=path, fix=fix)
    return corpus.apis[split]


def listening_socket(host: str, port: int) -> socket.socket:
    """Listen before the server starts, to report a port in use in time."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        both = family == socket.AF_INET6  # `::` listens on addresses of version 4 as well
        return socket.create_server((host, port), family=family, backlog=2048, dualstack_ipv6=both)
    except (socket.gaierror, ValueError) as error:  # a name that is none, or addresses that this machine lacks
        raise OptionError(f"cannot listen on {host} ({error})", option="--host", fix="choose another") from None
    except (OSError, OverflowError) as error:
        in_use = getattr(error, "errno", None) in (errno.EADDRINUSE, 10048)
        problem = f"port {port} of {host} {'is in use' if in_use else f'cannot be used ({error})'}"
        raise OptionError(problem, option="--port", fix="choose another") from None


def socket_url(sock: socket.socket, host: str) -> str:
    return f"http://{f'[{host}]' if ':' in host else host}:{sock.getsockname()[1]}"


def serve(config: SimulateConfig, announce: Callable[[str], None] = lambda text: None) -> None:
    """Serve the APIs of a file until interrupted; a [`ToolAlpacaError`] if the configuration cannot be used.

    `announce` receives a text with the address, the number of APIs, and a call to try.
    """
    apis = read_apis(config.apis)
    app = create_app(apis, config.responder, config.store, config.seed, read_faults(config.faults, config.seed))
    with closing(listening_socket(config.host, config.port)) as sock:
        url = socket_url(sock, config.host)
        command = curl_example(apis, url, config.seed)
        announce(f"{len(apis)} APIs at {url}; {url}/health lists them, Ctrl-C ends it. Try:\n  {command}")
        uvicorn.Server(_uvicorn_config(app)).run(sockets=[sock])


def curl_example(apis: Sequence[Api], url: str, seed: int = 0) -> str:
    """A command line that calls a simulator, tested beforehand; values come from the document if possible."""
    for made_up in (False, True):
        for api in apis[:5]:
            # Under its own name an API has the same path wherever it is in the file.
            simulator = Simulator([api], seed=seed)
            for path in _get_paths(simulator.directory.apis[0], seed, made_up):
                if in_process(simulator)("GET", IN_PROCESS + path, {}, b"")[0] == 200:
                    return "curl '{}{}'".format(url, path.replace("'", "%27"))
    return f"curl '{url}/health'"


def _get_paths(api: SimulatedApi, seed: int, made_up: bool) -> Iterator[str]:
    """GET requests of an API as simulator paths; with `made_up`, those that need values the document lacks."""
    entities, base = Entities(api, seed), f"{IN_PROCESS}/{api.slug}"
    for operation in api.operations:
        required = [parameter for parameter in operation.parameters if parameter.required]
        values = {parameter.name: next(iter(operation.shown(parameter)), None) for parameter in required}
        missing = [parameter for parameter in required if values[parameter.name] is None]
        if operation.method != "get" or operation.declared.security or bool(missing) != made_up:
            continue
        kind = entities.kinds(operation)
        for parameter in missing:
            closed = kind.item == parameter.name and entities.closed(kind.collection) is not None
            ids = entities.seeded_ids(kind.collection, "/".join(kind.collection)) if closed else []
            make = Generator(parameter.schema)
            values[parameter.name] = ids[0] if ids else make(entities.rng.child(parameter.name), name=parameter.name)
        with suppress(ToolAlpacaError, TypeError):
            request = build_request(api.document, operation.declared, json.dumps(values), base)
            yield request.url.removeprefix(IN_PROCESS)


def _uvicorn_config(app: Any, level: str = "info") -> uvicorn.Config:
    return uvicorn.Config(app, log_level=level, access_log=False, lifespan="on", timeout_graceful_shutdown=5)


@contextmanager
def running(apis: Sequence[Api], *args: Any, port: int = 0, **kwargs: Any) -> Iterator[str]:
    """Run the simulator in a thread for the duration of a `with` block; the other arguments are [`Simulator`]'s.

    It listens on `port`, or on a free one. Yields the base URL, `http://127.0.0.1:PORT`; an API is at `/SLUG`.

    Example:

    ```python
    >>> import httpx
    >>> with running([Api("train/cats", "Cats")]) as url:
    ...     httpx.get(f"{url}/health").json()["apis"]
    [{'name': 'Cats', 'path': '/cats'}]
    ```
    """
    with closing(listening_socket("127.0.0.1", port)) as sock:
        server = uvicorn.Server(_uvicorn_config(create_app(apis, *args, **kwargs), "error"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]}, name="simulator", daemon=True)
        thread.start()
        try:
            while not server.started:
                if not thread.is_alive():
                    raise ToolAlpacaError("the simulator did not start", fix="run `toolalpaca simulate` to see why")
                time.sleep(0.005)
            yield socket_url(sock, "127.0.0.1")
        finally:
            server.should_exit = True
            thread.join(timeout=10)


def in_process(simulator: Simulator) -> Exchange:
    """Answer an [`ApiClient`]'s requests in this process: no sockets, the same requests and the same answers.

    The simulator's responder may not wait for others, as `"schema"` does not.

    Example:

    ```python
    >>> from toolalpaca_hf.openapi import Allowlist, ApiClient, ApiRequest
    >>> exchange = in_process(Simulator([Api("train/cats", "Cats")]))
    >>> client = ApiClient(Allowlist(frozenset({"simulator"})), exchange=exchange)
    >>> client.send(ApiRequest("GET", "http://simulator/cats/1")).observation
    'Status Code: 404. Response: {"error":"Cats has no path /1."}'
    ```
    """

    def exchange(
        method: str, url: str, headers: Mapping[str, str], content: bytes
    ) -> tuple[int, Mapping[str, str], bytes]:
        rest = url.removeprefix(IN_PROCESS)
        # What is written as it is sent needs no parser.
        path, _, query = (rest.encode() if _PLAIN.fullmatch(rest) else httpx.URL(url).raw_path).partition(b"?")
        sent = _CLIENT | {name.lower(): value for name, value in headers.items()}
        sent |= {"content-length": str(len(content))} if content else {}
        scope = {"type": "http", "scheme": "http", "server": ("simulator", 80), "method": method, BODY_KEY: content}
        scope |= {"path": path.decode("latin-1"), "raw_path": path, "query_string": query}
        scope["headers"] = [(name.encode("latin-1"), value.encode()) for name, value in sent.items()]
        answering = simulator.respond(HttpRequest(scope))
        try:
            answering.send(None)
        except StopIteration as done:  # it waited for nothing
            response = done.value
        else:
            answering.close()
            raise OptionError("a responder that waits cannot answer in process", option="responder", fix="pass schema")
        body = b"" if method == "HEAD" or response.status in (204, 205, 304) else response.body
        fields = {name.decode(): value.decode("latin-1") for name, value in header_fields(response)}
        return response.status, fields, body

    return exchange
