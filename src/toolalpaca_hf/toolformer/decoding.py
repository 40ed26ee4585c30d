"""Greedy decoding with tool calls (section 2, inference): they start if their marker is among the likeliest tokens."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..errors import OptionError
from ..inference import BatchGenerator, RowState
from .markers import Markers, ToolCall
from .tools import ResultCache, Tool, ToolResult, execute
from .tools.tool import LONGEST_RESULT
from .vocabulary import CALL_SO_FAR, Vocabulary

BEHIND_ARROW = 16  # tokens searched for one with nothing after the arrow


@dataclass
class MadeCall:
    """A call at characters `start` to `end` of the generated text; `error` says why it has no result."""

    tool: str = ""
    input: str = ""
    result: str | None = None
    error: str | None = None
    start: int = 0
    end: int = 0


@dataclass(frozen=True)
class Limits:
    """Limits per text; a call starts if its marker is among the `k` likeliest tokens."""

    tokens: int  # besides calls
    calls: int
    call_tokens: int  # of each
    context: int
    longest: int  # characters of a result
    k: int


@dataclass(eq=False)
class CallState:
    """The state of a row's text; `asked` is a call that waits for its result. Calls begin and end at ids here."""

    index: int
    row: RowState
    vocabulary: Vocabulary
    limits: Limits
    ends: set[int]
    shown: int = 0
    asked: ToolCall | None = None
    done: bool = False
    open: MadeCall | None = None
    opened_by_force: bool = False
    begun: list[MadeCall] = field(default_factory=list)
    used: int = 0
    plain: int = 0

    def __post_init__(self) -> None:
        self.ids, self.start = list(self.row.ids), len(self.row.ids)
        # A prompt may end inside a call, which then counts as the first one.
        markers, text = self.vocabulary.markers, self.vocabulary.text(self.ids, 0)
        at = text.rfind(markers.start)
        begins = at >= 0 and markers.end not in text[at:] and CALL_SO_FAR.fullmatch(text[at + len(markers.start) :])
        if begins and self.limits.calls:
            places = range(len(self.ids) - 1, -1, -1)
            self._begin(next(i for i in places if markers.start in self.vocabulary.text(self.ids, i)), forced=True)

    def choose(self, ranked: Sequence[int], unmarked: int) -> int:
        """The next id from the most likely ones, best first; `unmarked` is the best without a start marker."""
        if begun := self.open:
            # Whatever a token has after the arrow would take the place of the result.
            arrow = self.vocabulary.markers.arrow
            free = (token for token in ranked if not self._content(begun, token).partition(arrow)[2].strip())
            return next(free, ranked[0])
        if self.used >= self.limits.calls:
            return unmarked
        return next((token for token in ranked[: self.limits.k] if token in self.vocabulary.starts), ranked[0])

    def take(self, token: int, likeliest: int | None, forced: bool) -> None:
        self.ids.append(token)
        if forced:
            if not self.row.forced:
                self._close()
        elif token in self.ends:
            self.ids.pop()
            return self._end()
        elif self.open:
            self._read(self.open)
        elif self.used < self.limits.calls and token in self.vocabulary.openings:
            self._begin(len(self.ids) - 1, token != likeliest)
        else:
            self.plain += 1
        if self.plain >= self.limits.tokens or len(self.ids) >= self.limits.context:
            self._end()

    def answer(self, executed: ToolResult) -> None:
        assert self.open and self.asked
        self.open.result, self.open.error, self.asked = executed.result, executed.error, None
        space = "" if self.vocabulary.text(self.ids, self.open.start).endswith(" ") else " "
        shown = f"{space}{executed.result}" if executed.result else ""
        self.row.forced.extend(self.vocabulary.encode(shown + self.vocabulary.markers.end, continued=True))

    def generated(self) -> "Generated":
        def place(at: int) -> int:
            return len(self.vocabulary.text(self.ids[: max(at, self.start)], self.start))

        calls = [replace(begun, start=place(begun.start), end=place(begun.end)) for begun in self.begun]
        return Generated(self.vocabulary.text(self.ids, self.start), calls, len(self.ids) - self.start)

    def _begin(self, at: int, forced: bool) -> None:
        self.open, self.opened_by_force = MadeCall(start=at), forced
        self._read(self.open)

    def _content(self, begun: MadeCall, *more: int) -> str:
        text = self.vocabulary.text([*self.ids, *more], begun.start)
        return text.partition(self.vocabulary.markers.start)[2]

    def _read(self, begun: MadeCall) -> None:
        markers, content = self.vocabulary.markers, self._content(begun)
        head, arrow, _ = content.partition(markers.arrow)
        closed = markers.end in head
        call = markers.parse(head.partition(markers.end)[0]) if arrow or closed else None
        if call:
            begun.tool, begun.input = call.tool, call.input
        if call and not closed:
            self.asked = call
        elif call:
            begun.error = "it ended without asking for its result"
            self._close()
        elif arrow or closed or not CALL_SO_FAR.fullmatch(content):
            # Text after all. It counts as a call if the decoder forced it, or it would start one forever.
            self.used += self.opened_by_force
            self.plain += len(self.ids) - max(begun.start, self.start)
            self.open = None
        elif len(self.ids) - begun.start > self.limits.call_tokens:
            begun.tool, _, begun.input = content.strip().partition("(")
            begun.error = f"it did not end within {self.limits.call_tokens} tokens"
            self.row.forced.extend(self.vocabulary.encode(markers.end, continued=True))

    def _close(self) -> None:
        assert self.open
        self.open.end = len(self.ids)
        self.begun.append(self.open)
        self.used += 1
        self.open = None

    def _end(self) -> None:
        self.done = True
        if begun := self.open:
            if not begun.tool:
                begun.tool, _, begun.input = self._content(begun).strip().partition("(")
            begun.error = begun.error or "the text ended inside it"
            self.row.forced.clear()
            self.asked = None
            self._close()


