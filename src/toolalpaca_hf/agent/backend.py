"""What a model is shown in a rollout, made by the code that makes training rows, and what writes its turns."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from ..errors import ToolAlpacaError
from ..formats import GET_DETAILS, NO_CALL, Prompt, Turn, append_call, functions_by_tool, tools_of
from ..schema import Api, Call, Segment, Step

STOPS = ("\nObservation:", "\nASSISTANT Observation:")
"""Where a ReAct turn ends: a model that writes the observation's label waits for the observation."""


@dataclass(eq=False)
class ReactContext:
    r"""The conversation of a model that writes its actions, one of `functions`, as text: head, action, observation.

    Example:

    ```python
    >>> from toolalpaca_hf.formats import react_prompt
    >>> context = ReactContext.begin(react_prompt(), Api("train/tides", "Tides"), "High tide?")
    >>> context.add(Step("I look it up.", "findTide", "{}", "At noon"))
    >>> [segment.text for segment in context.segments[1:]]
    [' I look it up.\nAction: findTide\nAction Input: {}\nObservation:', ' At noon\nThought:']
    ```
    """

    prompt: Prompt
    segments: list[Segment]
    functions: tuple[str, ...] = ()

    @classmethod
    def begin(cls, prompt: Prompt, api: Api, instruction: str) -> "ReactContext":
        names = (GET_DETAILS, *(function.name for function in api.functions))
        return cls(prompt, [Segment(prompt.head(api, instruction), False)], names)

    def add(self, step: Step) -> None:
        self.segments.append(Segment(self.prompt.action(step), True))
        self.segments.append(Segment(self.prompt.observation(step.observation), False))

    @property
    def text(self) -> str:
        """The whole conversation, as sent to an endpoint of raw completions."""
        return "".join(segment.text for segment in self.segments)


@dataclass(eq=False)
class ChatContext:
    """The conversation of a model with native tool calls, for a chat template; `functions` by their tools' names."""

    messages: list[dict[str, Any]]
    tools: list[dict[str, Any]] = field(default_factory=list)
    functions: dict[str, str] = field(default_factory=dict)

    @classmethod
    def begin(cls, api: Api, instruction: str) -> "ChatContext":
        tools = tools_of(api)
        return cls([{"role": "user", "content": instruction}], tools, functions_by_tool(api, tools))

    def add(self, step: Step) -> None:
        if step.action == NO_CALL:  # a message that cannot be read is answered as the user
            self.messages.append({"role": "assistant", "content": step.log or step.thought})
            self.messages.append({"role": "user", "content": step.observation})
        else:
            append_call(self.messages, step, self.functions)


Context = ReactContext | ChatContext


@dataclass(frozen=True)
class Completion:
    """What a model wrote in one turn."""

    text: str  # without the observation's label and the end-of-sequence token
    turn: Turn
    tokens: int  # that were generated
    cut: bool = False  # whether the limit on tokens ended it


def read_calls(values: Sequence[Any]) -> list[Call]:
    """The calls of one turn; none if one of them cannot be read, so that no turn is carried out in part."""
    calls = []
    for value in values:
        name = value.get("name") if isinstance(value, dict) else None
        if not isinstance(name, str) or not name.strip():
            return []
        arguments = value.get("arguments", value.get("parameters"))
        if not isinstance(arguments, str):
            arguments = "" if arguments is None else json.dumps(arguments, ensure_ascii=False)
        calls.append(Call(name.strip(), arguments))
    return calls


class Backend(Protocol):
    """A model that writes turns, such as [`LocalBackend`] and [`EndpointBackend`]."""

    # It may have `tool_hints` besides, the number of functions hinted at in its training prompt.
    name: str  # in reports
    continuous: bool  # whether it is a `ContinuousBackend`; else many threads ask it, each for one context
    width: int  # most contexts at once

    @property
    def style(self) -> Literal["react", "chat"]: ...  # whether it takes a `ReactContext` or a `ChatContext`

    def check(self) -> None:
        """Check before a run that the model can be asked; raises [`ToolAlpacaError`] if not."""

    def generate(self, contexts: Sequence[Context], max_new_tokens: int) -> list[Completion | ToolAlpacaError]:
        """Write the next turn of each of at most [`width`] distinct contexts.

        An error in place of a completion ends only that rollout; [`ContextFull`]: there is no room for the turn.
        """
        ...

    def forget(self, context: Context) -> None:
        """Drop what is kept for a context whose rollout has ended, such as its KV cache."""

    def reseed(self, seed: int) -> None:
        """Sample from now on as if it had been made with this seed; what is kept of prefixes stays."""

    def describe(self) -> dict[str, str | int | float | bool | None]:
        """What determines its output, for the record of a run: model, revision, sampling, style."""
        ...


class ContinuousBackend(Backend, Protocol):
    """A backend that batches the turns of many contexts, each starting and ending while others continue."""

    def start(self, context: Context, max_new_tokens: int, unreadable_after: int | None = None) -> None:
        """Start the next turn of a context that is not being written; `unreadable_after` as in [`RolloutLimits`]."""

    def step(self) -> list[tuple[Context, Completion | ToolAlpacaError]]:
        """Generate one or more tokens; returns the turns that ended, or the errors that ended them."""
        ...


def openai_messages(messages: Sequence[dict[str, Any]], reasoning: str | None = None) -> list[dict[str, Any]]:
    """Convert messages from the form of chat templates to that of servers; `reasoning` is their field for it."""
    converted: list[dict[str, Any]] = []
    for message in messages:
        shown = {name: message[name] for name in ("role", "content", "tool_call_id") if name in message}
        if reasoning and message.get("reasoning_content"):
            shown[reasoning] = message["reasoning_content"]
        for call in message.get("tool_calls") or ():
            text = json.dumps(call["function"]["arguments"], ensure_ascii=False)
            shown.setdefault("tool_calls", []).append(call | {"function": call["function"] | {"arguments": text}})
        converted.append(shown)
    return converted
