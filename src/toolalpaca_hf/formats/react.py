"""The ReAct prompts, this package's own and the published one, and the rendering of trajectories."""

import ast
import re
import string
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..schema import Api, Segment, Step, Trajectory
from ..storage import read_text
from .hints import nearest_functions
from .parse import GET_DETAILS, step_log

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
    """The package's own prompt, in which no segment ends in a space; its wording is in `formats/prompts/react.txt`.

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


_AGAIN = "fetch upstream's file again"
PARTS = ("prefix", "format_instructions", "suffix")


def _parse(path: Path) -> ast.Module:
    text = read_text(path, "name a folder that holds upstream's agent/ files with --prompt-dir")
    try:
        return ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise InputError(f"not a Python file ({error})", file=path, fix=_AGAIN) from None


def _prompts(path: Path) -> dict[str, dict[str, str]]:
    """The module's prompts; a name assigned twice has the value it had when used."""
    bound: dict[str, Any] = {}

    def value(node: ast.expr) -> Any:
        if isinstance(node, ast.Dict):
            pairs = zip(node.keys, node.values, strict=True)
            return {key.value: value(of) for key, of in pairs if isinstance(key, ast.Constant)}
        return bound.get(node.id) if isinstance(node, ast.Name) else getattr(node, "value", None)

    for node in _parse(path).body:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=assigned):
                bound[name] = value(assigned)
    table = bound.get("prompt_proj")
    if not isinstance(table, dict):
        raise InputError("assigns no dict `prompt_proj`", file=path, fix=_AGAIN)
    return table


def _get_details(path: Path) -> str:
    for owner in ast.walk(_parse(path)):
        for node in ast.walk(owner) if isinstance(owner, ast.ClassDef) and owner.name == "GetDetailsTool" else ():
            match node:
                case ast.Assign(targets=[ast.Name(id="description"), *_], value=ast.Constant(value=str(description))):
                    return description
    raise InputError("has no class GetDetailsTool with a description", file=path, fix=_AGAIN)


def _fill(template: str, file: Path, where: str, **fields: str) -> str:
    """`str.format` with plain fields only: no attribute access, no indexing, only the given names."""
    try:
        found = [part[1:] for part in string.Formatter().parse(template) if part[1] is not None]
    except ValueError as error:
        raise InputError(str(error), file=file, row=where, fix=_AGAIN) from None
    if wrong := [name for name, spec, conversion in found if spec or conversion or name not in fields]:
        raise InputError(f"unknown field {{{wrong[0]}}}; expected {sorted(fields)}", file=file, row=where)
    return template.format(**fields)


class UpstreamPrompt:
    """A published prompt, from upstream's own strings.

    `folder`, or its subfolder `agent`, has `agent_prompts.py` and `tools.py`; `name` is a key of upstream's
    `prompt_proj`. A file that is missing is a [`NotFoundError`], one that lacks what is read an [`InputError`].
    """

    stop = "\nASSISTANT Observation: "
    tool_hints = 0

    def __init__(self, folder: str | Path, name: str = "test_v1") -> None:
        agent = Path(folder) / "agent"
        self.name, self.folder = name, agent if agent.is_dir() else Path(folder)
        self._path = path = self.folder / "agent_prompts.py"
        table = _prompts(path)
        parts = table.get(name)
        if not isinstance(parts, dict) or not all(isinstance(parts.get(part), str) for part in PARTS):
            raise InputError(f"no complete prompt {name!r}, only {sorted(map(str, table))}", file=path)
        self._prefix, self._format, self._suffix = (parts[part] for part in PARTS)
        tools = self.folder / "tools.py"
        self.get_details = _fill(_get_details(tools), tools, "GetDetailsTool.description")

    def head(self, api: Api, instruction: str, nearest: Sequence[str] | None = None) -> str:
        """As [`ReactPrompt.head`]; ends in the space after the first thought's label, and has no hints."""
        tools = [f"{GET_DETAILS}: {self.get_details}", *(f"{f.name}: {f.description}" for f in api.functions)]
        if api.functions:
            tools[-1] += api.components
        names = ", ".join([GET_DETAILS, *(f.name for f in api.functions)])
        # Upstream formats the instructions first and the joined template again, so their braces are undone twice; a
        # function's own are its name.
        once = _fill(self._format, self._path, "format_instructions", tool_names="{tool_names}")
        form = _fill(once, self._path, "format_instructions", tool_names=names)
        suffix = _fill(self._suffix, self._path, "suffix", input=instruction, agent_scratchpad="")
        head = "\n\n".join([_fill(self._prefix, self._path, "prefix"), "\n".join(tools), form, suffix])
        return head.rstrip(" ") + " "  # one, whether or not the suffix has it already

    def action(self, step: Step) -> str:
        return step_log(step) + self.stop

    def observation(self, observation: str) -> str:
        return f"{observation}\nASSISTANT Thought: "

    def answer(self, final_thought: str, response: str) -> str:
        return f"{final_thought}\nASSISTANT Response: {response}"


Prompt = ReactPrompt | UpstreamPrompt
"""A prompt format: texts before the first thought, of an action with its `stop`, of an observation, of the answer."""


def react_prompt(tool_hints: int = 0) -> ReactPrompt:
    """The package's own prompt; see [`ReactPrompt`]."""
    return ReactPrompt(tool_hints)


def trajectory_segments(api: Api, trajectory: Trajectory, prompt: Prompt) -> list[Segment]:
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
    segments = [Segment(prompt.head(api, trajectory.instruction), False)]
    for step in trajectory.steps:
        segments.append(Segment(prompt.action(step), True))
        segments.append(Segment(prompt.observation(step.observation), False))
    thought = DEFAULT_FINAL_THOUGHT if trajectory.final_thought is None else trajectory.final_thought
    segments.append(Segment(prompt.answer(thought, trajectory.response), True))
    return segments