@dataclass(frozen=True)
class Generated:
    """A continuation of a prompt, with calls and results, and how many ids it has; `error` says why there is none."""

    text: str
    calls: list[MadeCall] = field(default_factory=list)
    tokens: int = 0
    error: str | None = None

    @property
    def plain(self) -> str:
        """The text without its calls."""
        done, at = "", 0
        for call in self.calls:
            done, at = _joined(done, self.text[at : call.start]), call.end
        return _joined(done, self.text[at:])


@dataclass(frozen=True)
class Event:
    """A newly written piece of the text of prompt `index`."""

    index: int
    kind: Literal["text", "call", "result"]
    text: str


def generate(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    tools: Mapping[str, Tool],
    *,
    markers: Markers | None = None,
    k: int = 10,
    max_calls: int = 1,
    max_new_tokens: int = 128,
    call_tokens: int = 64,
    batch_size: int = 8,
    timeout: float = 30.0,
    cache: ResultCache | None = None,
    longest: int = LONGEST_RESULT,
    on_event: Callable[[Event], None] | None = None,
) -> list[Generated]:
    """Continue prompts, calling tools on the way (section 2 of arXiv 2302.04761, inference).

    A tokenizer without a token for the start marker, or for the end of a sequence, is an [`UnsupportedModelError`].

    Args:
        prompts (`Sequence[str]`): Texts to continue. A call open at the end, `"... [Calculator(2 + 2)"`, is made.
        tools (`Mapping[str, Tool]`): By name, see [`tools_named`].
        markers ([`Markers`], *optional*): The markers that the model was trained with.
        k (`int`, *optional*, defaults to 10): Start a call if its marker is among the k likeliest tokens (1: greedy).
        max_calls (`int`, *optional*, defaults to 1): Maximum calls per text; with 0 no start marker is written.
        max_new_tokens (`int`, *optional*, defaults to 128): Maximum tokens per text, excluding calls and results.
        call_tokens (`int`, *optional*, defaults to 64): Maximum tokens of a call up to its arrow.
        timeout, cache, longest (*optional*): See [`execute`].
        on_event (`Callable[[Event], None]`, *optional*): Receives each piece of text as it is written.

    Example:

    ```python
    >>> from toolalpaca_hf.toolformer import tools_named
    >>> prompts = ["Out of 1400 participants, 400 passed, that is"]
    >>> generate(model, tokenizer, prompts, tools_named("calculator"))[0].text  # doctest: +SKIP
    ' [Calculator(400 / 1400) -> 0.29] 29%.'
    ```
    """
    if min(k, max_new_tokens, call_tokens, batch_size) < 1 or max_calls < 0:
        raise OptionError("k, max_new_tokens, call_tokens and batch_size have to be at least 1, max_calls 0")
    prompts = [prompts] if isinstance(prompts, str) else prompts
    markers = markers or Markers()
    config = model.config.get_text_config(decoder=True)
    vocabulary = Vocabulary(tokenizer, markers, tools, config.vocab_size, model.device)
    # Models without a position limit do not state a length.
    context = getattr(config, "max_position_embeddings", None) or 1 << 30
    limits = Limits(max_new_tokens, max_calls, call_tokens, context, longest, k)
    run = partial(execute, tools=tools, timeout=timeout, cache=cache, markers=markers, longest=longest)
    decoder = _Decoder(model, vocabulary, limits, batch_size, run, on_event)
    done: dict[int, Generated] = {}
    rows: dict[int, RowState] = {}
    # Sorting by length minimizes padding.
    for i, ids in sorted(enumerate(map(vocabulary.prompt, prompts)), key=lambda encoded: len(encoded[1])):
        if len(ids) >= context:
            error = f"the prompt has {len(ids)} tokens and the model reads {context}; shorten it"
            done[i] = Generated("", error=error)
        else:
            rows[i] = decoder.begin(i, ids)
    decoder.run(list(rows.values()))
    for i, row in rows.items():
        done[i] = decoder.states[row].generated()
        if row.error:
            reason = str(row.error).partition("\n")[0]
            done[i] = Generated("", error=f"the model could not go on ({type(row.error).__name__}: {reason})")
    return [done[i] for i in range(len(prompts))]


