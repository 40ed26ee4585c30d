"""Trajectories as chat messages and tools, in TRL's tool-calling layout."""

import json
from typing import Any

from ..openapi import functions_of, tool_schema
from ..schema import Api, Step, Trajectory
from ..storage import finite, unambiguous
from .parse import GET_DETAILS, NO_CALL

# How long the tools of one conversation may be, in characters of JSON, before each gets a share of it.
MAX_TOOLS_SIZE = 100_000

_QUESTION = {"type": "string", "description": "The question, as the user will read it."}
GET_DETAILS_TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": GET_DETAILS,
        "description": "Ask the user for something that a call needs and that the conversation has not said yet.",
        "parameters": {"type": "object", "properties": {"Question": _QUESTION}, "required": ["Question"]},
    },
}
"""The tool of every API that talks to the user instead of to the API."""


def to_messages(api: Api, trajectory: Trajectory) -> dict[str, Any]:
    """Render a trajectory as one row of the `chat` config, `messages` and `tools` ([`tools_of`]).

    A thought is the `content` of the assistant's message, which most chat templates show beside a call; more of them
    drop thinking fields such as `reasoning_content`. Where the model reasoned apart from its messages, these have
    `reasoning_content`, the last one the final thought, which is left out otherwise. Call ids have nine letters and
    digits, as Mistral's templates require. This layout has no place for steps without a call (`hallucination`).

    Example:

    ```python
    >>> trajectory = Trajectory("train/tides/0", "train/tides", "High tide?", "", [], "I know.", "At noon.")
    >>> to_messages(Api("train/tides", "Tides"), trajectory)["messages"]
    [{'role': 'user', 'content': 'High tide?'}, {'role': 'assistant', 'content': 'At noon.'}]
    ```
    """
    messages: list[dict[str, Any]] = [{"role": "user", "content": trajectory.instruction}]
    tools = tools_of(api)
    functions = functions_by_tool(api, tools)
    for step in trajectory.steps:
        if step.action != NO_CALL:
            append_call(messages, step, functions)
    last = {"role": "assistant", "content": trajectory.response}
    if trajectory.final_thought and any(step.reasoning for step in trajectory.steps):
        last["reasoning_content"] = trajectory.final_thought
    return {"messages": [*messages, last], "tools": tools}


def functions_by_tool(api: Api, tools: list[dict[str, Any]]) -> dict[str, str]:
    """The functions of an API by the names that [`tools_of`] gave them, which providers take: `a.b` is `a_b` there."""
    names = [GET_DETAILS, *dict.fromkeys(function.name for function in api.functions)]
    return {tool["function"]["name"]: name for tool, name in zip(tools, names, strict=True)}


def append_call(messages: list[dict[str, Any]], step: Step, functions: dict[str, str] | None = None) -> None:
    """Append a step to a conversation: a message of the assistant, which parallel calls share, and a result.

    A call has the name of its tool there, by `functions` ([`functions_by_tool`]).
    """
    called = next((tool for tool, name in reversed((functions or {}).items()) if name == step.action), step.action)
    turn = next((message for message in reversed(messages) if message["role"] == "assistant"), {})
    if not (step.parallel and "tool_calls" in turn):
        said = "" if step.thought == step.reasoning else step.thought.strip()
        turn = {"role": "assistant", "content": said, "tool_calls": []}
        turn |= {"reasoning_content": step.reasoning} if step.reasoning else {}
        messages.append(turn)
    call_id = f"call{len(messages) - 1:05}"
    function = {"name": called, "arguments": arguments_of(step.action_input)}
    turn["tool_calls"].append({"id": call_id, "type": "function", "function": function})
    messages.append({"role": "tool", "name": called, "tool_call_id": call_id, "content": step.observation})


def arguments_of(action_input: str) -> dict[str, Any]:
    """The arguments of a call as a training row shows them, `{}` for empty input.

    Input that is not a JSON object, gives a name two values, or cannot be stored as JSON (NaN, integers beyond 64
    bits, lone surrogates) becomes `{"input": text}`. Unlike [`parse_arguments`], which acts on what a model meant,
    nothing is cut off.
    """
    try:
        numbers: dict[str, Any] = {"parse_int": _int64, "parse_float": finite, "parse_constant": finite}
        value = json.loads(action_input.strip() or "{}", **numbers, object_pairs_hook=unambiguous)
        json.dumps(value, ensure_ascii=False).encode()  # a lone surrogate has no UTF-8
    except (ValueError, RecursionError):
        return {"input": action_input}
    return value if isinstance(value, dict) else {"input": action_input}


def _int64(digits: str) -> int:
    # `datasets.Json` hands back a whole cell as text where it holds a larger integer.
    if not -(2**63) <= int(digits) < 2**63:
        raise ValueError(f"{digits} needs more than 64 bits")
    return int(digits)


def tools_of(api: Api) -> list[dict[str, Any]]:
    """The tools of an API: `getDetails`, then its functions in order."""
    published = {function.name: function for function in api.functions}
    projection = {name: [function.path, function.method] for name, function in published.items()}
    operations = functions_of(api.documentation, projection)
    made = [tool_schema(operation) for operation in operations]
    if sum(len(json.dumps(tool)) for tool in made) > MAX_TOOLS_SIZE:
        made = [tool_schema(operation, MAX_TOOLS_SIZE // len(operations)) for operation in operations]
    for operation, tool in zip(operations, made, strict=True):
        if not operation.found:
            tool["function"]["description"] = published[operation.name].description
        if operation.name == GET_DETAILS:  # providers refuse two tools of one name
            tool["function"]["name"] += "_2"
    return [GET_DETAILS_TOOL, *made]
