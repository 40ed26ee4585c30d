"""A backend for any OpenAI-compatible server: raw completions for ReAct text, chat completions for native calls."""

import json
import re
from collections.abc import Callable, Sequence
from typing import Any, Literal

from ..errors import OptionError, ToolAlpacaError
from ..formats import GET_DETAILS_TOOL, Turn, parse_turn
from ..llm import Choice, ModelClient, RequestRejected, Unanswered, estimate_tokens, text_of, without_thinking
from ..openapi import mapping
from ..storage import unambiguous
from .backend import STOPS, ChatContext, Completion, Context, ReactContext, openai_messages, read_calls

# Where servers put reasoning; `reasoning_content` is also what chat templates read.
_REASONING = ("reasoning_content", "reasoning")
# What models write before a call; most servers read it, some pass it on as text.
_CALL = re.compile(r"<tool_call>|<\|tool_call\|>|\[TOOL_CALLS\]|<\|python_tag\|>")
_FENCED = re.compile(r"```\w*\n(.*)\n```", re.DOTALL)
_BEGUN = re.compile(r"[^\s;]")
_DECODER = json.JSONDecoder(object_pairs_hook=unambiguous)


class EndpointBackend:
    """The model of an OpenAI-compatible server: `transformers serve`, vLLM, TGI, llama.cpp or OpenAI's own.

    The prompt is sent as text, so the server's tokenizer splits it; a local model gets the ids of training. With
    sampling, outputs of concurrent rollouts depend on the server, whatever the seed.

    Args:
        base_url, model, api_key, timeout, retries: See [`ModelClient`], whose errors these are.
        style: `"react"` for actions as text, which needs raw completions; `"chat"` for native tool calls.
        concurrency: Requests at once.
        temperature, seed: Of sampling; `None` leaves it to the server.
    """

    continuous = False

    def __init__(
        self,
        base_url: str,
        model: str,
        style: Literal["react", "chat"] = "react",
        concurrency: int = 8,
        api_key: str | None = None,
        temperature: float | None = 0.0,
        seed: int | None = 0,
        timeout: float = 120.0,
        retries: int = 2,
    ) -> None:
        if style not in ("react", "chat"):
            raise OptionError(f"the style is {style!r}", option="--style", fix="pass 'react' or 'chat'")
        self._client = ModelClient(base_url, model, api_key, timeout, retries, concurrency=concurrency)
        self._options = {"temperature": temperature, "seed": seed}
        self._reasoning: str | None = ""
        self.name, self.width = model, concurrency
        self.style: Literal["react", "chat"] = style

    def check(self) -> None:
        """Request one token, to fail before a run if the server, model or route is missing."""
        self._client.check([GET_DETAILS_TOOL] if self.style == "chat" else None)

    def generate(
        self, contexts: Sequence[Context], max_new_tokens: int, tell: Callable[[str], None] | None = None
    ) -> list[Completion | ToolAlpacaError]:
        """As [`Backend.generate`]; `tell` gets what a turn holds so far, while the server writes it."""

        def turn(context: Context) -> Completion | ToolAlpacaError:
            try:
                if isinstance(context, ReactContext):
                    return self._react(context, max_new_tokens, tell)
                return self._chat(context, max_new_tokens, tell)
            except ToolAlpacaError as error:
                return error

        return [turn(context) for context in contexts]

    def forget(self, context: Context) -> None:
        """Do nothing."""

    def reseed(self, seed: int) -> None:
        if self._options["seed"] is not None:
            self._options["seed"] = seed

    def describe(self) -> dict[str, str | int | float | bool | None]:
        server = {"backend": "endpoint", "endpoint": self._client.base_url, "model": self._client.model}
        return {**server, "style": self.style, **self._options}

    def _react(self, context: ReactContext, max_new_tokens: int, tell: Callable[[str], None] | None) -> Completion:
        choice = self._client.complete(context.text, max_new_tokens, stop=list(STOPS), tell=tell, **self._options)
        text: str = choice.fields["text"]
        # Servers leave the stop text out or in, or know none (`transformers serve --continuous-batching`).
        end = min((at for stop in STOPS if (at := text.find(stop)) >= 0), default=None)
        return Completion(text[:end], parse_turn(text[:end]), _tokens(choice, text), choice.cut and end is None)

    def _chat(self, context: ChatContext, max_new_tokens: int, tell: Callable[[str], None] | None) -> Completion:
        messages, tools = openai_messages(context.messages, self._reasoning), context.tools or None
        for message in messages:
            if message["role"] == "assistant" and not (message["content"] or "tool_calls" in message):
                message["content"] = "(nothing)"  # some servers refuse an empty one
        try:
            choice = self._client.chat(messages, max_new_tokens, tools=tools, tell=tell, **self._options)
        except RequestRejected as error:
            # Models want their reasoning back between calls; not every server that returns it takes it.
            if not self._reasoning or "reasoning" not in error.said:
                raise
            self._reasoning = None
            return self._chat(context, max_new_tokens, tell)
        message = choice.fields["message"]
        if self._reasoning == "":
            self._reasoning = next((name for name in _REASONING if message.get(name)), "")
        text, turn = read_message(message)
        if not (text or turn.reasoning or choice.cut) and message.get("content") is None:
            url = self._client.base_url
            raise Unanswered(f"{url} answers with a message that has neither content nor a call", endpoint=url)
        return Completion(text, turn, _tokens(choice, text), choice.cut)


