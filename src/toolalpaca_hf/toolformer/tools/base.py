"""What a tool is: text in, text out."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ...errors import ToolAlpacaError
from ..markers import Markers

PROMPTS = files("toolalpaca_hf.toolformer") / "prompts"
SLOT = "{text}"


class Tool(ABC):
    """A tool of section 3: it is given a text and answers with one. Called by several threads at once.

    A tool of one's own needs a name and `__call__`, and for annotation a prompt; an instance is passed where the others
    are: `{tool.name: tool}`.

    Attributes:
        name (`str`): As it is written in a text: letters, digits, `_`, `.` and `-`.
        prompt (`str` or `Path`): A file of demonstrations for [`prompt_for`]: a name in `toolformer/prompts`, or a path.
        key (`str`, *optional*): What decides a result besides the input, for the result cache. `None` for a tool whose
            results must not be kept, such as one that changes something.
        slots (`Mapping[str, str]`): What else is put into the prompt, `{"{name}": "getFact"}`.
        at_once (`int`): How many of its calls may be made at the same time; 1 for a model that answers one after another.

    Example:

    ```python
    >>> class Shout(Tool):
    ...     name = key = "Shout"
    ...
    ...     def __call__(self, text: str) -> str | None:
    ...         return text.upper() or None
    >>> Shout()("hello")
    'HELLO'
    ```
    """

    name: str
    prompt: str | Path = ""
    key: str | None = None
    slots: Mapping[str, str] = MappingProxyType({})
    at_once: int = 8

    @abstractmethod
    def __call__(self, text: str) -> str | None:
        """Answer.

        Args:
            text (`str`): What a model wrote between the parentheses.

        Returns:
            `str`: The result; `None` where there is none. What is raised is recorded, and counts as no result.
        """

    def check(self) -> None:  # noqa: B027 (most tools have nothing to find out)
        """Find out early what would keep every call from working: a server that is away, a file that is missing.

        Raises:
            [`ToolAlpacaError`]: It would not do.
        """

    def for_document(self, meta: Mapping[str, Any]) -> "Tool":
        """The tool as it stands for a document, whose `date` a calendar goes by."""
        return self


def prompt_for(tool: Tool, markers: Markers | None = None) -> str:
    """The demonstrations that make a model propose calls of a tool (section 2, sampling API calls).

    Args:
        tool ([`Tool`]): The tool.
        markers ([`Markers`], *optional*): What the calls in it are written with.

    Returns:
        `str`: With one slot `{text}`. Put a document in with `prompt.replace("{text}", document)`: documents hold braces.

    Raises:
        [`ToolAlpacaError`]: The tool has no prompt, or one without the slot.

    Example:

    ```python
    >>> from toolalpaca_hf.toolformer.tools import Calculator
    >>> prompt_for(Calculator()).count("{text}")
    1
    ```
    """
    if not tool.prompt:
        raise ToolAlpacaError(
            f"the tool {tool.name} has no prompt; set its attribute `prompt` to a file of demonstrations"
        )
    own = isinstance(tool.prompt, Path) or "/" in tool.prompt
    try:
        text = (Path(tool.prompt) if own else PROMPTS / tool.prompt).read_text(encoding="utf-8").removesuffix("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ToolAlpacaError(f"{tool.prompt}, the prompt of {tool.name}, can not be read ({error})") from None
    if text.count(SLOT) != 1:
        raise ToolAlpacaError(f"{tool.prompt}, the prompt of {tool.name}, has to have the slot {SLOT} once")
    head, tail = text.split(SLOT)
    for slot, value in tool.slots.items():
        # A description may hold anything, the slot itself for one.
        value = " ".join(value.replace(SLOT, "").split())
        head, tail = head.replace(slot, value), tail.replace(slot, value)
    text = head + SLOT + tail
    return text if markers is None or markers == Markers() else _rewritten(text, markers)


def _rewritten(text: str, markers: Markers) -> str:
    """A prompt, whose calls are in the default markers, with others."""
    done, at = "", 0
    for found in Markers().find(text):
        done += text[at : found.start] + markers.call(found.call)
        at = found.end
    return done + text[at:]
