"""Executes an action: a function of the API, or a built-in tool; shortens what is too long for a prompt."""

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from importlib.resources import files

from ..errors import OptionError
from ..formats import GET_DETAILS, parse_arguments, select_functions
from ..schema import Api, Function
from .calls import ApiCalls, unknown_tool
from .config import RolloutLimits
from .task import Task, User

BUILT_IN = DATETIME, RETRIEVAL = ("datetime", "retrieval")
"""Built-in tools beside `getDetails`, by the names that `external_tools` of the published APIs uses."""

PASSAGE = 300
GAP = " [...] "

_WORD = re.compile(r"[^\W_]+")
_BREAK = re.compile(r"\n|[.!?] |[}\]],|, ?\"|,")


def shown_api(api: Api, tools: Sequence[str] = (), instruction: str = "", max_tools: int | None = None) -> Api:
    """The API as shown to a model: its functions nearest to the instruction, and built-in tools.

    The `tools`, some of [`BUILT_IN`], work whether or not they are shown; `max_tools=None` shows all functions.
    """
    if unknown := [name for name in tools if name not in BUILT_IN]:
        fix = f"use {' or '.join(BUILT_IN)}"
        raise OptionError(f"there is no built-in tool {unknown[0]!r}", option="tools", fix=fix)
    taken = {function.name for function in api.functions}
    wording = files(__name__.rpartition(".")[0]) / "prompts"
    added = [
        Function(name, "", "", (wording / f"{name}.txt").read_text(encoding="utf-8").removesuffix("\n"))
        for name in dict.fromkeys(tools)
        if name not in taken
    ]
    api = select_functions(api, instruction, max_tools)
    return replace(api, functions=[*api.functions, *added])


class Toolbox:
    """The tools of one rollout; those that are not `shown` work too. A simulator keeps state for each `session`."""

    def __init__(
        self,
        task: Task,
        calls: ApiCalls,
        user: User,
        limits: RolloutLimits,
        session: str = "",
        now: Callable[[], datetime] = lambda: datetime.now().astimezone(),
        shown: Sequence[str] = (),
    ) -> None:
        self._task, self._calls, self._user, self._limits = task, calls, user, limits
        self._session, self._now, self.shown = session, now, tuple(shown)
        self._long = ""

    @property
    def names(self) -> list[str]:
        own = self._calls.names
        return [GET_DETAILS, *own, *(name for name in BUILT_IN if name not in own)]

    def faults(self) -> tuple[str, ...]:
        """The faults that a simulator made in this rollout; asked once."""
        return tuple(self._calls.faults.pop(self._session, ()))

    def call(self, action: str, action_input: str) -> str:
        """Execute an action with its input as the model wrote it; returns the observation, within its length limit."""
        if action in self._calls.names:
            return self._fitted(self._calls.call(action, action_input, self._session), action_input)
        if action not in self.names:
            return unknown_tool(action, [GET_DETAILS, *self.shown] if self.shown else self.names)
        if action == DATETIME:
            return self._now().strftime("%A, %Y-%m-%d, %H:%M %Z").strip()
        wanted = "Question" if action == GET_DETAILS else "query"
        text = _words(parse_arguments(action_input), wanted, action_input)
        if not text:
            return f'The {wanted.lower()} is missing; write {{"{wanted}": "..."}}.'
        if action == GET_DETAILS:
            return self._fitted(self._user.answer(self._task.instruction, text, self._task.hint), text)
        if not self._long:
            return "No observation was too long, so there is nothing to search."
        return retrieve(self._long, text, self._limits.observation)

    def _fitted(self, observation: str, asked: str) -> str:
        if len(observation) <= self._limits.observation:
            return observation
        self._long = observation
        kept = retrieve(observation, f"{self._task.instruction} {asked}", self._limits.observation)
        more = f'To look for more: Action: {RETRIEVAL}, Action Input: {{"query": "..."}}'
        return f"{kept}\n(Shown in part, {len(observation)} characters in all. {more})"


def _words(arguments: dict | None, name: str, action_input: str) -> str:
    """The text given to a tool with one parameter, even under a wrong parameter name."""
    others = sorted((arguments or {}).values(), key=lambda value: not isinstance(value, str))  # texts first
    given = [action_input] if arguments is None else [arguments.get(name), *others]
    texts = (str(value).strip() for value in given if isinstance(value, str | int | float))
    return next(filter(None, texts), "")


def _words_in(text: str) -> list[str]:
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", text)
    return [word.lower() for word in _WORD.findall(spaced)]


def passages_of(text: str, size: int = PASSAGE) -> list[str]:
    """Split a text into passages, at the end of a line, sentence or JSON item where possible."""
    found, start = [], 0
    while start < len(text):
        end = start + size
        if end < len(text):
            # Not in the first half: a passage of few words says little.
            breaks = [match.end() for match in _BREAK.finditer(text, start + size // 2, end)]
            end = breaks[-1] if breaks else end
        found.append(text[start:end])
        start = end
    return found


def retrieve(text: str, query: str, size: int) -> str:
    """The passages of a text that best match a query, in their order, gaps marked; `size` is in characters.

    Words are weighted by inverse document frequency over the passages. The first passage is always included, because
    it says what the text is; leftover room goes to the passages that follow it.

    Example:

    ```python
    >>> filler = "nothing here. " * 60
    >>> retrieve(f"Towns: {filler}Oslo has rain. {filler}", "Oslo", 600).count("Oslo")
    1
    ```
    """
    if len(text) <= size:
        return text
    passages = passages_of(text, max(min(PASSAGE, size // 2), 1))
    words = [set(_words_in(passage)) for passage in passages]
    spread = Counter(word for found in words for word in found)
    asked = {word for word in _words_in(query) if word in spread}
    scores = [sum(math.log(1 + len(passages) / spread[word]) for word in asked & found) for found in words]
    ranked = sorted(range(1, len(passages)), key=lambda i: (-scores[i], i))
    chosen, left = {0}, size - len(passages[0])
    for i in ranked:
        if len(passages[i]) <= left:
            chosen.add(i)
            left -= len(passages[i])
    kept, last = "", -1
    for i in sorted(chosen):
        kept += (GAP if i != last + 1 else "") + passages[i]
        last = i
    return kept + (GAP.rstrip() if last != len(passages) - 1 else "")
