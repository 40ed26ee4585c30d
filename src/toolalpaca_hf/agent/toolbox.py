"""Executes an action: a function of an API, against the simulator or its own servers, or a built-in tool."""

import json
import math
import re
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path
from urllib.parse import urlsplit

from ..errors import OptionError, ToolAlpacaError
from ..formats import GET_DETAILS, parse_arguments, select_functions
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
from ..schema import Api, Function
from .config import RolloutLimits
from .task import Task, User

SIMULATED_CREDENTIAL = "toolalpaca-simulated-credential"  # what the simulator gets where an API asks for a credential

MAX_KEPT_INPUT = 2048  # the longest input of a request that is kept, in characters

_IN_PROCESS, _ONCE = Allowlist(frozenset({"simulator"})), CallLimits(retries=0)
_asking = threading.Lock()


def ask_user(question: str) -> bool:
    """Ask on the terminal, one rollout after the other; where nobody answers, it is no."""
    with _asking:
        print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
        return sys.stdin.readline().strip().lower() in ("y", "yes")


@dataclass(eq=False, repr=False)
class ApiCalls:
    """The callable functions of an API; many rollouts may share it.

    Calls go to `server`, or with `own_servers` to those of an operation or path first; without any, every call reports
    so. `sender` adds the credentials, whose names are given; `session_header` carries a rollout's session.
    """

    api: Api
    server: str
    sender: ApiClient
    credentials: frozenset[str] = frozenset()
    session_header: str = ""
    own_servers: bool = False
    faults: dict[str, list[str]] = field(default_factory=dict)  # that a simulator made, by session
    confirm: Callable[[str], bool] | None = None  # asked before each call that is not GET, HEAD or OPTIONS

    def __post_init__(self) -> None:
        self._functions = functions_in(self.api)

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
        server = self.server
        if self.own_servers:
            server = next(iter(servers_of({"servers": operation.servers}, server)), server)
        if not server:
            return "The document of the API names no server, so nothing can be called."
        make = request_or_refusal if len(action_input) <= MAX_KEPT_INPUT else request_or_refusal.__wrapped__
        request = make(self._functions, operation.name, action_input, server, self.credentials)
        if isinstance(request, str):
            return request
        confirm = None if request.method in ("GET", "HEAD", "OPTIONS") else self.confirm
        # In ASCII: the document names the host, a model writes the input, and a terminal obeys control characters.
        if confirm and not confirm(f"{request.method} {ascii(request.url)[1:-1]} with {json.dumps(action_input)}?"):
            return "The call was not made: the user does not allow it."
        if self.session_header and session:
            request = replace(request, headers={**request.headers, self.session_header: session})
        result = self.sender.send(request)
        if result.fault and session:
            self.faults.setdefault(session, []).append(result.fault)
        return result.observation

    def close(self) -> None:
        self.sender.close()


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
    hosts = Allowlist(frozenset(), frozenset({urlsplit(url).netloc.lower() if "://" in url else ""}))
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
            raise ToolAlpacaError(f"{redact_url(url)} does not serve {api.name}", fix="start it with the same --apis")
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


BUILT_IN = DATETIME, RETRIEVAL = ("datetime", "retrieval")
"""Built-in tools beside `getDetails`, by the names that `external_tools` of the published APIs uses."""

PASSAGE = 300
GAP = " [...] "

_WORD = re.compile(r"[^\W_]+")
_BREAK = re.compile(r"\n|[.!?] |[}\]],|, ?\"|,")


def shown_api(api: Api, tools: Sequence[str] = (), instruction: str = "", max_tools: int | None = None) -> Api:
    """The API as shown to a model: its functions nearest to the instruction, and built-in tools.

    The `tools`, some of [`BUILT_IN`], work whether or not they are shown; `max_tools=None` shows all functions.
    """
    if unknown := [name for name in tools if name not in BUILT_IN]:
        raise OptionError(f"no built-in tool {unknown[0]!r}", option="tools", fix=f"use {' or '.join(BUILT_IN)}")
    taken = {function.name for function in api.functions}
    wording = files(__name__.rpartition(".")[0]) / "prompts"
    added = [
        Function(name, "", "", (wording / f"{name}.txt").read_text(encoding="utf-8").removesuffix("\n"))
        for name in dict.fromkeys(tools)
        if name not in taken
    ]
    api = select_functions(api, instruction, max_tools)
    return replace(api, functions=[*api.functions, *added])


