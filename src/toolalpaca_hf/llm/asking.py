"""Asks models by role, through a cache and within a budget: answers, errors in place of one, and what they cost."""

import hashlib
import json
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from weakref import WeakValueDictionary

from annotated_types import Ge, Gt

from ..errors import OptionError, ToolAlpacaError
from ..storage import SqliteCache
from .structured import PROBE, PROBE_ANSWER, PROBE_SCHEMA

if TYPE_CHECKING:
    from .client import ModelClient
    from .local import LocalModel

# After so many questions in a row that a server did not answer, no more are sent.
GIVE_UP = 10

TABLES = """
CREATE TABLE IF NOT EXISTS requests (
    hash TEXT PRIMARY KEY, role TEXT NOT NULL, key TEXT NOT NULL, attempt INTEGER NOT NULL, model TEXT NOT NULL,
    text TEXT NOT NULL, finish_reason TEXT NOT NULL, prompt_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL, enforced INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS spent (
    role TEXT PRIMARY KEY, calls INTEGER NOT NULL, prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL
);
CREATE TRIGGER IF NOT EXISTS spending AFTER INSERT ON requests BEGIN
    INSERT INTO spent VALUES (NEW.role, 1, NEW.prompt_tokens, NEW.completion_tokens) ON CONFLICT (role) DO UPDATE SET
        calls = calls + 1,
        prompt_tokens = prompt_tokens + NEW.prompt_tokens,
        completion_tokens = completion_tokens + NEW.completion_tokens;
END;
"""


class LLMError(ToolAlpacaError):
    """A model gave no answer: the `endpoint` asked, its HTTP `status`, and what it `said`, without the key."""

    def __init__(
        self, problem: str, *, endpoint: str = "", status: int | None = None, said: str = "", fix: str | None = None
    ) -> None:
        super().__init__(problem, fix=fix)
        self.endpoint, self.status, self.said = endpoint, status, said


class RequestRejected(LLMError):
    """The request is at fault: do not retry; other requests may succeed."""


class ContextFull(RequestRejected):
    """The conversation leaves no room for an answer within the model's context length."""


class Unanswered(LLMError):
    """The server is unavailable, too slow, broken, or rejects the key: the request may succeed later."""


class NotAsked(LLMError):
    """The request was not sent, after too many consecutive failures of the server."""


class BudgetExceeded(ToolAlpacaError):
    """The budget is spent; the next run asks what is missing."""


@dataclass(frozen=True)
class Answer:
    """A model's answer."""

    text: str  # without thinking; empty if it refused
    finish_reason: str  # `stop`, `length` (cut by the token limit), `refusal`, or the server's own word
    prompt_tokens: int  # estimated if the server does not count
    completion_tokens: int
    model: str
    enforced: bool = False  # whether the requested JSON schema was enforced on the text


def estimate_tokens(text: str) -> int:
    """Estimated tokens of a text, so that limits and budgets hold even if a server does not count."""
    return (len(text.encode("utf-8", "replace")) + 3) // 4


@dataclass(frozen=True)
class Usage:
    """Kept answers of a role, and their tokens."""

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclass(frozen=True)
class Price:
    """Price of a million tokens of questions and of answers, in any currency."""

    prompt: Annotated[float, Ge(0)] = 0.0
    completion: Annotated[float, Ge(0)] = 0.0


@dataclass(frozen=True)
class ModelSettings:
    """The model of a role."""

    endpoint: str = ""  # such as `http://127.0.0.1:8000/v1`
    model: str = ""  # its name there
    local: str | None = None  # instead of both, a local model: a folder, a Hub id or `smollm2`
    constrained: bool = True  # whether JSON schemas are enforced on the local model
    dtype: str = "auto"
    key_variable: str | None = None  # environment variable with the key; see `ModelClient`
    temperature: Annotated[float, Ge(0)] | None = 0.7  # `None` leaves it to the server
    seed: int | None = 0  # each question's is made of this one; `None` leaves it to the server
    timeout: Annotated[float, Ge(0)] = 120.0  # see `ModelClient`
    retries: Annotated[int, Ge(0)] = 4
    price: Price = field(default_factory=Price)

    def output_settings(self) -> dict[str, Any]:
        """The settings that affect answers; the endpoint does not, since a model may move to another server."""
        who = {"model": self.model} if self.local is None else {"local": self.local, "constrained": self.constrained}
        if self.dtype != "auto":
            who["dtype"] = self.dtype
        return {**who, "temperature": self.temperature, "seed": self.seed}

    def load(self, concurrency: int = 1) -> "ModelClient | LocalModel":
        """The model, for `concurrency` threads; an [`OptionError`] if its URL is invalid or its key is not set."""
        if self.local is not None:
            from .local import LocalModel

            return LocalModel.load(self.local, self.constrained, self.dtype)
        from .client import KEY_VARIABLES, ModelClient

        if self.key_variable and not os.environ.get(self.key_variable, "").strip():
            raise OptionError(f"not set; it has to hold the key for {self.endpoint}", option=self.key_variable)
        names = (self.key_variable,) if self.key_variable else KEY_VARIABLES
        limits: dict[str, Any] = {"timeout": self.timeout, "retries": self.retries, "give_up": GIVE_UP}
        return ModelClient(self.endpoint, self.model, key_variables=names, concurrency=concurrency, **limits)


