"""What may be spent on a corpus, and what was."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from ...errors import ToolAlpacaError
from .ask import OutOfBudget
from .request_cache import RequestCache, Spent


@dataclass(frozen=True)
class Price:
    """What a million tokens cost, in whichever currency.

    Args:
        prompt (`float`, *optional*, defaults to 0.0): Tokens of questions.
        completion (`float`, *optional*, defaults to 0.0): Tokens of answers.
    """

    prompt: float = 0.0
    completion: float = 0.0


class Priced(Protocol):
    """Something that has a price, such as [`RoleSettings`]."""

    price: Price


def cost(spent: Mapping[str, Spent], roles: Mapping[str, Priced]) -> float:
    """What tokens cost, in the currency of the prices.

    Args:
        spent (`Mapping[str, Spent]`): By role.
        roles (`Mapping[str, Priced]`): With the price of each.

    Example:

    ```python
    >>> from types import SimpleNamespace
    >>> roles = {"user": SimpleNamespace(price=Price(prompt=2.5, completion=10))}
    >>> cost({"user": Spent(calls=2, prompt_tokens=400_000, completion_tokens=100_000)}, roles)
    2.0
    ```
    """
    return sum(
        (one.prompt_tokens * roles[role].price.prompt + one.completion_tokens * roles[role].price.completion) / 1e6
        for role, one in spent.items()
        if role in roles
    )


class Budget:
    """Stops asking once so much has been spent, by this and all earlier runs together.

    Calls that are under way are finished and kept. So tokens and money may pass the limit by what these cost, and where
    several tasks run, calls may by those that the others have under way.

    Args:
        calls (`int`, *optional*): Most calls.
        tokens (`int`, *optional*): Most tokens, those of questions and those of answers.
        money (`float`, *optional*): Most money, by the prices of the roles.

    Raises:
        [`ToolAlpacaError`]: A limit is not positive.
    """

    def __init__(self, calls: int | None = None, tokens: int | None = None, money: float | None = None) -> None:
        self.calls, self.tokens, self.money = calls, tokens, money
        if any(limit is not None and not limit > 0 for limit in (calls, tokens, money)):
            raise ToolAlpacaError("a budget has to be more than 0; leave it out for none")
        self._lock = threading.Lock()
        self._begun: int | None = None

    @contextmanager
    def one_call(self, cache: RequestCache, roles: Mapping[str, Priced]) -> Iterator[None]:
        """Around one call.

        Args:
            cache ([`RequestCache`]): Which knows what was spent.
            roles (`Mapping[str, Priced]`): With the price of each.

        Raises:
            [`OutOfBudget`]: The budget is spent.
        """
        if self.calls is None and self.tokens is None and self.money is None:
            yield
            return
        with self._lock:
            spent = cache.spent()
            calls = sum(one.calls for one in spent.values())
            # Those under way are in no file yet.
            self._begun = max(calls, self._begun or 0)
            if words := self._exceeded(self._begun, spent, roles):
                raise OutOfBudget(f"{words}; what is answered is kept, and the same command with a larger one goes on")
            self._begun += 1
        try:
            yield
        except BaseException:
            with self._lock:
                self._begun -= 1
            raise

    def exceeded(self, cache: RequestCache, roles: Mapping[str, Priced]) -> str:
        """Which limit is reached, in words; empty where none is.

        Args:
            cache ([`RequestCache`]): Which knows what was spent.
            roles (`Mapping[str, Priced]`): With the price of each.
        """
        spent = cache.spent()
        return self._exceeded(sum(one.calls for one in spent.values()), spent, roles)

    def _exceeded(self, calls: int, spent: Mapping[str, Spent], roles: Mapping[str, Priced]) -> str:
        tokens = sum(one.prompt_tokens + one.completion_tokens for one in spent.values())
        money = cost(spent, roles)
        for limit, used, unit in ((self.calls, calls, "calls"), (self.tokens, tokens, "tokens")):
            if limit is not None and used >= limit:
                return f"the budget of {limit:,} {unit} is spent"
        if self.money is not None and money >= self.money:
            return f"the budget of {self.money:,.2f} in money is spent"
        return ""
