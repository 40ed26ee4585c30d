"""A tokenizer as decoding sees it: prompts and results to ids, ids to text, and the tokens that begin a call."""

import re
from collections.abc import Iterable
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from ..errors import UnsupportedModelError
from ..training import SegmentTokenizer
from .markers import Markers, marker_tokens, split_at_markers

# How a call continues after its start marker; anything else is a footnote or a list.
CALL_SO_FAR = re.compile(r"\s*([A-Za-z_][\w.-]*(\(.*)?)?", re.DOTALL)
# This many preceding ids affect how a text is decoded (some tokenizers drop the first space).
CONTEXT = 8


class Vocabulary:
    """A tokenizer as seen by the decoder. A token may hold more than a marker: `" ["` and `"["` both start a call.

    Attributes:
        starts (`set[int]`): Ids that are only a start marker; one of these is chosen if it is likely enough.
        openings (`set[int]`): Ids after which a call has begun: the starts, and others such as `"(["`.
        holding (`torch.BoolTensor`): Of shape `(size,)`: ids that contain the start marker.
    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, markers: Markers, names: Iterable[str], size: int, device: Any = None
    ) -> None:
        self.tokenizer, self.markers = tokenizer, markers
        self._segments, self._tokens = SegmentTokenizer(tokenizer), marker_tokens(tokenizer, markers)
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
            name = tokenizer.name_or_path or type(tokenizer).__name__
            fix = "choose another one, or add it as a special token and train with it"
            raise UnsupportedModelError(f"no token of {name} is the start marker {markers.start!r}", fix=fix)

    def prompt(self, text: str) -> list[int]:
        head, *rest = split_at_markers(text, self._tokens)
        if head in self._tokens:
            head, rest = "", [head, *rest]
        bos, eos = self.tokenizer.bos_token_id, self.tokenizer.eos_token_id
        first: Any = eos if bos is None else bos
        return self._segments.prompt_ids(head) + self._continued(rest) or [first]

    def result(self, text: str) -> list[int]:
        """The ids of a result with its end marker, after the arrow. None of its text becomes a control token."""
        return self._continued(split_at_markers(text, self._tokens))

    def text(self, ids: list[int], start: int) -> str:
        context = ids[max(start - CONTEXT, 0) : start]
        before, whole = self._decode(context), self._decode(context + ids[start:])
        # A partial character before the start decodes differently once the rest is there.
        return whole[len(before) :] if whole.startswith(before) else self._decode(ids[start:])

    def _decode(self, ids: list[int]) -> str:
        return str(self.tokenizer.decode(ids, clean_up_tokenization_spaces=False))

    def _continued(self, parts: Iterable[str]) -> list[int]:
        plain = self._segments.continuation_ids
        return [i for part in parts for i in ([self._tokens[part]] if part in self._tokens else plain(part))]