@dataclass(eq=False, repr=False)
class Toolbox:
    """The tools of one rollout; those that are not `shown` work too. A simulator keeps state for each `session`."""

    task: Task
    calls: ApiCalls
    user: User
    limits: RolloutLimits
    session: str = ""
    now: Callable[[], datetime] = lambda: datetime.now().astimezone()
    shown: tuple[str, ...] = ()
    _long: str = field(default="", init=False)

    @property
    def names(self) -> list[str]:
        own = self.calls.names
        return [GET_DETAILS, *own, *(name for name in BUILT_IN if name not in own)]

    def faults(self) -> tuple[str, ...]:
        """The faults that a simulator made in this rollout; asked once."""
        return tuple(self.calls.faults.pop(self.session, ()))

    def call(self, action: str, action_input: str) -> str:
        """Execute an action with its input as the model wrote it; returns the observation, within its length limit."""
        if action in self.calls.names:
            return self._fitted(self.calls.call(action, action_input, self.session), action_input)
        if action not in self.names:
            return unknown_tool(action, [GET_DETAILS, *self.shown] if self.shown else self.names)
        if action == DATETIME:
            return self.now().strftime("%A, %Y-%m-%d, %H:%M %Z").strip()
        wanted = "Question" if action == GET_DETAILS else "query"
        text = _words(parse_arguments(action_input), wanted, action_input)
        if not text:
            return f'The {wanted.lower()} is missing; write {{"{wanted}": "..."}}.'
        if action == GET_DETAILS:
            return self._fitted(self.user.answer(self.task.instruction, text, self.task.hint), text)
        if not self._long:
            return "No observation was too long, so there is nothing to search."
        return retrieve(self._long, text, self.limits.observation)

    def _fitted(self, observation: str, asked: str) -> str:
        if len(observation) <= self.limits.observation:
            return observation
        self._long = observation
        kept = retrieve(observation, f"{self.task.instruction} {asked}", self.limits.observation)
        more = f'To look for more: Action: {RETRIEVAL}, Action Input: {{"query": "..."}}'
        return f"{kept}\n(Shown in part, {len(observation)} characters in all. {more})"


def _words(arguments: dict | None, name: str, action_input: str) -> str:
    """The text given to a tool with one parameter, even under a wrong parameter name."""
    others = sorted((arguments or {}).values(), key=lambda value: not isinstance(value, str))  # texts first
    given = [action_input] if arguments is None else [arguments.get(name), *others]
    texts = (str(value).strip() for value in given if isinstance(value, str | int | float))
    return next(filter(None, texts), "")


def _words_in(text: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", text))]


def passages_of(text: str, size: int = PASSAGE) -> list[str]:
    """Split a text into passages, at the end of a line, sentence or JSON item where possible."""
    found, start = [], 0
    while start < len(text):
        end = start + size
        if end < len(text):
            # Not in the first half: a passage of few words says little.
            breaks = [match.end() for match in _BREAK.finditer(text, start + size // 2, end)]
            end = breaks[-1] if breaks else end
        found.append(text[start:end])
        start = end
    return found


def retrieve(text: str, query: str, size: int) -> str:
    """The passages of a text that best match a query, in their order, gaps marked; `size` is in characters.

    Words are weighted by inverse document frequency over the passages. The first passage is always included, because
    it says what the text is; leftover room goes to the passages that follow it.

    Example:

    ```python
    >>> filler = "nothing here. " * 60
    >>> retrieve(f"Towns: {filler}Oslo has rain. {filler}", "Oslo", 600).count("Oslo")
    1
    ```
    """
    if len(text) <= size:
        return text
    passages = passages_of(text, max(min(PASSAGE, size // 2), 1))
    words = [set(_words_in(passage)) for passage in passages]
    spread = Counter(word for found in words for word in found)
    asked = {word for word in _words_in(query) if word in spread}
    scores = [sum(math.log(1 + len(passages) / spread[word]) for word in asked & found) for found in words]
    ranked = sorted(range(1, len(passages)), key=lambda i: (-scores[i], i))
    chosen, left = {0}, size - len(passages[0])
    for i in ranked:
        if len(passages[i]) <= left:
            chosen.add(i)
            left -= len(passages[i])
    kept, last = "", -1
    for i in sorted(chosen):
        kept += (GAP if i != last + 1 else "") + passages[i]
        last = i
    return kept + (GAP.rstrip() if last != len(passages) - 1 else "")
