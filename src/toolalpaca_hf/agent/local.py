"""A model on this machine that writes the turns of many rollouts in one batch."""

import re
import sys
from collections.abc import Sequence
from typing import Any, Literal

from transformers import PreTrainedModel, PreTrainedTokenizerBase
from trl.chat_template_utils import add_response_schema, parse_response

from ..checkpoints import resolve_model
from ..errors import OptionError, ToolAlpacaError, UnsupportedModelError
from ..formats import Turn, hopeless, parse_turn
from ..inference import BatchGenerator, Generation, NameConstraint, RowState, load_model
from ..llm import ContextFull
from ..training import SegmentTokenizer, merge, tool_template
from .backend import STOPS, ChatContext, Completion, Context, ReactContext, read_calls

_USE_REACT = "use style='react', or a model whose template knows tools"


class LocalBackend:
    """A [`Backend`] around a `transformers` model.

    ReAct contexts become exactly the ids of training; chat contexts go through the tokenizer's chat template, and
    replies are parsed with the response template that TRL has for it.

    Args:
        model, tokenizer: A causal language model, put into evaluation mode; one that has an end and a padding token.
        batch_size, reuse, temperature, seed: See [`BatchGenerator`].
        name: The model's name in reports; by default where it was loaded from.
        constrained: Whether a ReAct action has to be one of the functions shown.

    Raises:
        [`OptionError`]: A value is invalid, or two contradict each other.
        [`UnsupportedModelError`]: `"chat"`, and the tokenizer has no template whose replies can be parsed.
    """

    continuous = True

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        style: Literal["react", "chat"] = "react",
        batch_size: int = 32,
        reuse: bool = True,
        temperature: float = 0.0,
        seed: int = 0,
        name: str | None = None,
        constrained: bool = False,
    ) -> None:
        self.name = name or model.name_or_path or type(model).__name__
        if style not in ("react", "chat"):
            raise OptionError(f"is {style!r}", option="style", fix="pass 'react' or 'chat'")
        if constrained and style != "react":
            raise OptionError("is for style='react'", option="constrained", fix="leave it out for chat models")
        if batch_size < 1 or temperature < 0:
            option = "batch_size" if batch_size < 1 else "temperature"
            raise OptionError("is too small", option=option, fix="pass a batch size from 1, a temperature from 0 on")
        self.style: Literal["react", "chat"] = style
        self.width, self.temperature, self.seed = batch_size, temperature, seed
        self.model, self.tokenizer = model, tokenizer
        self.tool_hints = int(tokenizer.init_kwargs.get("tool_hints", 0))
        if style == "chat":
            self._call_opens = _call_opening(tokenizer, self.name)
            added = [token.content for token in tokenizer.added_tokens_decoder.values()]
            own = (re.escape(token[0]) + f"(?={re.escape(token[1:])})" for token in added if len(token.strip()) > 1)
            self._token_starts = re.compile("|".join(own) or "(?!)")
        self.segment_tokenizer, self.constrained = SegmentTokenizer(tokenizer), constrained
        self._constraints: dict[tuple[str, ...], NameConstraint] = {}
        stops = STOPS if style == "react" else ()
        self._writing: dict[Context, RowState] = {}
        self._failed: list[tuple[Context, ToolAlpacaError]] = []
        self.generator = BatchGenerator(model, tokenizer, stops, batch_size, reuse, temperature, seed)
        # Models without positions to run out of do not say a length.
        known = getattr(model.config.get_text_config(decoder=True), "max_position_embeddings", None)
        self.max_length = known or sys.maxsize

    def check(self) -> None:
        """Do nothing: the model is loaded."""

    def generate(self, contexts: Sequence[Context], max_new_tokens: int) -> list[Completion | ToolAlpacaError]:
        for context in contexts:
            self.start(context, max_new_tokens)
        written: dict[Context, Completion | ToolAlpacaError] = {}
        while len(written) < len(contexts):
            written.update(self.step())
        return [written[context] for context in contexts]

    def start(self, context: Context, max_new_tokens: int, unreadable_after: int | None = None) -> None:
        try:
            ids = self.ids(context)
            if (room := self.max_length - len(ids)) < 1:
                problem = f"the conversation has {len(ids)} tokens and {self.name} reads {self.max_length}"
                raise ContextFull(problem, fix="shorten the observations or use a model with a longer context")
        except ToolAlpacaError as error:
            return self._failed.append((context, error))

        def watch(written: list[int]) -> bool:
            return hopeless(self._decode(written), len(written), unreadable_after)

        react = isinstance(context, ReactContext)
        allowed = None
        if self.constrained and react:
            names, encode = context.functions, self.segment_tokenizer.continuation_ids
            if names not in self._constraints:
                self._constraints[names] = NameConstraint(encode, self._decode, names)
            allowed = self._constraints[names].of_turn()
        limit = min(max_new_tokens, room)
        self._writing[context] = self.generator.start(context, ids, limit, watch if react else None, allowed)

    def partial(self) -> list[str]:
        """What each turn that is being written holds so far."""
        return [self._decode(row.written) for row in self._writing.values()]

    def step(self) -> list[tuple[Context, Completion | ToolAlpacaError]]:
        if self._failed:
            failed, self._failed = self._failed, []
            return [*failed]
        self.generator.step()
        ended = [(context, row) for context, row in self._writing.items() if row.ended]
        return [(context, self._written(context, self._writing.pop(context))) for context, row in ended]

    def _written(self, context: Context, row: RowState) -> Completion | ToolAlpacaError:
        outcome = self.generator.outcome(row)
        if isinstance(outcome, Exception):
            reason = f"{type(outcome).__name__}: {str(outcome).partition(chr(10))[0]}"
            problem = f"{self.name} could not write a turn after {len(row.ids)} tokens ({reason})"
            return ToolAlpacaError(problem, fix="use a smaller model or a machine with more memory")
        turn = self._reply(context, row.ids, outcome) if isinstance(context, ChatContext) else parse_turn(outcome.text)
        return Completion(outcome.text, turn, len(outcome.ids), outcome.end == "limit")

    def forget(self, context: Context) -> None:
        self._writing.pop(context, None)
        self._failed = [failed for failed in self._failed if failed[0] is not context]
        self.generator.drop(context)

    def reseed(self, seed: int) -> None:
        self.seed = seed
        self.generator.reseed(seed)

    def describe(self) -> dict[str, str | int | float | bool | None]:
        return {
            "backend": "local",
            "model": self.name,
            "revision": getattr(self.model.config, "_commit_hash", None),
            "style": self.style,
            "dtype": str(self.model.dtype).removeprefix("torch."),
            "constrained": self.constrained,
            "temperature": self.temperature,
            "sampling_seed": self.seed if self.temperature else None,
        }

    def ids(self, context: Context) -> list[int]:
        if isinstance(context, ReactContext):
            head, *rest = merge(context.segments)
            ids = self.segment_tokenizer.prompt_ids(head.text)
            return ids + [token for run in rest for token in self.segment_tokenizer.continuation_ids(run.text)]
        messages = [
            message | {"content": self._spelt(message["content"])} if message["role"] in ("tool", "user") else message
            for message in context.messages
        ]
        how: dict[str, Any] = {"tools": self._spelt(context.tools) or None, "add_generation_prompt": True}
        try:
            made: Any = self.tokenizer.apply_chat_template(messages, return_dict=False, **how)
            return made
        except Exception as error:  # a template is a program of the model's author and raises what it likes
            problem = f"the chat template of {self.name} does not take the conversation ({error})"
            raise UnsupportedModelError(problem, fix=_USE_REACT) from None

    def _decode(self, ids: list[int]) -> str:
        return str(self.tokenizer.decode(ids))

    def _spelt(self, value: Any) -> Any:
        """Escape the template's special tokens in texts: an API's answer or document must not end a turn."""
        if isinstance(value, dict):
            return {self._spelt(name): self._spelt(inner) for name, inner in value.items()}
        if isinstance(value, list):
            return [self._spelt(inner) for inner in value]
        return self._token_starts.sub(r"\g<0> ", value) if isinstance(value, str) else value

    def _reply(self, context: ChatContext, ids: list[int], continuation: Generation) -> Turn:
        opening = self._call_opens.search(continuation.text)
        unread = Turn(continuation.text[: opening.start()].strip() if opening else "")
        tools: Any = context.tools or None
        try:
            reply: Any = parse_response(self.tokenizer, continuation.ids, prefix=ids, tools=tools)
            found = [call.get("function", call) for call in reply.get("tool_calls") or ()]
            said = str(reply.get("content") or "").strip()
            reasoning = str(reply.get("reasoning_content") or reply.get("thinking") or "").strip()
        # TRL did not foresee JSON nested a thousand deep, for one, nor what a checkpoint's own template may give.
        except Exception:
            return unread
        if found:
            return Turn.of_calls(said, read_calls(found), reasoning)
        return unread if opening else Turn("", response=said, reasoning=reasoning)


