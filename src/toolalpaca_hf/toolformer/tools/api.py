"""Functions of any documented API as tools, called on a simulator or on the API's own server."""

import json
import re
from collections.abc import Container, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import chain, count

from ...agent import ApiCalls, real_calls, simulated_calls
from ...formats import parse_arguments
from ...openapi import document_of, functions_of, load_api, tool_schema
from .tool import Tool

_ANSWER = re.compile(r"Status Code: 2\d\d\. Response: (.*)", re.DOTALL)


class ApiFunction(Tool):
    """A function of an API. The input is JSON arguments, or the bare value of a single argument: `getFact(7)`.

    Only a 2xx response is a result. Calls may have side effects, so results are not cached.
    """

    prompt = "api_function.txt"

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
