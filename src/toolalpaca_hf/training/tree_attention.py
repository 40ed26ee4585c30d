"""Attention over trees of rows, node by node: a node sees its ancestors and, causally, itself.

One dense mask over the whole sequence computes what it hides, too: with ten branches nine tenths of it. Taken node by
node only the visible blocks are computed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import pad, scaled_dot_product_attention
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from ..errors import ToolAlpacaError

# What `set_attn_implementation` calls it. Without a mask function of that name transformers makes no mask of its own.
TREE_ATTENTION = "tree"
# Kinds of attention that change what is seen, and that the blocks below know nothing of.
_UNKNOWN = ("sliding_window", "softcap", "s_aux", "position_bias")


@dataclass(frozen=True)
class Node:
    """A stretch of a sequence, and the stretches before it that it sees.

    Args:
        start (`int`): Its first place.
        end (`int`): The place after its last one.
        seen (`tuple[tuple[int, int], ...]`): Starts and ends of its ancestors, the root first.
        mask (`torch.Tensor`, *optional*): Shape (tokens, tokens seen and own), `True` where a row sees a column; none is
            needed where nothing came before.
    """

    start: int
    end: int
    seen: tuple[tuple[int, int], ...] = ()
    mask: torch.Tensor | None = None


def nodes_of(nodes: torch.Tensor, parents: torch.Tensor) -> list[list[Node]]:
    """The nodes of each sequence of a batch.

    Args:
        nodes (`torch.Tensor`): Shape (sequences, tokens), the node of each token, -1 in the padding.
        parents (`torch.Tensor`): Shape (sequences, nodes), the parent of each node, -1 for a root.

    Returns:
        `list[list[Node]]`: In the order of the sequence.

    Example:

    ```python
    >>> [node.seen for node in nodes_of(torch.tensor([[0, 0, 1, 2]]), torch.tensor([[-1, 0, 0]]))[0]]
    [(), ((0, 2),), ((0, 2),)]
    ```
    """
    masks: dict[tuple[int, int], torch.Tensor] = {}
    batch = []
    for of, above in zip(nodes.tolist(), parents.tolist(), strict=True):
        done: list[Node] = []
        start = 0
        for number in range(max(of) + 1):
            end = start + of.count(number)
            parent = above[number]
            seen = (*done[parent].seen, (done[parent].start, done[parent].end)) if parent >= 0 else ()
            mask = None
            if seen:
                before = sum(b - a for a, b in seen)
                size = (end - start, before + end - start)
                if size not in masks:
                    masks[size] = torch.ones(size, dtype=torch.bool, device=nodes.device).tril(before)
                mask = masks[size]
            done.append(Node(start, end, seen, mask))
            start = end
        batch.append(done)
    return batch


def tree_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    trees: Sequence[Sequence[Node]] | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """An attention function of `transformers.AttentionInterface` for batches of [`PrefixCollator`].

    Args:
        module (`torch.nn.Module`): The attention layer.
        query (`torch.Tensor`): Shape (sequences, heads, tokens, size of a head).
        key (`torch.Tensor`): Shape (sequences, key heads, tokens, size of a head).
        value (`torch.Tensor`): As `key`.
        attention_mask (`torch.Tensor`, *optional*): Must be absent; the trees say what is seen.
        dropout (`float`, *optional*, defaults to `0.0`): Of the attention weights.
        scaling (`float`, *optional*): Of the products; one over the root of a head's size where not given.
        trees (`Sequence[Sequence[Node]]`): From [`nodes_of`]; passed to the model's forward.

    Returns:
        `tuple[torch.Tensor, None]`: Shape (sequences, tokens, heads, size of a head); zeros in the padding.

    Raises:
        [`ToolAlpacaError`]: The model's attention is of a kind that trees do not know, or there are no trees.
    """
    strange = [name for name in _UNKNOWN if kwargs.get(name) is not None]
    if strange or trees is None or attention_mask is not None:
        if strange:
            raise ToolAlpacaError(
                f"its attention has {strange[0]}, which trees do not know; set prefix_packing_attention: mask"
            )
        raise ToolAlpacaError(
            "its attention got a batch without trees, or does not get them passed on: while trained, set "
            "prefix_packing_attention: mask; before it generates, call "
            '`set_attn_implementation("sdpa")` or load the checkpoint anew'
        )
    # Heads that share a key: the CPU's kernel wants them side by side.
    shared = query.shape[1] // key.shape[1]
    if shared > 1:
        key, value = key.repeat_interleave(shared, dim=1), value.repeat_interleave(shared, dim=1)
    rows = []
    for i, nodes in enumerate(trees):
        pieces = []
        for node in nodes:
            spans = [*node.seen, (node.start, node.end)]
            keys = torch.cat([key[i : i + 1, :, a:b] for a, b in spans], dim=2)
            values = torch.cat([value[i : i + 1, :, a:b] for a, b in spans], dim=2)
            pieces.append(
                scaled_dot_product_attention(
                    query[i : i + 1, :, node.start : node.end], keys, values, attn_mask=node.mask,
                    dropout_p=dropout, scale=scaling, is_causal=node.mask is None,
                )
            )  # fmt: skip
        row = torch.cat(pieces, dim=2)
        rows.append(pad(row, (0, 0, 0, query.shape[2] - row.shape[2])))
    return torch.cat(rows).transpose(1, 2).contiguous(), None


ALL_ATTENTION_FUNCTIONS.register(TREE_ATTENTION, tree_attention)
