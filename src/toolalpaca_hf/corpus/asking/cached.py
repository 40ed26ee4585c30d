"""The models of a corpus's roles, asked through the cache and within the budget."""

import threading
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from ...errors import ToolAlpacaError
from .ask import ROLES, Answer
from .budget import Budget
from .endpoint import Endpoint, RoleSettings
from .enforcement import PROBE, PROBE_SCHEMA, is_enforced
from .request_cache import RequestCache, request_hash


class Model(Protocol):
    """Who answers what is in no cache: [`Endpoint`] or [`LocalModel`].

    Attributes:
        enforces (`bool`, *optional*): Whether it follows JSON schemas; `None` where that has to be found out.
    """

    enforces: bool | None

    def asked(self, question: dict[str, Any], seed: int) -> Answer:
        """Answer a question, all of whose fields are part of its hash in the cache."""


class CachedAsk:
    """An [`Ask`] whose answers are models', or from the cache where the question has been answered before.

    Args:
        roles (`Mapping[str, RoleSettings]`): Who plays each of `ROLES`.
        cache ([`RequestCache`]): Where answers are kept.
        budget ([`Budget`], *optional*): What may be spent.
        concurrency (`int`, *optional*, defaults to 1): How many threads will ask at once.

    Raises:
        [`ToolAlpacaError`]: A URL is none, a key is not set, or a model on this machine can not be used.

    Example:

    ```python
    >>> one = RoleSettings("http://127.0.0.1:8000/v1", "SmolLM2")
    >>> ask = CachedAsk(dict.fromkeys(ROLES, one), RequestCache("requests.sqlite"))
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
            raise ToolAlpacaError(
                f"nobody plays the {missing[0]}; name an endpoint and a model for it, or one on this machine"
            )
        self.roles, self.cache, self.budget = dict(roles), cache, budget or Budget()
        models = {one: _model(one, concurrency) for one in set(roles.values())}
        self._models = {role: models[one] for role, one in roles.items()}
        self._lock = threading.Lock()
        self._under_way: dict[str, threading.Event] = {}
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
        return {role: self._enforces(role) for role in self.roles}

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
        if (known := self._models[role].enforces) is not None:
            return known
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
                    kept = self._models[question["role"]].asked(question, int(name[:7], 16))
                    self.cache.put(name, question["role"], question["key"], question["attempt"], kept)
            return kept
        finally:
            with self._lock:
                self._under_way.pop(name).set()


def _model(one: RoleSettings, concurrency: int) -> Model:
    if one.local is None:
        return Endpoint(one, concurrency)
    try:
        from .local import LocalModel
    except ModuleNotFoundError as error:
        raise ToolAlpacaError(
            f"a model on this machine needs {error.name}; run `pip install 'toolalpaca-hf[corpus,toolformer]'`"
        ) from None
    return LocalModel(one)
