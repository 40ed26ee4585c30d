"""The user that a model may ask for details: a script, or another model."""

import threading
from collections.abc import Callable, Mapping
from functools import partial
from importlib.resources import files
from typing import Any, Protocol

from ..llm import Answer, LLMError

NOTHING_TO_ADD = "I have nothing to add to what I told you; please go on with that."
"""What a scripted user says who was given no answer."""

AWAY = "The user does not answer; go on with what you know."
"""The observation where a model that plays the user fails."""

LONGEST_ANSWER = 1000


class User(Protocol):
    """Answers `getDetails`, from several threads at once; see [`ScriptedUser`] and [`ModelUser`]."""

    def answer(self, instruction: str, question: str, details: str = "") -> str:
        """Answer a question of the model about an instruction, knowing also its `details`; must not raise."""
        ...

    def describe(self) -> str:
        """Its identity, for the record of a run."""
        ...


class ScriptedUser:
    """A user with scripted answers.

    Args:
        answers (`str` or `Mapping[str, str]`, *optional*): To every question, or to each; others get
            [`NOTHING_TO_ADD`].

    Example:

    ```python
    >>> ScriptedUser({"Which port?": "Brest."}).answer("When is high tide?", "Which port?")
    'Brest.'
    ```
    """

    def __init__(self, answers: str | Mapping[str, str] = NOTHING_TO_ADD) -> None:
        self._answers = answers

    def answer(self, instruction: str, question: str, details: str = "") -> str:
        if isinstance(self._answers, str):
            return self._answers
        return self._answers.get(question.strip(), NOTHING_TO_ADD)

    def describe(self) -> str:
        return "scripted"


class ModelUser:
    """A chat model plays the user, with the prompt `agent/prompts/user.txt`.

    If the model fails, the rollout continues: the answer says that the user is away.

    Args:
        ask (`Callable`): Gives the [`Answer`] to chat messages, such as [`ModelClient.answer`].
        described (`str`): Its identity, for the record of a run.

    Attributes:
        failures, problem (`int`, `str`): Number of unanswered questions, and why the last of them was not answered.

    Example:

    ```python
    >>> user = ModelUser.at_endpoint("http://127.0.0.1:8000/v1", "SmolLM2")
    >>> user.answer("When is high tide?", "Which port?", "The port is Brest.")  # doctest: +SKIP
    'Brest, please.'
    ```
    """

    def __init__(self, ask: Callable[[list[dict[str, Any]]], Answer], described: str) -> None:
        self._ask, self._described = ask, described
        self.prompt = files("toolalpaca_hf.agent").joinpath("prompts", "user.txt").read_text(encoding="utf-8")
        self._lock = threading.Lock()
        self.failures = 0
        self.problem: str | None = None

    @classmethod
    def at_endpoint(
        cls,
        base_url: str,
        model: str,
        temperature: float | None = 0.0,
        seed: int | None = 0,
        max_tokens: int = 128,
        timeout: float = 60.0,
        **client: Any,
    ) -> "ModelUser":
        """A user on any OpenAI-compatible server; arguments, also in `client`, and errors as in [`ModelClient`]."""
        from ..llm import ModelClient  # the client's library is heavy, and a scripted user needs none

        ask = ModelClient(base_url, model, timeout=timeout, **client).answer
        options = {"max_tokens": max_tokens, "temperature": temperature, "seed": seed, "attempts": 1}
        return cls(partial(ask, **options), f"model {model}")

    def answer(self, instruction: str, question: str, details: str = "") -> str:
        prompt = self.prompt.format(
            instruction=instruction, details=details.strip() or "Nothing.", question=question.strip() or "(none)"
        )
        try:
            # One message: some chat templates refuse the role `system`.
            answer = self._ask([{"role": "user", "content": prompt}])
            if words := " ".join(answer.text.split())[:LONGEST_ANSWER]:
                return words
            problem = f"{answer.model} wrote no answer"
        except LLMError as error:
            problem = str(error)
        with self._lock:
            self.failures += 1
            self.problem = problem
        return AWAY

    def describe(self) -> str:
        return self._described
