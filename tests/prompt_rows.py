"""Trajectories as the messages from which a checkpoint's own chat template renders the text of their segments."""

import re
from typing import Any

from toolalpaca_hf.formats import DEFAULT_FINAL_THOUGHT, Prompt, UpstreamPrompt
from toolalpaca_hf.formats.parse import GET_DETAILS
from toolalpaca_hf.formats.react import compact_description
from toolalpaca_hf.schema import Api, Step, Trajectory

# Private-use characters, which no prompt has.
_A, _B, _C = "\ue0a1", "\ue0a2", "\ue0a3"


def prompt_messages(api: Api, trajectory: Trajectory, prompt: Prompt) -> dict[str, Any]:
    """A trajectory as messages and tools from which [`build_chat_template`] renders its segments, to the character.

    The arguments are those of [`trajectory_segments`]. Unlike [`to_messages`], nothing is left out or written anew:
    action inputs stay text, a recorded turn that its fields do not give back is the `content` of a message without
    calls, before a result, and the tools carry their natural-language documentation.
    """
    before, after = prompt.head(api, _C, ()).split(_C)
    asked = prompt.head(api, trajectory.instruction)
    messages: list[dict[str, Any]] = [{"role": "user", "content": asked[len(before) : len(asked) - len(after)]}]
    turn_start, *_, turn_stop = re.split(f"[{_A}{_B}{_C}]", prompt.action(Step(_A, _B, _C, "")))
    for step in trajectory.steps:
        message: dict[str, Any] = {"role": "assistant"}
        if step.log is None:
            function = {"name": step.action, "arguments": step.action_input}
            message |= {"reasoning_content": step.thought, "content": ""}
            message["tool_calls"] = [{"type": "function", "function": function}]
        else:
            message["content"] = prompt.action(step).removeprefix(turn_start).removesuffix(turn_stop)
        messages += [message, {"role": "tool", "content": step.observation}]
    thought = DEFAULT_FINAL_THOUGHT if trajectory.final_thought is None else trajectory.final_thought
    messages.append({"role": "assistant", "reasoning_content": thought, "content": trajectory.response})
    return {"messages": messages, "tools": documented_tools(api, prompt)}


def documented_tools(api: Api, prompt: Prompt) -> list[dict[str, Any]]:
    """The tools of a prompt, `getDetails` first, with natural-language documentation in place of schemas."""
    published = isinstance(prompt, UpstreamPrompt)
    described = [(f.name, f.description if published else compact_description(f.description)) for f in api.functions]
    described.insert(0, (GET_DETAILS, compact_description(prompt.get_details)))
    shared = api.components if published else f"\n{api.components.strip()}"
    if shared.strip() and (api.functions or not published):
        described[-1] = (described[-1][0], described[-1][1] + shared)
    return [{"type": "function", "function": {"name": n, "description": text}} for n, text in described]
