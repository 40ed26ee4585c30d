"""KV caches that outlive a forward pass: shared prefixes, and each conversation's own."""

import itertools
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import torch
from transformers import DynamicCache, PreTrainedModel

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
        self._shared: list[Prefix] = []
        # A conversation that nobody holds any more frees its cache by itself.
        self._own: WeakKeyDictionary[object, Prefix] = WeakKeyDictionary()

    @property
    def size(self) -> int:
        """In bytes."""
        return sum(kept.size for kept in [*self._shared, *self._own.values()])

    def longest(self, ids: Sequence[int]) -> Prefix | None:
        """The shared prefix that covers most of `ids`, if it covers more than half."""
        found = max(self._shared, key=lambda kept: common_length(kept.ids, ids), default=None)
        return self._touched(found) if found and common_length(found.ids, ids) > len(ids) / 2 else None

    def of(self, key: object) -> Prefix | None:
        """The cache of a conversation."""
        return None if key is None else self._touched(self._own.get(key))

    def add(self, kept: Prefix, key: object = None) -> None:
        """Keep a conversation's cache for its next turn or, without a key, a prefix for all to share."""
        if key is None:
            self._shared.append(kept)
        else:
            self._own[key] = kept
        self._touched(kept)
        self._shrink()

    def forget(self, key: object) -> None:
        self._own.pop(key, None)

    def clear(self) -> None:
        self._shared.clear()
        self._own.clear()

    def _touched(self, kept: Prefix | None) -> Prefix | None:
        # A base after what stands on it: dropped first, it would only be dropped from sight.
        for prefix in (kept, kept and kept.base):
            if prefix:
                prefix.used = next(self._clock)
        return kept

    def _shrink(self) -> None:
        size = self.size
        while size > self.limit:
            oldest = min([*self._shared, *self._own.values()], key=lambda kept: kept.used)
            size -= oldest.size
            if oldest in self._shared:
                self._shared.remove(oldest)
            for key in [key for key, kept in self._own.items() if kept is oldest]:
                del self._own[key]


@dataclass(eq=False)
class RowState:
    """A conversation whose continuation is being generated.

    Args:
        expected (`int`, *optional*): Ids to reserve memory for; `limit` by default.
        base (`Prefix`, *optional*): The shared prefix; its first `start` ids are used.
        tail (`Layers`, *optional*): The KV cache of the `held` ids after those.
        written (`list[int]`): What was generated so far.
        forced (`deque[int]`): Ids that come next, whatever the model would choose.
        end (`str`, *optional*): What ended it: `"eos"`, `"stop"`, `"watch"`, or `"limit"`; `error`, why it failed.
        slot, seen: Its place in [`Slots`], and how many of its ids have been fed there.
        key, ids, limit, watch, allowed: See [`BatchGenerator.start`].
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
        """Ids that have not been fed yet."""
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
        """Use a shared prefix as far as it matches."""
        self.base, self.start = kept, min(common_length(kept.ids, self.ids), len(self.ids) - 1)
