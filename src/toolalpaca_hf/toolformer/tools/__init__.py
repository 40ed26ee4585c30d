"""The tools of section 3 of arXiv 2302.04761 by name, functions of any documented API, and your own ([`Tool`])."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from datetime import date
from pathlib import Path
from typing import Any

from ...errors import OptionError, nearest
from .api import ApiFunction as ApiFunction
from .api import ApiSource as ApiSource
from .basic import Calculator as Calculator
from .basic import Calendar as Calendar
from .models import NLLB, QuestionAnswerer, Translation
from .search import EMBEDDED, WikiSearch
from .tool import ResultCache as ResultCache
from .tool import Tool as Tool
from .tool import ToolResult as ToolResult
from .tool import execute as execute
from .tool import prompt_for as prompt_for

TOOLS = ("calculator", "calendar", "qa", "wikisearch", "mt")


def tools_named(
    names: str | Sequence[str],
    *,
    date: date | str | None = None,
    corpus: str | Path | None = None,
    cache_dir: str | Path | None = None,
    qa_model: str | None = None,
    qa_endpoint: str | None = None,
    qa_chat: bool = False,
    translation_model: str | None = None,
) -> dict[str, Tool]:
    """Create tools, by the names that stand in a text: `Calculator`, `Calendar`, `QA`, `WikiSearch`, `MT`.

    Args:
        names (`str` or `Sequence[str]`): Some of [`TOOLS`], such as `"calculator,calendar"`; case does not matter.
        date (`date` or `str`, *optional*): Date of the calendar; defaults to today.
        corpus, cache_dir, qa_model, qa_endpoint, qa_chat, translation_model (*optional*): Of the other tools:
            [`WikiSearch`], [`QuestionAnswerer`] and [`Translation`].

    Raises:
        [`OptionError`]: There is no such tool, or it needs another option.

    Example:

    ```python
    >>> list(tools_named("calculator,calendar"))
    ['Calculator', 'Calendar']
    ```
    """
    makers: dict[str, Callable[[], Tool]] = {
        "calculator": Calculator,
        "calendar": lambda: Calendar(date),
        "qa": lambda: QuestionAnswerer(qa_model or "", qa_endpoint, qa_chat),
        "wikisearch": lambda: WikiSearch(corpus or EMBEDDED, cache_dir=cache_dir),
        "mt": lambda: Translation(translation_model or NLLB),
    }
    wanted = [name.strip().lower() for name in (names.split(",") if isinstance(names, str) else names) if name.strip()]
    if unknown := [name for name in wanted if name not in makers]:
        fix = f"{nearest(unknown[0], TOOLS)}choose among {', '.join(TOOLS)}"
        raise OptionError(f"no tool {unknown[0]!r}", option="--tools", fix=fix)
    if "qa" in wanted and not qa_model:
        fix = "pass it, and --qa-endpoint for a model on a server"
        raise OptionError("the tool qa needs a model", option="--qa-model", fix=fix)
    tools = [makers[name]() for name in dict.fromkeys(wanted)]
    return {tool.name: tool for tool in tools}


@contextmanager
def open_tools(
    names: str | Sequence[str], api: ApiSource | None = None, own: Sequence[Tool] = (), **options: Any
) -> Iterator[dict[str, Tool]]:
    """Open [`tools_named`], the functions of an API and your own tools for the duration of a `with` block."""
    with api.opened() if api else nullcontext({}) as functions:
        found = [*tools_named(names, **options).values(), *own, *functions.values()]
        called = [tool.name for tool in found]
        if twice := [name for name in called if called.count(name) > 1]:
            raise OptionError(f"two tools are called {twice[0]}", option="--tools", fix="leave one out or rename it")
        yield dict(zip(called, found, strict=True))
