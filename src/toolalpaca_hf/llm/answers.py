"""Answers of models, the errors in place of one, and what they cost: counted by role, limited by a budget."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from annotated_types import Ge

from ..errors import ToolAlpacaError

if TYPE_CHECKING:
    from .asking import Ask, ModelSettings, RequestCache


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


def cost(spent: Mapping[str, Usage], roles: "Mapping[str, ModelSettings]") -> float:
    """The cost of tokens, in the currency of the roles' prices."""
    return sum(
        (used.prompt_tokens * roles[role].price.prompt + used.completion_tokens * roles[role].price.completion) / 1e6
        for role, used in spent.items()
        if role in roles
    )


class Budget:
    """Stops asking once a limit of calls, tokens or money is reached, by this and all earlier runs together.

    Running calls are finished and kept, so tokens and money may exceed the limit by their cost and, with several
    tasks, calls by those of the others.
    """

    def __init__(self, calls: int | None = None, tokens: int | None = None, money: float | None = None) -> None:
        self.calls, self.tokens, self.money = calls, tokens, money
        self._lock = threading.Lock()
        self._begun = 0

    def check(self, cache: "RequestCache", roles: "Mapping[str, ModelSettings]") -> int:
        """Number of calls made, running ones included; raises [`BudgetExceeded`] if the budget is spent."""
        spent = cache.spent()
        calls = max(self._begun, sum(used.calls for used in spent.values()))
        tokens = sum(used.prompt_tokens + used.completion_tokens for used in spent.values())
        limits = ((self.calls, calls, "{:,} calls"), (self.tokens, tokens, "{:,} tokens"))
        for limit, used, form in (*limits, (self.money, cost(spent, roles), "{:,.2f} in money")):
            if limit is not None and used >= limit:
                fix = "what is answered is kept, and the same command with a larger one goes on"
                raise BudgetExceeded(f"the budget of {form.format(limit)} is spent", fix=fix)
        return calls

    @contextmanager
    def reserve(self, cache: "RequestCache", roles: "Mapping[str, ModelSettings]") -> Iterator[None]:
        """Wrap one call; raises like [`check`]."""
        if self.calls is None and self.tokens is None and self.money is None:
            yield
            return
        with self._lock:
            self._begun = self.check(cache, roles) + 1  # those under way are in no file yet
        try:
            yield
        except BaseException:
            with self._lock:
                self._begun -= 1
            raise


class UsageTracker:
    """An [`Ask`] for one piece of work that counts its cost by role, and notes whether an answer was missing.

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
