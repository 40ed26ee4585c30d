"""This package's own ReAct prompt, in which no segment ends in a space, and the rendering of trajectories."""

import re
from collections.abc import Sequence
from importlib.resources import files

from ..schema import Api, Segment, Step, Trajectory
from .hints import nearest_functions
from .parse import GET_DETAILS, step_log
from .upstream import UpstreamPrompt

HINTS_LABEL = "Nearest tools:"  # stands above the lines of a prompt that name the functions nearest to the instruction

_HINT_LENGTH = 100

DEFAULT_FINAL_THOUGHT = "I have what I need and can answer the user."
"""Stands in for the final thought of the few instances that have a response but no thought before it."""


def _prompt_file(name: str) -> str:
    return files("toolalpaca_hf.formats").joinpath("prompts", name).read_text(encoding="utf-8").removesuffix("\n")


def compact_description(description: str) -> str:
    """Drop the line that all functions share: output is JSON unless documented otherwise."""
    return description.replace("\n - Format: application/json\n - Structure:", "")


def tool_entry(name: str, description: str) -> str:
    """One tool of the head, its name before and after its description: a small model copies what followed a word."""
    does, *rest = compact_description(description).split("\n", 1)
    return "\n".join([f"{name}: {does}", f"Action: {name}", *rest])


def _hints(api: Api, names: Sequence[str]) -> str:
    """Purpose, then name, as in a thought: a small model can copy the whole."""
    lines = []
    for function in (function for name in names for function in api.functions if function.name == name):
        first = function.description.partition("\n")[0].strip()
        # As the chat template has it, to the character; Jinja has no `textwrap`.
        cut = f"{first[: _HINT_LENGTH - 4].rsplit(' ', 1)[0]} ..."
        does = (first if len(first) <= _HINT_LENGTH else cut).rstrip(".")
        # The first word of a description is a verb in most documents; an abbreviation keeps its capitals.
        verb = does if does[1:2].isupper() else does[:1].lower() + does[1:]
        lines.append(f"- To {verb} there is {function.name}." if does else f"- There is {function.name}.")
    return "\n".join(["", HINTS_LABEL, *lines])


class ReactPrompt:
    """The package's own prompt; its wording is in `formats/prompts/react.txt`.

    `tool_hints` functions are named after the instruction, nearest first by BM25, each with the first line of its
    description; the documentation before them is the same for all instructions.

    Example:

    ```python
    >>> ReactPrompt().head(Api("train/tides", "Tides"), "When is high tide?").splitlines()[-2:]
    ['USER: When is high tide?', 'Thought:']
    ```
    """

    name = "react"
    stop = "\nObservation:"  # what the model writes last before an observation

    def __init__(self, tool_hints: int = 0) -> None:
        self.tool_hints = tool_hints
        self._template = _prompt_file("react.txt")
        self.get_details = _prompt_file("get_details.txt")

    def head(self, api: Api, instruction: str, nearest: Sequence[str] | None = None) -> str:
        """Tools, format, instruction and hints, up to the first `Thought:`; `nearest` replaces what BM25 finds."""
        if self.tool_hints and nearest is None:
            nearest = nearest_functions(api.functions, instruction, self.tool_hints)
        hints = _hints(api, nearest) if self.tool_hints and nearest else ""
        described = [(GET_DETAILS, self.get_details), *((f.name, f.description) for f in api.functions)]
        tools, names = [tool_entry(*each) for each in described], ", ".join(name for name, _ in described)
        before, middle, after, end = re.split(r"\{tools\}|\{tool_names\}|\{instruction\}", self._template)
        components = f"\n{api.components.strip()}" if api.components.strip() else ""
        return "".join([before, "\n\n".join(tools), components, middle, names, after, instruction, hints, end])

    def action(self, step: Step) -> str:
        return f" {step_log(step, prefix='')}{self.stop}"

    def observation(self, observation: str) -> str:
        return f" {observation}\nThought:"

    def answer(self, final_thought: str, response: str) -> str:
        return f" {final_thought}\nResponse: {response}"


Prompt = ReactPrompt | UpstreamPrompt
"""A prompt format: texts before the first thought, of an action with its `stop`, of an observation, of the answer."""


def react_prompt(tool_hints: int = 0) -> ReactPrompt:
    """The package's own prompt; see [`ReactPrompt`]."""
    return ReactPrompt(tool_hints)


def trajectory_segments(
    api: Api, trajectory: Trajectory, prompt: Prompt, nearest: Sequence[str] | None = None
) -> list[Segment]:
    r"""Render a trajectory as `[head, action, observation, ..., answer]`, of which actions and answer are trained.

    This is ToolAlpaca's training objective (arXiv 2306.05301, section 3.4: loss on the model's own outputs).

    Example:

    ```python
    >>> tides = Api("train/tides", "Tides")
    >>> trajectory = Trajectory("train/tides/0", "train/tides", "High tide?", "", [], "I know.", "At noon.")
    >>> trajectory_segments(tides, trajectory, react_prompt())[-1]
    Segment(text=' I know.\nResponse: At noon.', trainable=True)
    ```
    """
    segments = [Segment(prompt.head(api, trajectory.instruction, nearest), False)]
    for step in trajectory.steps:
        segments.append(Segment(prompt.action(step), True))
        segments.append(Segment(prompt.observation(step.observation), False))
    thought = DEFAULT_FINAL_THOUGHT if trajectory.final_thought is None else trajectory.final_thought
    segments.append(Segment(prompt.answer(thought, trajectory.response), True))
    return segments