def _tokens(choice: Choice, text: str) -> int:
    return estimate_tokens(text) if choice.tokens is None else choice.tokens


def read_message(message: dict[str, Any]) -> tuple[str, Turn]:
    content = message.get("content") or message.get("refusal") or ""
    content = str(text_of(content))
    said = without_thinking(content).strip()
    apart = (text for name in _REASONING if isinstance(text := message.get(name), str) and text)
    reasoning = next(apart, content.rpartition("</think>")[0].rpartition("<think>")[2]).strip()
    # Older servers hand back one call, by an older name.
    found = message.get("tool_calls") or [call for call in [mapping(message.get("function_call"))] if call.get("name")]
    if isinstance(found, list) and found:
        calls = [call.get("function", call) if isinstance(call, dict) else None for call in found]
        marked = [f"<tool_call>\n{json.dumps(call, ensure_ascii=False)}\n</tool_call>" for call in calls]
        return "\n".join([content, *marked]).strip(), Turn.of_calls(said, read_calls(calls), reasoning)
    if mark := _CALL.search(said):
        return content, Turn.of_calls(said[: mark.start()].strip(), read_calls(_marked(said)), reasoning)
    if calls := _bare(said):
        return content, Turn.of_calls("", read_calls(calls), reasoning)
    return content, Turn("", response=said or None, reasoning=reasoning)


def _marked(text: str) -> list[Any]:
    """What stands behind the marks of calls, each a call or a list of them."""
    found, at = [], 0
    while mark := _CALL.search(text, at):
        value, at = _json(text, mark.end())
        found += value if isinstance(value, list) else [value]
    return found


def _bare(text: str) -> list[Any]:
    """The calls of a text that is nothing else, perhaps in a fence or with `;` between them; none of any other."""
    fenced, found, at = _FENCED.fullmatch(text), [], 0
    text = (fenced[1] if fenced else text).strip("; \n")
    while at < len(text):
        value, at = _json(text, at)
        some = [mapping(call).get("function", call) for call in (value if isinstance(value, list) else [value])]
        if not some or not all("name" in mapping(call) and {*call} & {"arguments", "parameters"} for call in some):
            return []
        found += some
    return found


def _json(text: str, start: int) -> tuple[Any, int]:
    """The value that begins there, and its end; `None` if there is none."""
    start = begun.start() if (begun := _BEGUN.search(text, start)) else len(text)
    try:
        return _DECODER.raw_decode(text, start)
    except (ValueError, RecursionError):
        return None, start
