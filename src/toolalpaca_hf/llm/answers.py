"""Answers of models, the errors in place of one, and what they cost: counted by role, limited by a budget."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from annotated_types import Ge, Gt

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


@dataclass(frozen=True)
class Budget:
    """Limits at which no more is asked, by this and all earlier runs together.

    Running calls are finished and kept, so tokens and money may exceed the limit by their cost and, with several
    tasks, calls by those of the others.
    """

    calls: Annotated[int, Gt(0)] | None = None
    tokens: Annotated[int, Gt(0)] | None = None
    money: Annotated[float, Gt(0)] | None = None

    def check(self, cache: "RequestCache", roles: "Mapping[str, ModelSettings]", begun: int = 0) -> int:
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