def load_backend(model: str, *, device: str | None = None, dtype: str = "auto", **options: Any) -> LocalBackend:
    """Load a folder, a Hub id, or `smollm2` as a [`LocalBackend`], with its `options`; the others: [`load_model`]."""
    return LocalBackend(*load_model(resolve_model(model), device, dtype), name=model, **options)


def _call_opening(tokenizer: PreTrainedTokenizerBase, name: str) -> re.Pattern[str]:
    """What a tool call begins with; also sets the response template that belongs to the tokenizer's chat template."""
    tokenizer.chat_template = tool_template(tokenizer)  # of several by name, the one that has tools
    if tokenizer.chat_template is None:
        raise UnsupportedModelError(f"{name} has no chat template", fix=_USE_REACT)
    if getattr(tokenizer, "response_template", None) is None:
        try:
            add_response_schema(tokenizer)
        except ValueError:
            problem = f"{name} has no response_template, and TRL does not know its chat template"
            raise UnsupportedModelError(problem, fix=f"serve it behind an endpoint, or {_USE_REACT}") from None
    call = tokenizer.response_template["fields"].get("tool_calls")
    if call is None:
        raise UnsupportedModelError(f"the chat template of {name} has no tool calls", fix=_USE_REACT)
    if "open_pattern" in call:
        return re.compile(call["open_pattern"])
    literals = [call["open"]] if isinstance(call["open"], str) else call["open"]
    return re.compile("|".join(map(re.escape, literals)))
