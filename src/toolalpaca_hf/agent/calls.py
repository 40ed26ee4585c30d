"""Calls of one API, against the simulator or its own servers."""

import json
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from urllib.parse import urlsplit

from ..errors import ToolAlpacaError
from ..metrics import functions_in, request_or_refusal
from ..openapi import (
    Allowlist,
    ApiClient,
    CallLimits,
    Credentials,
    Exchange,
    allowed_hosts,
    load_credentials,
    redact_url,
    servers_of,
)
from ..schema import Api

SIMULATED_CREDENTIAL = "toolalpaca-simulated-credential"  # what the simulator gets where an API asks for a credential

MAX_KEPT_INPUT = 2048  # the longest input of a request that is kept, in characters

_IN_PROCESS, _ONCE = Allowlist(frozenset({"simulator"})), CallLimits(retries=0)
_asking = threading.Lock()


def ask_user(question: str) -> bool:
    """Ask on the terminal, one rollout after the other; where nobody answers, it is no."""
    with _asking:
        print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
        return sys.stdin.readline().strip().lower() in ("y", "yes")


class ApiCalls:
    """The callable functions of an API; many rollouts may share it.

    Calls go to `server`, or with `own_servers` to those of an operation or path first; without any, every call reports
    so. `sender` adds the credentials, whose names are given; `session_header` carries a rollout's session.
    """

    def __init__(
        self,
        api: Api,
        server: str,
        sender: ApiClient,
        credentials: frozenset[str] = frozenset(),
        session_header: str = "",
        own_servers: bool = False,
    ) -> None:
        self.api, self._functions, self._server, self._sender = api, functions_in(api), server, sender
        self._credentials, self._session_header, self._own_servers = credentials, session_header, own_servers
        self.faults: dict[str, list[str]] = {}  # that a simulator made, by session
        self.confirm: Callable[[str], bool] | None = None  # asked before each call that is not GET, HEAD or OPTIONS

    @classmethod
    def simulated(
        cls,
        api: Api,
        server: str,
        session_header: str = "",
        exchange: Exchange | None = None,
        hosts: Allowlist = _IN_PROCESS,
        limits: CallLimits = _ONCE,
    ) -> "ApiCalls":
        """Calls with invented credentials, of a simulator in this process (`exchange`) or of one that is served."""
        credentials = Credentials(dict.fromkeys(functions_in(api).credentials, SIMULATED_CREDENTIAL))
        sender = ApiClient(hosts, credentials, limits=limits, exchange=exchange)
        return cls(api, server, sender, credentials.names, session_header)

    @property
    def names(self) -> list[str]:
        return list(self._functions.operations)

    def call(self, action: str, action_input: str, session: str = "") -> str:
        """Make a call as the model wrote it, in a rollout's session.

        Returns the observation, the answer or what to change about the call; never raises.
        """
        operations = self._functions.operations
        operation = operations.get(action) or operations.get(operations.tool_names.get(action, ""))
        if operation is None:
            return unknown_tool(action, self.names)
        if not operation.found:
            return f"The document of the API has no operation for {action}; use another tool."
        server = self._server
        if self._own_servers:
            server = next(iter(servers_of({"servers": operation.servers}, server)), server)
        if not server:
            return "The document of the API names no server, so nothing can be called."
        make = request_or_refusal if len(action_input) <= MAX_KEPT_INPUT else request_or_refusal.__wrapped__
        request = make(self._functions, operation.name, action_input, server, self._credentials)
        if isinstance(request, str):
            return request
        confirm = None if request.method in ("GET", "HEAD", "OPTIONS") else self.confirm
        # In ASCII: the document names the host, a model writes the input, and a terminal obeys control characters.
        if confirm and not confirm(f"{request.method} {ascii(request.url)[1:-1]} with {json.dumps(action_input)}?"):
            return "The call was not made: the user does not allow it."
        if self._session_header and session:
            request = replace(request, headers={**request.headers, self._session_header: session})
        result = self._sender.send(request)
        if result.fault and session:
            self.faults.setdefault(session, []).append(result.fault)
        return result.observation

    def close(self) -> None:
        self._sender.close()


def unknown_tool(action: str, names: Iterable[str]) -> str:
    """The observation for a tool that does not exist."""
    names = list(names)
    close = get_close_matches(action[:200], names, n=1, cutoff=0.6)
    meant = f" Did you mean {close[0]}?" if close else ""
    return f"There is no tool {action[:100]!r}.{meant} Use one of [{', '.join(names)}]."


def simulated_calls(
    apis: Iterable[Api], url: str, session_header: str, seconds: float = 60.0, retries: int = CallLimits.retries
) -> dict[str, ApiCalls]:
    """Calls to the simulator at `url`, by API id; with [`simulator.SESSION_HEADER`].

    One call takes at most so many `seconds`, and is repeated `retries` times; 0 leaves that to the model. A
    [`ToolAlpacaError`] says that the simulator is not running, or lacks an API.
    """
    url = url.rstrip("/")
    # The user named this server, so its address may be one of this machine.
    host = urlsplit(url).netloc.lower() if "://" in url else ""
    hosts = Allowlist(frozenset(), frozenset({host}))
    paths: dict[str, list[str]] = {}
    start = "start one with `toolalpaca simulate`"
    with ApiClient(hosts, limits=CallLimits(retries=0, total=10.0)) as sender:
        try:
            for served in json.loads(sender.fetch(f"{url}/health"))["apis"]:
                paths.setdefault(served["name"], []).append(str(served["path"]))
        except ToolAlpacaError as error:
            raise ToolAlpacaError(f"no simulator at {redact_url(url)} ({error})", fix=start) from None
        except (ValueError, KeyError, TypeError, RecursionError):
            raise ToolAlpacaError(f"{redact_url(url)} is no simulator", fix=start) from None
    calls, limits = {}, CallLimits(total=seconds, retries=retries)
    for api in apis:
        if not paths.get(api.name):
            problem = f"the simulator at {redact_url(url)} does not serve {api.name}"
            raise ToolAlpacaError(problem, fix="start it with the same --apis")
        # Names may occur twice; the simulator lists them in the order of the file.
        server = url + paths[api.name].pop(0)
        calls[api.id] = ApiCalls.simulated(api, server, session_header, hosts=hosts, limits=limits)
    return calls


def real_calls(
    apis: Iterable[Api],
    credentials_file: str | Path | None = None,
    folder: str | Path | None = None,
    private: Iterable[str] = (),
    environ: Mapping[str, str] | None = None,
    seconds: float = 60.0,
) -> dict[str, ApiCalls]:
    """Calls to the servers in the APIs' own documents, and to no others, by API id.

    Credentials are read by [`load_credentials`], whose errors these are, and binary answers saved in `folder`. The
    hosts in `private` may have a private address. One call takes at most so many `seconds`.
    """
    calls, private = {}, list(private)
    for api in apis:
        functions = functions_in(api)
        document = functions.document
        credentials = load_credentials(api.name, sorted(functions.credentials), credentials_file, environ)
        sender = ApiClient(allowed_hosts(document, private=private), credentials, folder, CallLimits(total=seconds))
        server = next(iter(servers_of(document)), "")
        calls[api.id] = ApiCalls(api, server, sender, credentials.names, own_servers=True)
    return calls
