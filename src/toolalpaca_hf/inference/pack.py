"""Branches of texts as one sequence: what they share is in the KV cache once, and nothing is padded.

The columns of a pack's cache are the shared parts, followed by whatever is fed, token by token of each branch. A mask
says which columns a branch sees, and positions count within its own sequence, so a branch is computed as if it were
the only one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from transformers import Cache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

from .kv_cache import Layers

# How many ids are fed at once: bounds the mask, which has a row for each of them.
FED_AT_ONCE = 512


@dataclass
class Branch:
    """Where a branch continues: its next token's position, the columns before it, and the most ids to be fed."""

    position: int
    seen: Sequence[range]
    limit: int


class Pack:
    """Branches computed together, as one sequence.

    Unlike [`Slots`] it needs no attention function of its own, and branches may fork; its cost grows with all columns.

    Args:
        model (`PreTrainedModel`): A model for which [`exact_ways`] includes `"pack"`.
        parts (`Sequence[Layers]`): Consecutive KV caches whose columns branches see.
        branches (`Sequence[Branch]`): What is continued; some may be spare, for [`fork`].
    """

    def __init__(self, model: PreTrainedModel, parts: Sequence[Layers], branches: Sequence[Branch]) -> None:
        self.model, self.length = model, sum(part[0][0].shape[-2] for part in parts)
        self._positions = [branch.position for branch in branches]
        # Not minus infinity: attention over columns none of which a row sees must stay finite.
        unseen, room = torch.finfo(model.dtype).min, self.length + sum(branch.limit for branch in branches)
        self._mask = torch.full((len(branches), room), unseen, dtype=model.dtype, device=model.device)
        for i, branch in enumerate(branches):
            for columns in branch.seen:
                self._mask[i, columns.start : columns.stop] = 0
        self._cache = Cache(
            layers=[
                _GrowingLayer(*(torch.cat(tensors, dim=-2) for tensors in zip(*layer, strict=True)))
                for layer in zip(*parts, strict=True)
            ]
        )

    def fork(self, branch: int, spare: int) -> int:
        """Copy a branch's past to an unused one, and return that."""
        self._mask[spare] = self._mask[branch]
        self._positions[spare] = self._positions[branch]
        return spare

    def feed(self, ids: Sequence[tuple[int, int]]) -> dict[int, torch.Tensor]:
        """Append ids to branches, those of a branch adjacent; returns the logits after the last id of each."""
        logits: dict[int, torch.Tensor] = {}
        for start in range(0, len(ids), FED_AT_ONCE):
            logits |= self._feed(ids[start : start + FED_AT_ONCE])
        return logits

    def _feed(self, ids: Sequence[tuple[int, int]]) -> dict[int, torch.Tensor]:
        device, end, positions = self.model.device, self.length + len(ids), []
        for i, _ in ids:
            positions.append(self._positions[i])
            self._positions[i] += 1
        lasts = [n for n, (i, _) in enumerate(ids) if n == len(ids) - 1 or ids[n + 1][0] != i]
        owner = torch.tensor([i for i, _ in ids], device=device)
        mask = self._mask[owner, :end]
        mask[:, self.length :].masked_fill_((owner[:, None] == owner).tril(), 0)
        output = self.model(
            input_ids=torch.tensor([[token for _, token in ids]], device=device),
            position_ids=torch.tensor([positions], device=device),
            attention_mask=mask[None, None],
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=torch.tensor(lasts, device=device),
        )
        self._mask[owner, torch.arange(self.length, end, device=device)] = 0
        self.length = end
        return {ids[n][0]: logits for n, logits in zip(lasts, output.logits[0], strict=True)}


class _GrowingLayer(DynamicLayer):
    """Keys and values with spare room, so that a step does not copy them all."""

    def __init__(self, keys: torch.Tensor, values: torch.Tensor) -> None:
        super().__init__()
        self.used = 0
        self.keys = self.values = None
        self.update(keys, values)

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: object, **kwargs: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        end = self.used + key_states.shape[-2]
        self.keys, self.values = self._with(self.keys, key_states, end), self._with(self.values, value_states, end)
        self.used, self.is_initialized = end, True
        return self.keys[:, :, :end], self.values[:, :, :end]

    def get_seq_length(self) -> int:
        return self.used

    def _with(self, held: torch.Tensor | None, new: torch.Tensor, end: int) -> torch.Tensor:
        if held is None or held.shape[-2] < end:
            grown = new.new_empty(*new.shape[:-2], end + end // 4 + 64, new.shape[-1])
            if held is not None:
                grown[:, :, : self.used] = held[:, :, : self.used]
            held = grown
        held[:, :, self.used : end] = new
        return held
