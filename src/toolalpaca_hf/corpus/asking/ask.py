"""What the stages of corpus building know of a model: a question in, an answer out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ...errors import ToolAlpacaError

ROLES = ("author", "user", "assistant", "executor")
"""Who is asked: `author` writes introductions, functions and documents, `user` writes instructions and answers
`getDetails`, `assistant` acts, `executor` plays the API."""


class AskError(ToolAlpacaError):
    """The endpoint can not answer this; other questions may fare better."""


class OutOfBudget(ToolAlpacaError):
    """The budget is spent; whatever is asked now is asked by the next run."""


@dataclass(frozen=True)
class Answer:
    """What a model answered.

    Args:
        text (`str`): Its text; empty where it refused.
        finish_reason (`str`): `"stop"`, `"length"` (cut off by the token limit), `"refusal"`, or the server's own word.
        prompt_tokens (`int`): Tokens of the question; estimated where the server counts none.
        completion_tokens (`int`): Tokens of the answer; likewise.
        model (`str`): The model's name.
        enforced (`bool`): Whether the server made the text follow the JSON schema that was asked for.
    """

    text: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    model: str
    enforced: bool = False


class Ask(Protocol):
    """Asks the model of a role; called from threads, and behind it a cache: what was answered is not asked again.

    Args:
        role (`str`): One of `ROLES`.
        messages (`list[dict[str, str]]`): Chat messages, `role` and `content`.
        attempt (`int`, *optional*, defaults to 0): A retry of the same question has another attempt.
        key (`str`, *optional*): Whose question it is (an API, an instance); part of what the cache compares.
        max_tokens (`int`, *optional*, defaults to 1024): Limit of the answer.
        temperature (`float`, *optional*): Defaults to the role's.
        stop (`Sequence[str]`, *optional*): Texts that end the answer, four at most.
        schema (`dict`, *optional*): A JSON schema that the text should follow; see [`Answer.enforced`].

    Returns:
        [`Answer`]: What came back.

    Raises:
        [`AskError`]: The endpoint can not answer.
        [`OutOfBudget`]: The budget is spent.
    """

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
    ) -> Answer: ...
