"""What a model is shown in a rollout: the segments of a prompt, or chat messages and tools.

Both grow by whole steps and are made by the code that makes training rows, so that a model meets in a rollout what it was
trained on.
"""

from dataclasses import dataclass, field
from typing import Any

from ..formats import GET_DETAILS, NO_CALL, Prompt, arguments_of, tools_of
from ..schema import Api, Segment, Step

STOPS = ("\nObservation:", "\nASSISTANT Observation:")
"""Where a ReAct turn ends: a model that writes the observation's label waits for the observation."""


@dataclass(eq=False)
class ReactContext:
    """The conversation of a model that writes `Thought`, `Action` and `Action Input` as text.

    Args:
        prompt ([`Prompt`]): The layout.
        segments (`list[Segment]`): The head, then an action and an observation for each step.
        functions (`tuple[str, ...]`, *optional*): The names that an action can have.

    Example:

    ```python
    >>> from toolalpaca_hf.formats import react_prompt
    >>> context = ReactContext.begin(react_prompt(), Api("train/tides", "Tides"), "High tide?")
    >>> context.add(Step("I look it up.", "findTide", "{}", "At noon"))
    >>> [segment.text for segment in context.segments[1:]]
    [' I look it up.\\nAction: findTide\\nAction Input: {}\\nObservation:', ' At noon\\nThought:']
    ```
    """

    prompt: Prompt
    segments: list[Segment]
    functions: tuple[str, ...] = ()

    @classmethod
    def begin(cls, prompt: Prompt, api: Api, instruction: str) -> "ReactContext":
        """The conversation before the first thought."""
        names = (GET_DETAILS, *(function.name for function in api.functions))
        return cls(prompt, [Segment(prompt.head(api, instruction), False)], names)

    def add(self, step: Step) -> None:
        """Append what the model wrote and what came back."""
        self.segments.append(Segment(self.prompt.action(step), True))
        self.segments.append(Segment(self.prompt.observation(step.observation), False))

    @property
    def text(self) -> str:
        """All of it, as an endpoint of raw completions is sent it."""
        return "".join(segment.text for segment in self.segments)


@dataclass(eq=False)
class ChatContext:
    """The conversation of a model with native tool calls.

    Args:
        messages (`list[dict]`): In the layout of chat templates and of OpenAI-compatible servers.
        tools (`list[dict]`): JSON schemas of the functions.

    Example:

    ```python
    >>> context = ChatContext.begin(Api("train/tides", "Tides"), "High tide?")
    >>> context.add(Step("I look it up.", "findTide", "{}", "At noon"))
    >>> [message["role"] for message in context.messages]
    ['user', 'assistant', 'tool']
    ```
    """

    messages: list[dict[str, Any]]
    tools: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def begin(cls, api: Api, instruction: str) -> "ChatContext":
        """The conversation before the model's first message."""
        return cls([{"role": "user", "content": instruction}], tools_of(api))

    def add(self, step: Step) -> None:
        """Append the assistant's message and what came back; a message that could not be read gets a user's answer."""
        if step.action == NO_CALL:
            self.messages.append({"role": "assistant", "content": step.log or step.thought})
            self.messages.append({"role": "user", "content": step.observation})
            return
        function = {"name": step.action, "arguments": arguments_of(step.action_input)}
        # As `to_messages` writes them, which a model was trained on.
        call = {"id": f"call{len(self.messages):05}", "type": "function", "function": function}
        self.messages.append({"role": "assistant", "content": step.thought.strip(), "tool_calls": [call]})
        self.messages.append(
            {"role": "tool", "name": step.action, "tool_call_id": call["id"], "content": step.observation}
        )


Context = ReactContext | ChatContext
