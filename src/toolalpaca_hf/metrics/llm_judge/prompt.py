"""What a judge is asked: our own prompt, or the published one, filled with one instruction and what was made of it."""

import hashlib
import string
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from ...errors import ToolAlpacaError
from ...schema import Api, Instruction, Step

PROMPTS = files(__package__) / "prompts"
FIELDS = ("documentation", "instruction", "standard", "solution")
RETURNS_AS_PUBLISHED = "Retruns"
"""The label of a return in upstream's prompts, as it is spelt there."""


def documentation(api: Api) -> str:
    """An API's functions in words: one entry a function, then the structures they share.

    Example:

    ```python
    >>> from toolalpaca_hf.schema import Function
    >>> documentation(Api("a/b", "B", functions=[Function("findTide", "/tide", "get", "The tide.")]))
    'findTide: The tide.'
    ```
    """
    functions = "\n".join(f"{one.name}: {one.description}" for one in api.functions)
    return f"{functions}\n{api.components}" if api.components else functions


def shortened(text: str, longest: int | None) -> str:
    """A text that is too long, without its middle; the mark says how much is missing.

    Example:

    ```python
    >>> shortened("0123456789", 4)
    '01[... 6 characters left out ...]89'
    ```
    """
    if longest is None or len(text) <= longest:
        return text
    head, tail = (longest + 1) // 2, longest // 2
    return f"{text[:head]}[... {len(text) - longest} characters left out ...]{text[len(text) - tail :]}"


@dataclass(frozen=True)
class JudgePrompt:
    """A prompt for a judge, with the fields `${documentation}`, `${instruction}`, `${standard}` and `${solution}`.

    Args:
        name (`str`): What a report calls it.
        template (`str`): Its text.
        longest (`int`, *optional*, defaults to `4000`): Characters of a return that are shown; `None` shows all.
        origin (`str`, *optional*): Where the text is from, for errors.
        returns (`str`, *optional*, defaults to `"Returns"`): What stands before a return.

    Raises:
        [`ToolAlpacaError`]: A field is missing, or there is another one.

    Example:

    ```python
    >>> JudgePrompt("short", "${instruction}")
    Traceback (most recent call last):
        ...
    toolalpaca_hf.errors.ToolAlpacaError: the prompt short has the fields instruction; a judge's prompt has documentation, instruction, standard, solution, each as ${name}
    ```
    """

    name: str
    template: str
    longest: int | None = 4000
    origin: str = ""
    returns: str = "Returns"

    def __post_init__(self) -> None:
        template = string.Template(self.template)
        found = template.get_identifiers() if template.is_valid() else ["an unreadable one"]
        if set(found) != set(FIELDS):
            raise ToolAlpacaError(
                f"the prompt {self.origin or self.name} has the fields {', '.join(found) or 'none'}; a judge's prompt "
                f"has {', '.join(FIELDS)}, each as ${{name}}"
            )

    @property
    def hash(self) -> str:
        """The SHA-256 of all that decides what a judge is shown."""
        return hashlib.sha256(f"{self.longest}\n{self.returns}\n{self.template}".encode()).hexdigest()

    def fill(self, api: Api, instruction: Instruction, steps: Sequence[Step], response: str) -> str:
        """The prompt for one instruction, see [`judge_prompt`]; nothing that is filled in is read as a field."""
        standard = [
            f"{number}. Function: {call.action}\nParameters: {call.action_input}\n"
            for number, call in enumerate(instruction.golden_calls, 1)
        ]
        solution = [
            f"{number}. Function: {step.action}\nParameters: {step.action_input}\n"
            f"{self.returns}: {shortened(step.observation, self.longest)}\n"
            for number, step in enumerate(steps, 1)
        ]
        return string.Template(self.template).substitute(
            documentation=api.nl_documentation or documentation(api),
            instruction=instruction.instruction,
            standard="".join(standard),
            solution=f"{''.join(solution)}{len(steps) + 1}. Final Response: {response}",
        )


def own_prompt(longest: int | None = 4000) -> JudgePrompt:
    """This package's prompt.

    Args:
        longest (`int`, *optional*, defaults to `4000`): Characters of a return that are shown; `None` shows all.

    Example:

    ```python
    >>> own_prompt().name
    'judge'
    ```
    """
    return JudgePrompt("judge", (PROMPTS / "judge.txt").read_text(encoding="utf-8"), longest)


def published_prompt(path: str | Path) -> JudgePrompt:
    """The prompt of the published evaluation, read from upstream's own file, `prompts/Evaluation.txt`.

    It shows every return whole, as upstream does.

    Args:
        path (`str` or `Path`): The file, such as that of `sources.fetch("evaluation_prompt")`.

    Returns:
        [`JudgePrompt`]: Named `published`.

    Raises:
        [`ToolAlpacaError`]: The file can not be read, or has not the four fields.

    Example:

    ```python
    >>> from toolalpaca_hf.sources import fetch
    >>> published_prompt(fetch("evaluation_prompt").path).name  # doctest: +SKIP
    'published'
    ```
    """
    try:
        template = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ToolAlpacaError(f"{path} does not exist; name upstream's prompts/Evaluation.txt") from None
    except OSError as error:
        raise ToolAlpacaError(f"{path} can not be read ({error.strerror}); pass a readable file") from None
    except UnicodeDecodeError:
        raise ToolAlpacaError(
            f"{path} is not a text in UTF-8; fetch upstream's prompts/Evaluation.txt again"
        ) from None
    return JudgePrompt("published", template, None, str(path), RETURNS_AS_PUBLISHED)


def judge_prompt(
    api: Api, instruction: Instruction, steps: Sequence[Step], response: str, prompt: JudgePrompt | None = None
) -> str:
    """What a judge is asked about one instruction.

    Args:
        api ([`Api`]): With the documentation.
        instruction ([`Instruction`]): What was asked, with its golden calls.
        steps (`Sequence[Step]`): The calls that were made, and what came back.
        response (`str`): What the user was told.
        prompt ([`JudgePrompt`], *optional*, defaults to [`own_prompt`]): The prompt to fill.

    Returns:
        `str`: One message of a user.

    Example:

    ```python
    >>> text = judge_prompt(Api("a/b", "B"), Instruction("a/b/0", "a/b", "High tide?", []), [], "At noon.")
    >>> "1. Final Response: At noon." in text
    True
    ```
    """
    return (prompt or own_prompt()).fill(api, instruction, steps, response)
