"""The prompt the published checkpoints were trained with, read from constants in upstream's files, never executed."""

import ast
import string
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import InputError, NotFoundError
from ..schema import Api, Step
from .parse import GET_DETAILS, step_log

_AGAIN = "fetch upstream's file again"
PARTS = ("prefix", "format_instructions", "suffix")


def _parse(path: Path) -> ast.Module:
    try:
        return ast.parse(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        fix = "name a folder that holds upstream's agent/ files with --prompt-dir"
        raise NotFoundError("no such file", file=path, fix=fix) from None
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", file=path) from None
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise InputError(f"not a Python file ({error})", file=path, fix=_AGAIN) from None


def _prompts(path: Path) -> dict[str, dict[str, str]]:
    """The module's prompts; a name assigned twice has the value it had when used."""
    bound: dict[str, Any] = {}

    def value(node: ast.expr) -> Any:
        match node:
            case ast.Constant(value=str(text)):
                return text
            case ast.Name(id=name):
                return bound.get(name)
            case ast.Dict(keys=keys, values=values):
                pairs = zip(keys, values, strict=True)
                return {k.value: value(v) for k, v in pairs if isinstance(k, ast.Constant)}
        return None

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
        self.name = name
        self.folder = Path(folder)
        if (self.folder / "agent").is_dir():
            self.folder = self.folder / "agent"
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
