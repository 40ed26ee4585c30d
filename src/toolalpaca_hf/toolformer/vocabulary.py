"""A tokenizer with markers: texts to ids and back, and the tokens that begin a call."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from ..errors import UnsupportedModelError
from ..training import bos_ids, make_encoder
from .markers import Markers, marker_tokens, split_at_markers

# How a call continues after its start marker; anything else is a footnote or a list.
CALL_SO_FAR = re.compile(r"\s*([A-Za-z_][\w.-]*(\(.*)?)?", re.DOTALL)
# This many preceding ids affect how a text is decoded (some tokenizers drop the first space).
CONTEXT = 8


class MarkedTokenizer:
    """Encodes prompts, calls as written and escaped documents; `begin` comes before a text.

    Markers that are tokens of the model are encoded as such; any other special token is treated as text.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, markers: Markers | None = None) -> None:
        self.tokenizer, self.begin = tokenizer, begin_ids(tokenizer)
        self.tokens = marker_tokens(tokenizer, markers) if markers else {}
        self._encoder = make_encoder(tokenizer, parse_special_tokens=False)

    def encode(self, text: str, continued: bool = False) -> list[int]:
        """The ids of a text; with `continued`, of one that stands behind other ids."""
        ids: list[int] = []
        for part in split_at_markers(text, self.tokens):
            # No space is put before what stands behind a marker.
            encoded = self._encoder.continuations if ids or continued else self._encoder.prompts
            ids += [self.tokens[part]] if part in self.tokens else encoded([part])[0]
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        return str(self.tokenizer.decode(list(ids), clean_up_tokenization_spaces=False))


def begin_ids(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The ids that a tokenizer puts before a text, else the token that separates documents, if any.

    A begin token that a tokenizer does not add (as in instruction-tuned models) belongs to chats.
    """
    begin: Any = tokenizer.bos_token_id
    return bos_ids(tokenizer) or ([] if begin is None or begin != tokenizer.eos_token_id else [begin])


class Vocabulary(MarkedTokenizer):
    """A tokenizer as seen by the decoder. A token may hold more than a marker: `" ["` and `"["` both start a call.

    `starts` are ids that are only a start marker, of which one is chosen if it is likely enough; `openings`, ids after
    which a call has begun, such as `"(["`; `holding`, a mask `(size,)` of ids that contain the start marker.
    """

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
        bos: Any = self.tokenizer.bos_token_id
        return self._bos + self.encode(text) or [self.tokenizer.eos_token_id if bos is None else bos]

    def text(self, ids: list[int], start: int) -> str:
        context = ids[max(start - CONTEXT, 0) : start]
        before, whole = self.decode(context), self.decode(context + ids[start:])
        # A partial character before the start decodes differently once the rest is there.
        return whole[len(before) :] if whole.startswith(before) else self.decode(ids[start:])
