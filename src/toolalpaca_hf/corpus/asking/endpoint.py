"""The models of a corpus's roles behind OpenAI-compatible servers, asked through the cache and within the budget."""

import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle
from typing import TYPE_CHECKING, Any

from ...errors import ToolAlpacaError
from .ask import ROLES, Answer, AskError
from .budget import Budget, Price
from .enforcement import PROBE, PROBE_SCHEMA, is_enforced, response_format
from .request_cache import RequestCache, request_hash

if TYPE_CHECKING:
    from ...agent.model_server import Choice, ModelServer

GIVE_UP = 10
"""After so many questions in a row that a server did not answer, no more are sent."""


CONNECTIONS = 8
"""Of one client."""


class Unanswered(AskError):
    """The endpoint is away, too slow or broken: another run asks again."""


@dataclass(frozen=True)
class RoleSettings:
    """Who plays a role.

    Args:
        endpoint (`str`): The server, such as `http://127.0.0.1:8000/v1`.
        model (`str`): The model's name there.
        key_variable (`str`, *optional*): The environment variable that holds the key; defaults to the environment's
            `TOOLALPACA_API_KEY`, else `OPENAI_API_KEY`, where these are set.
        temperature (`float`, *optional*, defaults to 0.7): Of sampling; `None` leaves it to the server.
        seed (`int`, *optional*, defaults to 0): Each question's seed is made from it; `None` for servers that know none.
        timeout (`float`, *optional*, defaults to 120.0): Seconds to wait for an answer.
        retries (`int`, *optional*, defaults to 4): How often a request is repeated on 429, 5xx, time-outs and broken
            connections; `Retry-After` is heeded.
        price ([`Price`], *optional*): Of a million tokens.
    """

    endpoint: str
    model: str
    key_variable: str | None = None
    temperature: float | None = 0.7
    seed: int | None = 0
    timeout: float = 120.0
    retries: int = 4
    price: Price = field(default_factory=Price)

    def deciding(self) -> dict[str, Any]:
        """What decides the answers: a model may move to another server."""
        return {"model": self.model, "temperature": self.temperature, "seed": self.seed}


