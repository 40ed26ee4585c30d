"""An [`Ask`] that belongs to one piece of work: it counts what that costs, and notes whether an answer was missing."""

from typing import Any

from ...errors import ToolAlpacaError
from .ask import Answer, Ask, AskError
from .endpoint import NotAsked, Unanswered


class WatchedAsk:
    """Asks, and keeps account.

    Args:
        ask ([`Ask`]): Who is asked.
        set_aside_failed (`bool`, *optional*, defaults to `False`): Whether what an endpoint does not answer is settled
            by that; what it was not even asked never is.

    Attributes:
        stopped ([`ToolAlpacaError`], *optional*): Why the work is unfinished, whoever caught the error.
    """

    def __init__(self, ask: Ask, set_aside_failed: bool = False) -> None:
        self._ask, self._set_aside_failed = ask, set_aside_failed
        self._roles: dict[str, dict[str, Any]] = {}
        self.stopped: ToolAlpacaError | None = None

    def __call__(self, role: str, messages: list[dict[str, str]], *, attempt: int = 0, **options: Any) -> Answer:
        """Ask, see [`Ask`]; once an answer is missing, nothing more is asked."""
        if self.stopped is not None:
            raise self.stopped
        try:
            answer = self._ask(role, messages, attempt=attempt, **options)
        except ToolAlpacaError as error:
            if not self._settles(error):
                self.stopped = error
            raise
        one = self._roles.setdefault(role, {"model": answer.model, "calls": 0, "retries": 0, "enforced": 0})
        one["calls"] += 1
        one["retries"] += attempt > 0
        one["enforced"] += answer.enforced
        for name in ("prompt_tokens", "completion_tokens"):
            one[name] = one.get(name, 0) + getattr(answer, name)
        return answer

    def _settles(self, error: ToolAlpacaError) -> bool:
        """Whether the next run would meet the same error: not a spent budget, a cache without room, a server away."""
        if isinstance(error, Unanswered):
            return self._set_aside_failed and not isinstance(error, NotAsked)
        return isinstance(error, AskError)

    def account(self) -> dict[str, dict[str, Any]]:
        """By role: model, calls, retries among them, answers held to a schema, and tokens."""
        return {role: dict(one) for role, one in sorted(self._roles.items())}