class RequestCache(SqliteCache):
    """Answers by the hash of their question, in an SQLite file that threads and processes share; see [`SqliteCache`].

    Example:

    ```python
    >>> cache = RequestCache("requests.sqlite")
    >>> question = request_hash(role="user", messages=[{"role": "user", "content": "Hello"}])
    >>> cache.put(question, "user", "tides", 0, Answer("Good day", "stop", 9, 2, "gpt-9"))
    >>> cache.get(question).text, cache.spent()["user"].calls
    ('Good day', 1)
    ```
    """

    def __init__(self, path: str | Path, shared_disk: bool = False) -> None:
        super().__init__(path, TABLES, "SELECT hash, enforced FROM requests", shared_disk=shared_disk)

    def get(self, question: str) -> Answer | None:
        """The answer to a question by its [`request_hash`]."""
        columns = "text, finish_reason, prompt_tokens, completion_tokens, model, enforced"
        rows = self.fetch(f"SELECT {columns} FROM requests WHERE hash = ?", question)
        return next((Answer(*row[:5], enforced=bool(row[5])) for row in rows), None)

    def put(self, question: str, role: str, key: str, attempt: int, answer: Answer) -> None:
        """Store an answer, unless the question already has one."""
        row = (question, role, key, attempt, answer.model, answer.text, answer.finish_reason, answer.prompt_tokens)
        self.insert("requests", (*row, answer.completion_tokens, answer.enforced))

    def spent(self) -> dict[str, Usage]:
        """Usage by role, over this and all earlier runs."""
        query = "SELECT role, calls, prompt_tokens, completion_tokens FROM spent ORDER BY role"
        return {row[0]: Usage(*row[1:]) for row in self.fetch(query)}