class EndpointAsk:
    """An [`Ask`] whose answers are from servers, or from the cache where the question has been answered before.

    Args:
        roles (`Mapping[str, RoleSettings]`): Who plays each of `ROLES`.
        cache ([`RequestCache`]): Where answers are kept.
        budget ([`Budget`], *optional*): What may be spent.
        concurrency (`int`, *optional*, defaults to 1): How many threads will ask at once.

    Raises:
        [`ToolAlpacaError`]: A URL is none, or a key is not set.

    Example:

    ```python
    >>> one = RoleSettings("http://127.0.0.1:8000/v1", "SmolLM2")
    >>> ask = EndpointAsk(dict.fromkeys(ROLES, one), RequestCache("requests.sqlite"))
    >>> ask("user", [{"role": "user", "content": "Hello"}]).text  # doctest: +SKIP
    'Hello! How can I help you today?'
    ```
    """

    def __init__(
        self,
        roles: Mapping[str, RoleSettings],
        cache: RequestCache,
        budget: Budget | None = None,
        concurrency: int = 1,
    ) -> None:
        if missing := [role for role in ROLES if role not in roles]:
            raise ToolAlpacaError(f"nobody plays the {missing[0]}; name an endpoint and a model for it")
        self.roles, self.cache, self.budget = dict(roles), cache, budget or Budget()
        # With each request a client looks at all of its idle connections, under a lock: many make way for one another.
        clients = -(-concurrency // CONNECTIONS)
        servers = {one: cycle([_server(one) for _ in range(clients)]) for one in set(roles.values())}
        self._servers = {role: servers[one] for role, one in roles.items()}
        self._lock = threading.Lock()
        self._under_way: dict[str, threading.Event] = {}
        self._failures = dict.fromkeys(roles, 0)  # in a row
        self._enforcing: dict[str, bool] = {}

    def check(self) -> dict[str, bool]:
        """Ask every model whether it is there, and whether its server makes an answer follow a JSON schema.

        Some servers accept `response_format` and pass over it; the question is one whose answer nobody gives unforced.

        Returns:
            `dict[str, bool]`: By role, whether schemas are enforced.

        Raises:
            [`AskError`]: A server does not answer.
            [`OutOfBudget`]: The budget is spent.
        """
        for role in self.roles:
            self._enforces(role)
        return dict(self._enforcing)

    def __call__(
        self,
        role: str,
        messages: list[dict[str, str]],
        *,
        attempt: int = 0,
        key: str = "",
        max_tokens: int = 1024,
        temperature: float | None = None,
        stop: Sequence[str] = (),
        schema: dict[str, Any] | None = None,
    ) -> Answer:
        """Ask, see [`Ask`]."""
        if role not in self.roles:
            raise ToolAlpacaError(f"there is no role {role!r}; the roles are {', '.join(self.roles)}")
        schema = schema if schema is not None and self._enforces(role) else None
        question: dict[str, Any] = {"role": role, "messages": messages, "max_tokens": max_tokens}
        question |= {"attempt": attempt, "key": key, "stop": list(stop), "schema": schema}
        question |= self.roles[role].deciding() | ({} if temperature is None else {"temperature": temperature})
        return self._answer(question)

    def _enforces(self, role: str) -> bool:
        if role not in self._enforcing:
            one = self.roles[role].deciding() | {
                "temperature": 0.0 if self.roles[role].temperature is not None else None
            }
            question = {"role": role, "messages": PROBE, "max_tokens": 64, "attempt": 0, "key": "", "stop": []}
            question |= {"schema": PROBE_SCHEMA, **one}
            self._enforcing[role] = is_enforced(self._answer(question).text)
        return self._enforcing[role]

    def _answer(self, question: dict[str, Any]) -> Answer:
        name = request_hash(**question)
        # Who asks the same at the same time waits for the answer of the first.
        while True:
            with self._lock:
                other = self._under_way.get(name)
                if other is None:
                    self._under_way[name] = threading.Event()
                    break
            other.wait()
        try:
            kept = self.cache.get(name)
            if kept is None:
                with self.budget.one_call(self.cache, self.roles):
                    kept = self._asked(question, int(name[:7], 16))
                    self.cache.put(name, question["role"], question["key"], question["attempt"], kept)
            return kept
        finally:
            with self._lock:
                self._under_way.pop(name).set()

    def _asked(self, question: dict[str, Any], seed: int) -> Answer:
        from ...agent.backend import ContextFull
        from ...agent.model_server import RequestRefused

        role, schema = question["role"], question["schema"]
        one = self.roles[role]
        with self._lock:
            server = next(self._servers[role])
        if self._failures[role] >= GIVE_UP:
            raise Unanswered(
                f"not asked: {one.endpoint} had failed {GIVE_UP} questions in a row; see whether it still runs"
            )
        options = {
            "temperature": question["temperature"],
            "seed": seed if one.seed is not None else None,
            "stop": question["stop"] or None,
            "response_format": response_format(schema) if schema is not None else None,
        }
        # The client repeats what a server fails at; nonsense with a good status is asked for again here.
        for once_more in (True, False):
            try:
                choice = server.chat(question["messages"], question["max_tokens"], **options)
                break
            except (ContextFull, RequestRefused) as error:
                if not once_more or schema is None:
                    self._failures[role] = 0
                    raise AskError(self._words(error, one)) from None
                options["response_format"] = schema = None  # not every server knows all of JSON schema
            except ToolAlpacaError as error:
                if not once_more:
                    with self._lock:
                        self._failures[role] += 1
                    raise Unanswered(self._words(error, one)) from None
        self._failures[role] = 0
        return _read(choice, question, one.model, enforced=schema is not None)

    def _words(self, error: ToolAlpacaError, one: RoleSettings) -> str:
        from ...agent.model_server import KEY_VARIABLES

        return str(error).replace(KEY_VARIABLES[0], one.key_variable or KEY_VARIABLES[0])


def _server(one: RoleSettings) -> "ModelServer":
    try:
        from ...agent.model_server import ModelServer
    except ModuleNotFoundError as error:
        raise ToolAlpacaError(f"an endpoint needs {error.name}; run `pip install 'toolalpaca-hf[corpus]'`") from None
    key = os.environ.get(one.key_variable, "").strip() if one.key_variable else None
    if key == "":
        raise ToolAlpacaError(f"{one.key_variable} is not set; it has to hold the key for {one.endpoint}")
    return ModelServer(one.endpoint, one.model, key, one.timeout, one.retries)


def _read(choice: "Choice", question: dict[str, Any], model: str, enforced: bool) -> Answer:
    message = choice.fields["message"]
    text = message.get("content") or ""
    if isinstance(text, list):
        text = "".join(str(part.get("text") or "") for part in text if isinstance(part, dict))
    # A thinking model's thoughts are no part of its answer; where there are none, not even a space is taken away.
    text = choice.said if "</think>" in str(text) else str(text)
    # JSON can spell halves of surrogate pairs, which no file can hold.
    text = text.encode("utf-8", "replace").decode("utf-8")
    end = min((at for stop in question["stop"] if (at := text.find(stop)) >= 0), default=None)
    reason = choice.fields.get("finish_reason")
    if message.get("refusal") or reason == "content_filter":
        text, reason = "", "refusal"
    elif end is not None:
        text, reason = text[:end], "stop"
    asked = "".join(str(one["content"]) for one in question["messages"])
    return Answer(
        text,
        reason if isinstance(reason, str) else "stop",
        _tokens(asked) if choice.prompt_tokens is None else choice.prompt_tokens,
        _tokens(text) if choice.tokens is None else choice.tokens,
        model,
        enforced,
    )


def _tokens(text: str) -> int:
    return (len(text.encode("utf-8", "replace")) + 3) // 4
