"""The tools of section 3 of arXiv 2302.04761 by name, functions of any documented API, and your own ([`Tool`])."""

import json
import re
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import date
from itertools import chain, count
from pathlib import Path
from typing import Any

from ...agent import ApiCalls, real_calls, simulated_calls
from ...errors import OptionError, nearest
from ...formats import parse_arguments
from ...openapi import document_of, functions_of, load_api, tool_schema
from .paper import EMBEDDED, NLLB, QuestionAnswerer, Translation, WikiSearch
from .paper import Calculator as Calculator
from .paper import Calendar as Calendar
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


_ANSWER = re.compile(r"Status Code: 2\d\d\. Response: (.*)", re.DOTALL)


class ApiFunction(Tool):
    """A function of an API, whose input is JSON or a single argument's bare value; only a 2xx response is a result."""

    prompt = "api_function.txt"  # without a `key`, since calls may have side effects

    def __init__(self, calls: ApiCalls, function: str, taken: Container[str] = ()) -> None:
        self._calls, self.function = calls, function
        # In a form that a model can write between the markers, and of no other function.
        name = re.sub(r"^(?![A-Za-z_])", "_", re.sub(r"[^\w.-]+", "_", function))[:64]
        self.name = next(n for n in chain([name], (f"{name[:60]}_{i}" for i in count(2))) if n not in taken)
        known = {known.name: [known.path, known.method] for known in calls.api.functions}
        (operation,) = functions_of(document_of(calls.api), {function: known[function]})
        self.schema = tool_schema(operation)["function"]
        self.slots = {
            "{name}": self.name,
            "{description}": self.schema["description"],
            "{arguments}": ", ".join(self.schema["parameters"]["properties"]) or "none",
        }

    def __call__(self, text: str) -> str | None:
        parameters = self.schema["parameters"]
        names = parameters.get("required") or list(parameters["properties"])
        if len(names) == 1 and text.strip() and not isinstance(parse_arguments(text), dict):
            # The text is converted to a number or boolean if the document requires one.
            text = json.dumps({names[0]: text.strip().strip("\"'")}, ensure_ascii=False)
        answer = _ANSWER.fullmatch(self._calls.call(self.function, text))
        return answer[1] if answer else None


@dataclass(frozen=True)
class ApiSource:
    """The functions of an API as tools, to be opened in each process that calls them."""

    document: str  # file or URL
    simulator: str = "embedded"  # or the URL of one that runs
    real: bool = False  # call the document's own server instead
    credentials: str | None = None  # with `real`, a file of NAME=VALUE lines, in addition to the environment
    private: tuple[str, ...] = ()  # HOST:PORT that may have a private address
    timeout: float = 30.0

    @contextmanager
    def opened(self) -> Iterator[dict[str, Tool]]:
        """Open the tools, by name; a [`ToolAlpacaError`] if the document cannot be used, or no server answers."""
        from ...simulator import SESSION_HEADER, running

        api = load_api(self.document, private=self.private)
        with ExitStack() as stack:
            if self.real:
                calls = real_calls([api], self.credentials, private=self.private, seconds=self.timeout)[api.id]
            else:
                url = stack.enter_context(running([api])) if self.simulator == "embedded" else self.simulator
                calls = simulated_calls([api], url, SESSION_HEADER, self.timeout)[api.id]
            stack.callback(calls.close)
            found: dict[str, Tool] = {}
            for function in calls.names:
                tool = ApiFunction(calls, function, found)
                found[tool.name] = tool
            yield found


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
