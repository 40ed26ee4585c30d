"""Constrained decoding: text that follows a JSON schema, and action names of functions that exist."""

import re
from collections.abc import Callable, Iterable
from typing import Any, cast

import numpy as np
import torch
from llguidance import LLMatcher
from llguidance.hf import from_tokenizer
from llguidance.numpy import allocate_token_bitmask, fill_next_token_bitmask
from transformers import LogitsProcessor, PreTrainedTokenizerBase

from ..errors import OptionError, UnsupportedModelError

_LABEL = "\nAction:"
_OPENED = re.compile(r"(?:^|\n)(?:ASSISTANT )?Action:$")
# A token has at least one character: the label is within as many tokens as it has characters.
_WINDOW = 24


class Constrainer:
    """Makes logits processors for one fast tokenizer; keep it, since reading the vocabulary takes a second.

    `ends` are the ids that end a text, by default the tokenizer's end-of-sequence token.

    Raises:
        [`UnsupportedModelError`]: The tokenizer is not a fast one.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, ends: list[int] | None = None) -> None:
        try:
            self._vocabulary = from_tokenizer(cast(Any, tokenizer), n_vocab=len(tokenizer), eos_token=ends)
        except ValueError as error:
            problem = f"{tokenizer.name_or_path} cannot follow a schema ({error})"
            raise UnsupportedModelError(problem, fix="use a model with a fast tokenizer") from None

    def to_schema(self, schema: dict[str, Any]) -> "SchemaMask":
        """A processor for one call of `generate`; an [`OptionError`] if it cannot be enforced token by token."""
        # Left free, a small model spends its tokens on white space.
        spacing: Any = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
        grammar = LLMatcher.grammar_from_json_schema(schema, overrides=spacing)
        matcher = LLMatcher(self._vocabulary, grammar, log_level=0)
        if matcher.is_error():
            reason = matcher.get_error().partition("\n")[0]
            raise OptionError(f"cannot constrain a model ({reason})", option="schema", fix="leave the keyword out")
        return SchemaMask(matcher, self._vocabulary.vocab_size)


class SchemaMask(LogitsProcessor):
    """Allows, at each step and in each row, only tokens after which the text can still follow the schema."""

    def __init__(self, matcher: LLMatcher, size: int) -> None:
        self._fresh, self._size = matcher, size
        self._rows: list[LLMatcher] = []
        self._read = 0

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        if not self._rows:  # what is there already is the prompt
            self._rows = [self._fresh.deep_copy() for _ in range(len(input_ids))]
            self._read = input_ids.shape[1]
        bits = allocate_token_bitmask(len(scores), self._size)
        for number, (row, ids) in enumerate(zip(self._rows, input_ids[:, self._read :].tolist(), strict=True)):
            # After its end, which is all that is allowed there, a row is padded, which is no part of the text.
            if not row.is_stopped() and not row.consume_tokens(ids):
                raise OptionError(f"cannot be followed any further ({row.get_error()})", option="schema")
            fill_next_token_bitmask(row, bits, number)
        self._read, width = input_ids.shape[1], min(self._size, scores.shape[1])
        flags = np.unpackbits(bits.view(np.uint8), axis=1, bitorder="little")[:, :width]
        allowed = torch.zeros_like(scores, dtype=torch.bool)
        allowed[:, :width] = torch.from_numpy(flags.astype(bool)).to(scores.device)
        return scores.masked_fill(~allowed, -torch.inf)


class NameConstraint:
    """Function names as a tree of ids up to a line's end; `encode` is of a text that continues another."""

    def __init__(
        self, encode: Callable[[str], list[int]], decode: Callable[[list[int]], str], names: Iterable[str]
    ) -> None:
        self._decode = decode
        label = encode(_LABEL)
        self._next: dict[tuple[int, ...], set[int]] = {}
        for name in names:
            ids = encode(f"{_LABEL} {name}\n")
            # A vocabulary that spells the label otherwise in front of a name cannot be held to it id by id.
            if ids[: len(label)] != label:
                self._next = {}
                break
            path = ids[len(label) :]
            for n, token in enumerate(path):
                self._next.setdefault(tuple(path[:n]), set()).add(token)

    def of_turn(self) -> Callable[[list[int]], list[int] | None]:
        """A function, called before each id of a turn: the ids that may follow, `None` for any."""
        opened: int | None = None

        def allowed(written: list[int]) -> list[int] | None:
            nonlocal opened
            if opened is None:
                if not _OPENED.search(self._decode(written[-_WINDOW:])):
                    return None
                opened = len(written)
            ids = self._next.get(tuple(written[opened:]))
            return sorted(ids) if ids else None

        return allowed
