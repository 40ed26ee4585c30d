"""KV caches that outlive a forward pass: shared prefixes, each conversation's own, and packs of branches."""

import itertools
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import torch
from transformers import Cache, DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

# How many ids are fed at once: bounds a pack's mask, which has a row for each, and what rows that decode wait for.
FED_AT_ONCE = 512
Layers = list[tuple[torch.Tensor, torch.Tensor]]
"""Keys and values of each layer, `(1, heads, length, width)`."""


def common_length(a: Sequence[int], b: Sequence[int]) -> int:
    """Length of the common prefix of two sequences."""
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


@dataclass(eq=False)
class Prefix:
    """The KV cache of a sequence's ids from `start` on; what precedes them is in `base`."""

    ids: list[int]
    layers: Layers
    base: "Prefix | None" = None
    start: int = 0
    used: int = 0

    @property
    def size(self) -> int:
        """In bytes."""
        return sum(tensor.nbytes for layer in self.layers for tensor in layer)


def prefill(model: PreTrainedModel, ids: list[int]) -> Prefix:
    """Compute the KV cache of the start of a sequence."""
    cache = DynamicCache(config=model.config)
    model(torch.tensor([ids], device=model.device), past_key_values=cache, use_cache=True, logits_to_keep=1)
    layers: list[Any] = cache.layers
    return Prefix(ids, [(layer.keys, layer.values) for layer in layers])


class PrefixCache:
    """KV caches kept between calls, shared or by conversation; past `limit` bytes the longest unused are dropped."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._clock = itertools.count(1)
        # Shared ones by themselves. A conversation that nobody holds any more frees its cache by itself.
        self._kept: WeakKeyDictionary[object, Prefix] = WeakKeyDictionary()

    @property
    def size(self) -> int:
        """In bytes."""
        return sum(kept.size for kept in self._kept.values())

    def longest(self, ids: Sequence[int]) -> Prefix | None:
        """The shared prefix that covers most of `ids`, if it covers more than half."""
        shared = (kept for key, kept in self._kept.items() if key is kept)
        found = max(shared, key=lambda kept: common_length(kept.ids, ids), default=None)
        return self._touched(found) if found and common_length(found.ids, ids) > len(ids) / 2 else None

    def of(self, key: object) -> Prefix | None:
        return None if key is None else self._touched(self._kept.get(key))

    def add(self, kept: Prefix, key: object = None) -> None:
        """Keep a conversation's cache for its next turn or, without a key, a prefix for all to share."""
        self._kept[kept if key is None else key] = kept
        self._touched(kept)
        while self.size > self.limit:
            del self._kept[min(self._kept, key=lambda key: self._kept[key].used)]

    def forget(self, key: object) -> None:
        self._kept.pop(key, None)

    def clear(self) -> None:
        self._kept.clear()

    def _touched(self, kept: Prefix | None) -> Prefix | None:
        # A base after what stands on it: dropped first, it would only be dropped from sight.
        for prefix in (kept, kept and kept.base):
            if prefix:
                prefix.used = next(self._clock)
        return kept


@dataclass(eq=False)
class RowState:
    """A conversation whose continuation is being generated; see [`BatchGenerator.start`].

    Of its `ids` the first `start` are in the shared prefix `base`, and the KV cache `tail` has the next `held`.
    `written` was generated so far, of which `forced` comes next, whatever the model would choose. `end` is `"eos"`,
    `"stop"`, `"watch"` or `"limit"`. Memory is reserved for `expected` ids, by default `limit`. `seen` ids have been
    fed in `slot`, its place in [`Slots`].
    """

    key: object
    ids: list[int]
    limit: int
    base: Prefix | None = None
    start: int = 0
    tail: Layers | None = None
    held: int = 0
    written: list[int] = field(default_factory=list)
    forced: deque[int] = field(default_factory=deque)
    end: str | None = None
    watch: Callable[[list[int]], bool] | None = None
    allowed: Callable[[list[int]], list[int] | None] | None = None
    expected: int | None = None
    error: Exception | None = None
    slot: int | None = None
    seen: int = 0
    rng: random.Random = field(default_factory=random.Random)

    @property
    def ended(self) -> bool:
        return self.end is not None or self.error is not None

    @property
    def unfed(self) -> list[int]:
        at = self.seen - len(self.ids)
        return self.written[at:] if at >= 0 else self.ids[self.seen :] + self.written

    def reuse_prefix(self, kept: Prefix | None) -> bool:
        """Reuse the part of a kept conversation that both have in common."""
        # The last id is always fed, since the next one is predicted from it.
        equal = min(common_length(kept.ids, self.ids), len(self.ids) - 1) if kept else 0
        if not kept or not equal or equal < kept.start:
            return False
        self.base, self.start, self.held = kept.base, kept.start, equal - kept.start
        self.tail = [(keys[:, :, : self.held], values[:, :, : self.held]) for keys, values in kept.layers]
        return True

    def begin_with(self, kept: Prefix) -> None:
        self.base, self.start = kept, min(common_length(kept.ids, self.ids), len(self.ids) - 1)


@dataclass
class Branch:
    """Where a branch continues: its next token's position, the columns before it, and the most ids to be fed."""

    position: int
    seen: Sequence[range]
    limit: int


class Pack:
    """Branches computed together, as one sequence; exact if [`exact_ways`] includes `"pack"`.

    Unlike [`Slots`] it needs no attention function of its own, and branches may fork; its cost grows with all columns.
    `parts` are consecutive KV caches that branches see; some branches may be spare, for [`fork`].
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
        # One layer after the other, so that only one is in memory twice.
        layers = ([torch.cat(both, dim=-2) for both in zip(*layer, strict=True)] for layer in zip(*parts, strict=True))
        roomy: list[Any] = [_RoomyLayer(keys, values, room) for keys, values in layers]
        self._cache = Cache(layers=roomy)

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


class _RoomyLayer(DynamicLayer):
    """Keys and values with room for all that is to come, so that a step does not copy them."""

    def __init__(self, keys: torch.Tensor, values: torch.Tensor, room: int) -> None:
        super().__init__()
        self.used, self.is_initialized = 0, True
        self.keys, self.values = (new.new_empty(*new.shape[:-2], room, new.shape[-1]) for new in (keys, values))
        self.update(keys, values)

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: object, **kwargs: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        start, self.used = self.used, self.used + key_states.shape[-2]
        held: Any = (self.keys, self.values)
        held[0][:, :, start : self.used], held[1][:, :, start : self.used] = key_states, value_states
        return held[0][:, :, : self.used], held[1][:, :, : self.used]

    def get_seq_length(self) -> int:
        return self.used
