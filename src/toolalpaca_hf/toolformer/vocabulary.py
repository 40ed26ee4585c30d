"""A tokenizer with markers: texts to ids and back, and the tokens that begin a call."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from ..errors import UnsupportedModelError
from ..training import bos_ids, make_encoder
from .markers import Markers, any_of

# How a call continues after its start marker; anything else is a footnote or a list.
CALL_SO_FAR = re.compile(r"\s*([A-Za-z_][\w.-]*(\(.*)?)?", re.DOTALL)
CONTEXT = 8  # ids before a text that affect how it is decoded (some tokenizers drop the first space)


class MarkedTokenizer:
    """Encodes texts, and markers that are tokens as such, but no other special token; `begin` comes before a text."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, markers: Markers | None = None) -> None:
        self.tokenizer, self.begin = tokenizer, begin_ids(tokenizer)
        self.tokens = marker_tokens(tokenizer, markers) if markers else {}
        self._encoder = make_encoder(tokenizer, parse_special_tokens=False)

    def encode(self, text: str, continued: bool = False) -> list[int]:
        """The ids of a text; with `continued`, of one that stands behind other ids."""
        ids: list[int] = []
        parts = re.split(f"({any_of(self.tokens).pattern})", text) if self.tokens else [text]
        for part in [*filter(None, parts)] or [""]:
            # No space is put before what stands behind a marker.
            encoded = self._encoder.continuations if ids or continued else self._encoder.prompts
            ids += [self.tokens[part]] if part in self.tokens else encoded([part])[0]
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        return str(self.tokenizer.decode(list(ids), clean_up_tokenization_spaces=False))


def marker_tokens(tokenizer: PreTrainedTokenizerBase, markers: Markers) -> dict[str, int]:
    """Ids of the markers that are added tokens of a tokenizer, special or not."""
    added: dict[str, int] = tokenizer.get_added_vocab()  # type: ignore[operator]  # the base class has no types for it
    return {marker: added[marker] for marker in markers.all if marker in added}


def begin_ids(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The ids that a tokenizer puts before a text, else the token that separates documents, if any."""
    begin: Any = tokenizer.bos_token_id  # one that is not added, as in instruction-tuned models, belongs to chats
    return bos_ids(tokenizer) or ([] if begin is None or begin != tokenizer.eos_token_id else [begin])


class Vocabulary(MarkedTokenizer):
    """A tokenizer as the decoder sees it: ids that are a start marker, that open a call (`([`), and that hold one."""

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, markers: Markers, names: Iterable[str], size: int, device: Any = None
    ) -> None:
        name = tokenizer.name_or_path or type(tokenizer).__name__
        if tokenizer.eos_token_id is None or tokenizer.pad_token_id is None:
            fix = "set its eos_token and its pad_token, which may be the same"
            raise UnsupportedModelError("the tokenizer has no end-of-sequence or no padding token", file=name, fix=fix)
        super().__init__(tokenizer, markers)
        self.markers, self._bos = markers, bos_ids(tokenizer)
        tokens = [[i] for i in range(min(len(tokenizer), size))]
        names = [f"{name}(" for name in names]
        self.starts, self.openings, holding = set[int](), set[int](), []
        for i, piece in enumerate(tokenizer.batch_decode(tokens, clean_up_tokenization_spaces=False)):
            before, marker, rest = piece.partition(markers.start)
            if not marker:
                continue
            holding.append(i)
            if CALL_SO_FAR.fullmatch(rest):
                self.openings.add(i)
            if not before.strip() and (not rest or any(name.startswith(rest) for name in names)):
                self.starts.add(i)
        self.holding = torch.zeros(size, dtype=torch.bool, device=device)
        self.holding[holding] = True
        if not self.starts:
            fix = "choose another one, or add it as a special token and train with it"
            raise UnsupportedModelError(f"no token of {name} is the start marker {markers.start!r}", fix=fix)

    def prompt(self, text: str) -> list[int]:
        own: Any = self.tokenizer
        return self._bos + self.encode(text) or [own.eos_token_id if own.bos_token_id is None else own.bos_token_id]

    def text(self, ids: list[int], start: int) -> str:
        context = ids[max(start - CONTEXT, 0) : start]
        before, whole = self.decode(context), self.decode(context + ids[start:])
        # A partial character before the start decodes differently once the rest is there.
        return whole[len(before) :] if whole.startswith(before) else self.decode(ids[start:])