def request_hash(**question: Any) -> str:
    """A hash of the fields that determine an answer, as JSON, in any order."""
    text = json.dumps(question, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def cost(spent: Mapping[str, Usage], roles: Mapping[str, ModelSettings]) -> float:
    """The cost of tokens, in the currency of the roles' prices."""
    return sum(
        (used.prompt_tokens * roles[role].price.prompt + used.completion_tokens * roles[role].price.completion) / 1e6
        for role, used in spent.items()
        if role in roles
    )


@dataclass(frozen=True)
class Budget:
    """Limits at which no more is asked, by this and all earlier runs together.

    Running calls are finished and kept, so tokens and money may exceed the limit by their cost and, with several
    tasks, calls by those of the others.
    """

    calls: Annotated[int, Gt(0)] | None = None
    tokens: Annotated[int, Gt(0)] | None = None
    money: Annotated[float, Gt(0)] | None = None

    def check(self, cache: RequestCache, roles: Mapping[str, ModelSettings], begun: int = 0) -> int:
        """Number of calls made, or `begun` where those under way make it more; else a [`BudgetExceeded`]."""
        if self == Budget():
            return begun
        spent = cache.spent()
        calls = max(begun, sum(used.calls for used in spent.values()))
        tokens = sum(used.prompt_tokens + used.completion_tokens for used in spent.values())
        limits = ((self.calls, calls, "{:,} calls"), (self.tokens, tokens, "{:,} tokens"))
        for limit, used, form in (*limits, (self.money, cost(spent, roles), "{:,.2f} in money")):
            if limit is not None and used >= limit:
                fix = "what is answered is kept, and the same command with a larger one goes on"
                raise BudgetExceeded(f"the budget of {form.format(limit)} is spent", fix=fix)
        return calls


class CachedAsk:
    """Asks the model of a role what is not in the cache, within a budget; called from `concurrency` threads.

    Roles of equal settings share a model. Each `attempt` and each `key` (whose question it is: an API, an instance) is
    cached by itself, and the temperature is the role's by default; the rest is as in [`ModelClient.answer`]. An
    [`LLMError`] or a [`BudgetExceeded`] says why there is no answer.

    Example:

    ```python
    >>> roles = {"user": ModelSettings("http://127.0.0.1:8000/v1", "SmolLM2")}
    >>> ask = CachedAsk(roles, RequestCache("requests.sqlite"))
    >>> ask("user", [{"role": "user", "content": "Hello"}]).text  # doctest: +SKIP
    'Hello! How can I help you today?'
    ```
    """

    def __init__(
        self,
        roles: Mapping[str, ModelSettings],
        cache: RequestCache,
        budget: Budget | None = None,
        concurrency: int = 1,
    ) -> None:
        self.roles, self.cache, self.budget = dict(roles), cache, budget or Budget()
        models = {settings: settings.load(concurrency) for settings in set(roles.values())}
        self._models = {role: models[settings] for role, settings in roles.items()}
        self._lock, self._counting, self._begun = threading.Lock(), threading.Lock(), 0
        self._under_way: WeakValueDictionary[str, threading.Lock] = WeakValueDictionary()
        self._enforcing: dict[str, bool | None] = {role: model.enforces for role, model in self._models.items()}

    def check(self) -> dict[str, bool]:
        """Check that every model responds; returns, by role, whether JSON schemas are enforced on its answers."""
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
        if role not in self.roles:
            raise OptionError(f"nobody plays the role {role!r}; the roles are {', '.join(self.roles)}")
        schema = schema if schema is not None and self._enforces(role) else None
        own: dict[str, Any] = {} if temperature is None else {"temperature": temperature}
        own |= {"max_tokens": max_tokens, "attempt": attempt, "key": key, "stop": list(stop)}
        return self._answer(role, messages=messages, schema=schema, **own)

    def _enforces(self, role: str) -> bool:
        known = self._enforcing[role]
        if known is None:
            own: dict[str, Any] = {} if self.roles[role].temperature is None else {"temperature": 0.0}
            own |= {"max_tokens": 64, "attempt": 0, "key": "", "stop": []}
            answer = self._answer(role, messages=PROBE, schema=PROBE_SCHEMA, **own)
            known = self._enforcing[role] = "".join(answer.text.split()) == PROBE_ANSWER
        return known

    def _answer(self, role: str, **own: Any) -> Answer:
        question = {"role": role, **self.roles[role].output_settings(), **own}
        name = request_hash(**question)
        with self._lock:
            turn = self._under_way.setdefault(name, threading.Lock())
        with turn:  # who asks the same at the same time waits for the answer of the first
            answer = self.cache.get(name)
            if answer is None:
                seed = None if self.roles[role].seed is None else int(name[:7], 16)
                fields = {field: question[field] for field in ("max_tokens", "temperature", "stop", "schema")}
                with self._counting:
                    self._begun = self.budget.check(self.cache, self.roles, self._begun) + 1
                try:
                    answer = self._models[role].answer(question["messages"], seed=seed, **fields)
                    self.cache.put(name, role, question["key"], question["attempt"], answer)
                except BaseException:
                    with self._counting:
                        self._begun -= 1
                    raise
        return answer


class UsageTracker:
    """Asks like a [`CachedAsk`] for one piece of work, counts its cost by role, and notes what was not answered.

    An error that is none of `settled` is raised again at each later question: `stopped` says why the work is
    unfinished, whoever caught it.
    """

    def __init__(self, ask: "Ask", settled: tuple[type[ToolAlpacaError], ...]) -> None:
        self._ask, self._settled = ask, settled
        self.usage: dict[str, dict[str, Any]] = {}
        self.stopped: ToolAlpacaError | None = None

    def __call__(self, role: str, messages: list[dict[str, str]], *, attempt: int = 0, **options: Any) -> Answer:
        if self.stopped is not None:
            raise self.stopped
        try:
            answer = self._ask(role, messages, attempt=attempt, **options)
        except ToolAlpacaError as error:
            if not isinstance(error, self._settled):
                self.stopped = error
            raise
        used = self.usage.setdefault(role, {})
        counts = {"calls": 1, "retries": int(attempt > 0), "enforced": int(answer.enforced)}
        counts |= {"prompt_tokens": answer.prompt_tokens, "completion_tokens": answer.completion_tokens}
        self.usage[role] = {"model": answer.model} | {name: used.get(name, 0) + n for name, n in counts.items()}
        return answer


Ask = CachedAsk | UsageTracker