class _Decoder(BatchGenerator):
    """Chooses tokens as in section 2 of the paper, and forces the results of calls."""

    def __init__(
        self,
        model: PreTrainedModel,
        vocabulary: Vocabulary,
        limits: Limits,
        batch_size: int,
        execute: Callable[[list[ToolCall]], list[ToolResult]],
        on_event: Callable[[Event], None] | None,
    ) -> None:
        super().__init__(model, vocabulary.tokenizer, batch_size=batch_size)
        self.vocabulary, self.limits, self.execute, self.on_event = vocabulary, limits, execute, on_event
        self.states: dict[RowState, CallState] = {}
        self.likeliest: dict[RowState, int] = {}

    def begin(self, index: int, ids: list[int]) -> RowState:
        # A character has at most four bytes, and a byte at most one token: no row reaches this limit.
        limits = self.limits
        bound = limits.tokens + (limits.calls + 1) * (limits.call_tokens + 4 * limits.longest + 64)
        row = self.start(None, ids, min(bound, limits.context - len(ids) + 1))
        row.expected = min(row.limit, limits.tokens + limits.calls * (limits.call_tokens + limits.longest // 2))
        self._open(index, row)
        return row

    def _open(self, index: int, row: RowState, shown: int = 0) -> None:
        self.states[row] = CallState(index, row, self.vocabulary, self.limits, self.ends, shown)
        self.answer([self.states[row]])

    def restart(self, row: RowState) -> None:
        super().restart(row)
        row.forced.clear()
        self._open(self.states[row].index, row, self.states[row].shown)

    def choose(self, logits: torch.Tensor, rows: Sequence[RowState]) -> torch.Tensor:
        """The most likely allowed id, or a start marker among the `k` most likely."""
        ranked = logits.topk(min(max(self.limits.k, BEHIND_ARROW), logits.shape[1])).indices.tolist()
        unmarked = logits.masked_fill(self.vocabulary.holding, -torch.inf).argmax(-1).tolist()
        self.likeliest |= {row: best[0] for row, best in zip(rows, ranked, strict=True)}
        choices = zip(rows, ranked, unmarked, strict=True)
        return torch.tensor([self.states[row].choose(best, plain) for row, best, plain in choices])

    def take(self, rows: Sequence[RowState], tokens: Sequence[int], forced: Sequence[bool]) -> None:
        for row, token, given in zip(rows, tokens, forced, strict=True):
            state = self.states[row]
            inside = state.open is not None
            state.take(token, self.likeliest.get(row), given)
            self.report(state, "result" if given else "call" if inside or state.open else "text")
            row.end = "limit" if state.done else None
        self.answer([self.states[row] for row in rows])

    def answer(self, states: Sequence[CallState]) -> None:
        asking = [(state, state.asked) for state in states if state.asked]
        found = self.execute([call for _, call in asking]) if asking else []
        for (state, _), executed in zip(asking, found, strict=True):
            state.answer(executed)

    def report(self, state: CallState, kind: Literal["text", "call", "result"]) -> None:
        if self.on_event is None:
            return
        text = self.vocabulary.text(state.ids, state.start)
        # What ends in half a character waits for the rest.
        if text[state.shown :] and (state.done or not text.endswith("\ufffd")):
            self.on_event(Event(state.index, kind, text[state.shown :]))
            state.shown = len(text)


def _joined(before: str, after: str) -> str:
    return before + (after[1:] if before[-1:] == " " and after[:1] == " " else after)
