"""Decodes rows side by side, without padding: a slot for each row's own keys and values, and shared prefixes once.

A forward pass takes the new tokens of all rows as one sequence; only the attention function knows about rows.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import accumulate, groupby
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, PreTrainedModel

from .kv_cache import FED_AT_ONCE, Prefix, RowState

ATTENTION = "toolalpaca_slots"

# What models hand to an attention function and what says nothing that is not known here.
_KNOWN = {"position_ids", "use_cache", "is_causal", "output_attentions", "output_hidden_states", "return_dict"}


def configs_of(model: torch.nn.Module) -> list[Any]:
    """The configs of a model and its parts, each once."""
    return list({id(config): config for part in model.modules() if (config := getattr(part, "config", None))}.values())


@contextmanager
def attention_of(configs: Sequence[Any], implementation: str) -> Iterator[None]:
    """Let models with these configs compute their attention by another function, see `AttentionInterface`."""
    before = [config._attn_implementation for config in configs]
    try:
        for config in configs:
            config._attn_implementation = implementation
        yield
    finally:
        for config, own in zip(configs, before, strict=True):
            config._attn_implementation = own


class Slots:
    def __init__(self, model: PreTrainedModel) -> None:
        self.model = model
        self.rows: list[RowState | None] = []
        self._layers: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        # Outlives the layers: who gives out slots asks while none is taken.
        self._layer_bytes: dict[int, int] = {}
        self._configs = configs_of(model)

    @property
    def token_bytes(self) -> int:
        """Bytes per token; 0 before anything was fed."""
        return sum(self._layer_bytes.values())

    def place(self, row: RowState) -> None:
        """Give a row a slot, filled with what it has kept."""
        if None not in self.rows:
            self.rows.append(None)
        free = self.rows.index(None)
        self.rows[free], row.slot, row.seen = row, free, row.start + row.held
        if row.tail and row.held:
            for n, (keys, values) in enumerate(row.tail):
                held = self._with_room(n, keys, values, row.held)
                held[0][free, :, : row.held], held[1][free, :, : row.held] = keys[0], values[0]
        row.tail = None

    def release(self, row: RowState) -> None:
        if row.slot is not None:
            self.rows[row.slot], row.slot = None, None
        if not any(self.rows):
            self.rows.clear()
            self._layers.clear()

    def kept(self, row: RowState) -> Prefix:
        """The KV cache of a row, to continue from later."""
        end, at = row.seen - row.start, row.slot
        assert at is not None, "the row has no slot"
        layers = [
            (keys[at : at + 1, :, :end].clone(), values[at : at + 1, :, :end].clone())
            for _, (keys, values) in sorted(self._layers.items())
        ]
        return Prefix([*row.ids, *row.written][: row.seen], layers, row.base, row.start)

    def prefill(self, ids: list[int]) -> Prefix:
        row = RowState(None, ids, 0)
        self.place(row)
        try:
            for start in range(0, len(ids), FED_AT_ONCE):
                self.feed([(row, ids[start : start + FED_AT_ONCE])])
            return self.kept(row)
        finally:
            self.release(row)

    def feed(self, parts: Sequence[tuple[RowState, Sequence[int]]]) -> torch.Tensor:
        """Append ids, at least one each, to rows that have a slot. A failure leaves the rows unchanged."""
        # Those of one id first, and among them those that share a beginning: attention takes them together.
        order = sorted(range(len(parts)), key=lambda n: (len(parts[n][1]) > 1, id(parts[n][0].base), parts[n][0].slot))
        fed = [parts[n] for n in order]
        tensor = partial(torch.tensor, device=self.model.device)
        with attention_of(self._configs, ATTENTION):
            output = self.model(
                input_ids=tensor([[token for _, ids in fed for token in ids]]),
                position_ids=tensor([[row.seen + n for row, ids in fed for n in range(len(ids))]]),
                use_cache=False,
                logits_to_keep=tensor([end - 1 for end in accumulate(len(ids) for _, ids in fed)]),
                slots=_Step(self, fed),
            )
        for row, ids in fed:
            row.seen += len(ids)
        return output.logits[0, tensor(order).argsort()]

    def _with_room(
        self, layer: int, keys: torch.Tensor, values: torch.Tensor, room: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """A layer's keys and values `(slots, heads, room, width)`, grown if too small."""
        held = self._layers.get(layer)
        if held is None or held[0].shape[0] < len(self.rows) or held[0].shape[2] < room:
            slots, length = held[0].shape[::2] if held else (0, 0)
            length = length if length >= room else -(-(room + room // 4 + 1) // 64) * 64
            slots = max(slots, len(self.rows))
            # Zeros: a column that is not seen has a share of 0, and 0 times what memory happens to hold may be NaN.
            grown = [new.new_zeros(slots, new.shape[1], length, new.shape[3]) for new in (keys, values)]
            for new, old in zip(grown, held or (), strict=False):
                new[: old.shape[0], :, : old.shape[2]] = old
            self._layers[layer] = held = (grown[0], grown[1])
            self._layer_bytes[layer] = sum(tensor[0, :, 0].nbytes for tensor in grown)
        return held


class _Step:
    """What every layer needs to know about the rows of a forward pass."""

    def __init__(self, slots: Slots, fed: Sequence[tuple[RowState, Sequence[int]]]) -> None:
        self.slots, self.device = slots, slots.model.device
        self.single = [row for row, ids in fed if len(ids) == 1]
        self.room = max(row.seen - row.start + len(ids) for row, ids in fed)
        ends = accumulate(len(ids) for _, ids in fed)
        self.long = [(row, end - len(ids), end) for (row, ids), end in zip(fed, ends, strict=True) if len(ids) > 1]
        self.groups: list[tuple[Prefix | None, int, int]] = []
        for base, some in groupby(range(len(self.single)), key=lambda n: self.single[n].base):
            group = list(some)
            self.groups.append((base, group[0], group[-1] + 1))
        if self.single:
            asked = [[row.slot, row.seen, row.start] for row in self.single]
            self.slot, self.seen, self.start = torch.tensor(asked, device=self.device).T.contiguous().unbind()
            self.column = self.seen - self.start
            self.width = max(row.seen - row.start for row in self.single) + 1
            self.height = max(row.slot for row in self.single if row.slot is not None) + 1
        self._masks: dict[Any, Any] = {}

    def spread(self, rows: torch.Tensor) -> torch.Tensor:
        """Rows to slots. Idle slots are computed too: copying only the others would cost more."""
        slots = rows.new_zeros(self.height, *rows.shape[1:])
        slots[self.slot] = rows
        return slots

    def hidden(self, window: int | None) -> tuple[list[torch.Tensor | None], torch.Tensor]:
        """What rows of one id do not see: of a group's prefix `(rows, length)`, and of their slots `(rows, width)`."""
        if window not in self._masks:
            # The first position in sight.
            first = self.seen + 1 - window if window else torch.zeros_like(self.seen)
            begun: list[torch.Tensor | None] = []
            for base, lo, hi in self.groups:
                place = torch.arange(len(base.ids) if base else 0, device=self.device)
                out = (place >= self.start[lo:hi, None]) | (place < first[lo:hi, None])
                begun.append(out if out.any() else None)
            place = torch.arange(self.width, device=self.device)
            own = (place > self.column[:, None]) | (place + self.start[:, None] < first[:, None])
            self._masks[window] = (begun, own)
        return self._masks[window]

    def in_sight(self, row: RowState, length: int, window: int | None) -> torch.Tensor:
        """What the new ids of a row see of all it has: `(length, seen + length)`."""
        key = (row, window)
        if key not in self._masks:
            place = torch.arange(row.seen + length, device=self.device)
            now = place[row.seen :, None]
            self._masks[key] = (place <= now) & (place > now - (window or row.seen + length + 1))
        return self._masks[key]


def _attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    slots: _Step | None = None,
    sliding_window: int | None = None,
    **kwargs: object,
) -> tuple[torch.Tensor, None]:
    """Attention of all rows' new ids: `query` is `(1, heads, ids, width)`, keys and values those of the new ids."""
    more = [name for name, given in kwargs.items() if name not in _KNOWN and given is not None]
    # The trial before packed decoding (`exact_ways`) takes this for a model that needs another way.
    if slots is None or attention_mask is not None or more:
        raise NotImplementedError(f"attention over slots takes no {more or 'mask'}")
    step, scale = slots, query.shape[-1] ** -0.5 if scaling is None else scaling
    layer = int(module.layer_idx)  # type: ignore[arg-type]  # set by transformers
    keys, values = step.slots._with_room(layer, key, value, step.room)
    out = value.new_empty(query.shape[2], query.shape[1], value.shape[-1])
    n = len(step.single)
    if n:
        keys[step.slot, :, step.column] = key[0, :, :n].transpose(0, 1)
        values[step.slot, :, step.column] = value[0, :, :n].transpose(0, 1)
        out[:n] = _decoded(step, layer, query[0, :, :n].transpose(0, 1) * scale, keys, values, sliding_window)
    for row, lo, hi in step.long:
        at, end = row.seen - row.start, row.seen - row.start + hi - lo
        keys[row.slot, :, at:end], values[row.slot, :, at:end] = key[0, :, lo:hi], value[0, :, lo:hi]
        own_keys, own_values = keys[row.slot, :, :end][None], values[row.slot, :, :end][None]
        if row.base is not None:
            base_keys, base_values = (tensor[:, :, : row.start] for tensor in row.base.layers[layer])
            own_keys = torch.cat([base_keys, own_keys], dim=2)
            own_values = torch.cat([base_values, own_values], dim=2)
        seen = step.in_sight(row, hi - lo, sliding_window)
        made = scaled_dot_product_attention(
            query[:, :, lo:hi], own_keys, own_values, seen, scale=scale, enable_gqa=query.shape[1] != key.shape[1]
        )
        out[lo:hi] = made[0].transpose(0, 1)
    return out[None], None


def _decoded(
    step: _Step, layer: int, query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, window: int | None
) -> torch.Tensor:
    """Attention of rows of one id each; `query` is `(rows, heads, width)`, scaled."""
    n, heads, kv_heads = len(query), query.shape[1], keys.shape[1]
    query = query.reshape(n, kv_heads, heads // kv_heads, -1)
    begun, own_hidden = step.hidden(window)
    asked, cached = step.spread(query), keys[: step.height, :, : step.width]
    # A CPU multiplies the cache as it lies; transposed it takes three to nine times as long in bfloat16.
    lies = query.device.type == "cpu" and query.dtype != torch.float32
    own = (cached @ asked.transpose(-1, -2)).transpose(-1, -2) if lies else asked @ cached.transpose(-1, -2)
    own = own[step.slot].float().masked_fill_(own_hidden[:, None, None], -torch.inf)
    shares, out = torch.empty_like(own), query.new_zeros(n, *query.shape[1:3], values.shape[-1])
    for (base, lo, hi), hidden in zip(step.groups, begun, strict=True):
        if base is None:
            shares[lo:hi] = own[lo:hi].softmax(-1)
            continue
        base_keys, base_values = base.layers[layer]
        length, together = base_keys.shape[2], (kv_heads, (hi - lo) * query.shape[2], -1)
        # All rows of a group are one matrix to what they share.
        scores = query[lo:hi].transpose(0, 1).reshape(together) @ base_keys[0].transpose(-1, -2)
        scores = scores.view(kv_heads, hi - lo, -1, length).transpose(0, 1).float()
        if hidden is not None:
            scores = scores.masked_fill(hidden[:, None, None], -torch.inf)
        both = torch.cat([scores, own[lo:hi]], dim=-1).softmax(-1)
        shares[lo:hi] = both[..., length:]
        shared = both[..., :length].to(query.dtype).transpose(0, 1).reshape(together)
        out[lo:hi] = (shared @ base_values[0]).view(kv_heads, hi - lo, -1, values.shape[-1]).transpose(0, 1)
    own = (step.spread(shares.to(query.dtype)) @ values[: step.height, :, : step.width])[step.slot]
    return (out + own).reshape(n, heads, -1)


AttentionInterface.register(ATTENTION, _attend)
