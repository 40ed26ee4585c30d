"""The tools of section 3, and any function of a documented API. A tool of one's own: see [`Tool`]."""

from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path

from ...errors import ToolAlpacaError
from .api_function import ApiFunction, api_functions
from .api_source import ApiSource
from .base import Tool, prompt_for
from .calculator import Calculator
from .calendar import Calendar
from .question_answering import QuestionAnswering, endpoint_model, local_model
from .translation import NLLB, Translation
from .wiki_search import EMBEDDED, WikiSearch

TOOLS = ("calculator", "calendar", "qa", "wikisearch", "mt")
"""What [`tools_named`] knows: the tools' names in lower case."""

__all__ = [
    "TOOLS",
    "ApiFunction",
    "ApiSource",
    "Calculator",
    "Calendar",
    "QuestionAnswering",
    "Tool",
    "Translation",
    "WikiSearch",
    "api_functions",
    "endpoint_model",
    "local_model",
    "prompt_for",
    "tools_named",
]


def tools_named(
    names: str | Sequence[str],
    *,
    date: date | str | None = None,
    corpus: str | Path = EMBEDDED,
    cache_dir: str | Path | None = None,
    qa_model: str | None = None,
    qa_endpoint: str | None = None,
    qa_chat: bool = False,
    translation_model: str = NLLB,
    target: str = "en",
) -> dict[str, Tool]:
    """Tools by name, ready to be called.

    Args:
        names (`str` or `Sequence[str]`): Some of [`TOOLS`], `"calculator,calendar"`; case does not matter.
        date (`date` or `str`, *optional*): Of the calendar; defaults to today's.
        corpus (`str` or `Path`, *optional*, defaults to `"embedded"`): What is searched, see [`WikiSearch`].
        cache_dir (`str` or `Path`, *optional*): Where its index is kept.
        qa_model (`str`, *optional*): The model that answers questions: a folder, a Hub id or `smollm2`; with
            `qa_endpoint`, its name there.
        qa_endpoint (`str`, *optional*): An OpenAI-compatible server.
        qa_chat (`bool`, *optional*, defaults to `False`): Whether to use its chat completions instead of raw ones.
        translation_model (`str`, *optional*, defaults to `"facebook/nllb-200-distilled-600M"`): See [`Translation`].
        target (`str`, *optional*, defaults to `"en"`): The language to translate into.

    Returns:
        `dict[str, Tool]`: By the name that is written in a text (`Calculator`, `Calendar`, `QA`, `WikiSearch`, `MT`).

    Raises:
        [`ToolAlpacaError`]: There is no such tool, or something that it needs is missing.

    Example:

    ```python
    >>> list(tools_named("calculator,calendar"))
    ['Calculator', 'Calendar']
    ```
    """

    def answering() -> Tool:
        if not qa_model:
            raise ToolAlpacaError(
                "question answering needs a model; pass --qa-model, and --qa-endpoint for one on a server"
            )
        if qa_endpoint:
            asked = f"{qa_endpoint} {qa_model} {'chat' if qa_chat else 'raw'}"
            return QuestionAnswering(endpoint_model(qa_endpoint, qa_model, qa_chat), asked)
        return QuestionAnswering(local_model(qa_model), qa_model, at_once=1)

    makers: dict[str, Callable[[], Tool]] = {
        "calculator": Calculator,
        "calendar": lambda: Calendar(date),
        "qa": answering,
        "wikisearch": lambda: WikiSearch(corpus, cache_dir=cache_dir),
        "mt": lambda: Translation(translation_model, target),
    }
    wanted = names.split(",") if isinstance(names, str) else names
    wanted = [name.strip().lower() for name in wanted if name.strip()]
    if unknown := [name for name in wanted if name not in makers]:
        raise ToolAlpacaError(f"there is no tool {unknown[0]!r}; choose among {', '.join(TOOLS)}")
    tools = [makers[name]() for name in dict.fromkeys(wanted)]
    return {tool.name: tool for tool in tools}
