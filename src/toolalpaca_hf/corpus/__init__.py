"""Building a corpus: from a list of APIs to instances, by agents that play author, user, assistant and executor."""

from .asking.ask import ROLES, Answer, Ask, AskError, OutOfBudget

__all__ = ["ROLES", "Answer", "Ask", "AskError", "OutOfBudget"]
