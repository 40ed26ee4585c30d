"""The loss over trained tokens only, of rows or trees of rows, and attention that computes trees node by node."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch.nn.functional import cross_entropy, pad, scaled_dot_product_attention
from transformers import PreTrainedModel
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from ..errors import UnsupportedModelError
from ..inference import attention_of, configs_of, select_logits
from .tokenize import IGNORE

# What `set_attn_implementation` calls it. Without a mask function of that name transformers makes no mask of its own.
TREE_ATTENTION = "tree"
# What it calls each way of computing trees. A dense mask also computes what it hides: nine tenths with ten branches.
ATTENTION = {"nodes": TREE_ATTENTION, "mask": "sdpa", "flex": "flex_attention"}
# Kinds of attention that change what is seen, and that the blocks below know nothing of.
_UNKNOWN = ("sliding_window", "softcap", "s_aux", "position_bias")


@dataclass(frozen=True)
class Node:
    """A span of a sequence, and the earlier spans it sees."""

    start: int
    end: int
    seen: tuple[tuple[int, int], ...] = ()
    mask: torch.Tensor | None = None


def nodes_of(nodes: torch.Tensor, parents: torch.Tensor) -> list[list[Node]]:
    """The nodes of each sequence, from each token's node, (sequences, tokens), and its parent, (sequences, nodes)."""
    batch = []
    for of, above in zip(nodes.tolist(), parents.tolist(), strict=True):
        done: list[Node] = []
        start = 0
        for number in range(max(of) + 1):
            end, parent, seen, mask = start + of.count(number), above[number], (), None
            if parent >= 0:
                seen = (*done[parent].seen, (done[parent].start, done[parent].end))
                before, own = sum(b - a for a, b in seen), end - start
                mask = torch.ones(own, before + own, dtype=torch.bool, device=nodes.device).tril(before)
            done.append(Node(start, end, seen, mask))
            start = end
        batch.append(done)
    return batch


def predictors(nodes: torch.Tensor, parents: torch.Tensor) -> torch.Tensor:
    """Position that predicts each token, (sequences, tokens): the one before it in its row, 0 at the start of one."""
    tokens = torch.arange(nodes.shape[1], device=nodes.device).expand_as(nodes)
    ends = torch.zeros_like(parents).scatter_reduce(1, nodes.clamp(min=0), tokens * (nodes >= 0), "amax")
    above = parents.gather(1, nodes.clamp(min=0))
    before = torch.where(above >= 0, ends.gather(1, above.clamp(min=0)), 0)
    first = torch.ones_like(nodes, dtype=torch.bool)
    first[:, 1:] = nodes[:, 1:] != nodes[:, :-1]
    return torch.where(first, before, tokens - 1)


def tree_mask(nodes: torch.Tensor, parents: torch.Tensor) -> torch.Tensor:
    """Which token sees which, (sequences, 1, tokens, tokens): earlier ones of its node, and all of its ancestors."""
    sees, number = _lines(parents), nodes.clamp(min=0)
    row = torch.arange(len(nodes), device=nodes.device)[:, None, None]
    # Padding comes last, so no row sees it; it sees something, or its softmax would be over nothing.
    return sees[row, number[..., None], number[:, None]].tril()[:, None]


def tree_block_mask(nodes: torch.Tensor, parents: torch.Tensor) -> Any:
    """[`tree_mask`] as FlexAttention's `BlockMask`, which skips blocks in which nothing is visible."""
    from torch.nn.attention.flex_attention import create_block_mask

    sees, number = _lines(parents), nodes.clamp(min=0)

    def seen(row: torch.Tensor, head: torch.Tensor, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
        return (query >= key) & sees[row, number[row, query], number[row, key]]

    return create_block_mask(seen, len(nodes), None, nodes.shape[1], nodes.shape[1], device=nodes.device)


def _lines(parents: torch.Tensor) -> torch.Tensor:
    """Whether a node is another's ancestor or that node itself, of shape (sequences, nodes, nodes)."""
    count = parents.shape[1]
    sees = torch.eye(count, dtype=torch.bool, device=parents.device).repeat(len(parents), 1, 1)
    above = parents
    while (above >= 0).any():
        sees |= torch.nn.functional.one_hot(above.clamp(min=0), count).bool() & (above >= 0)[..., None]
        above = torch.where(above >= 0, parents.gather(1, above.clamp(min=0)), -1)
    return sees


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
    """Attention function of `AttentionInterface`, given `trees` from [`nodes_of`]; zeros for padding."""
    fix = "set prefix_packing_attention: mask"
    if unknown := [name for name in _UNKNOWN if kwargs.get(name) is not None]:
        raise UnsupportedModelError(f"its attention has {unknown[0]}, which trees do not know", fix=fix)
    if trees is None or attention_mask is not None:
        fix += ' while it is trained, or call `set_attn_implementation("sdpa")` before it generates'
        raise UnsupportedModelError("its attention got a batch without trees", fix=fix)
    # Heads that share a key: the CPU's kernel wants them side by side.
    shared = query.shape[1] // key.shape[1]
    if shared > 1:
        key, value = key.repeat_interleave(shared, dim=1), value.repeat_interleave(shared, dim=1)
    rows = []
    for i, nodes in enumerate(trees):
        pieces = []
        for node in nodes:
            spans = [*node.seen, (node.start, node.end)]
            keys, values = (torch.cat([of[i : i + 1, :, a:b] for a, b in spans], dim=2) for of in (key, value))
            own = query[i : i + 1, :, node.start : node.end]
            options: dict[str, Any] = {"dropout_p": dropout, "scale": scaling, "is_causal": node.mask is None}
            pieces.append(scaled_dot_product_attention(own, keys, values, node.mask, **options))
        row = torch.cat(pieces, dim=2)
        rows.append(pad(row, (0, 0, 0, query.shape[2] - row.shape[2])))
    return torch.cat(rows).transpose(1, 2).contiguous(), None


ALL_ATTENTION_FUNCTIONS.register(TREE_ATTENTION, tree_attention)


class CompletionLoss(NamedTuple):
    """Result of [`completion_loss`]: T trained tokens out of V."""

    total: torch.Tensor
    logits: torch.Tensor
    targets: torch.Tensor
    weights: torch.Tensor
    tokens: torch.Tensor


def completion_loss(
    model: torch.nn.Module, batch: Mapping[str, Any], head_of: PreTrainedModel, attention: str = "nodes"
) -> CompletionLoss:
    """The summed loss of a batch that is padded on the right; `head_of` is the model without wrappers."""
    inputs = dict(batch)
    labels = inputs.pop("labels").as_subclass(torch.Tensor)
    if "nodes" in inputs:
        nodes, parents, weights = (inputs.pop(name) for name in ("nodes", "parents", "weights"))
        if attention == "nodes":
            inputs["trees"] = nodes_of(nodes, parents)
        else:
            inputs["attention_mask"] = (tree_block_mask if attention == "flex" else tree_mask)(nodes, parents)
        tokens = (nodes >= 0).sum()
        trained = weights > 0
        places = predictors(nodes, parents)
    else:
        mask = inputs.get("attention_mask")
        tokens = mask.sum() if mask is not None else labels.new_tensor(labels.numel())
        trained = labels != IGNORE
        trained[:, 0] = False
        weights = trained.long()
        places = torch.arange(-1, trained.shape[1] - 1, device=trained.device).expand_as(trained)
    targets, weights = labels[trained], weights[trained]
    with select_logits(head_of, trained.nonzero()[:, 0], places[trained]):
        logits = model(**inputs, use_cache=False).logits[0].float()
    total = (cross_entropy(logits, targets, reduction="none") * weights).sum()
    return CompletionLoss(total, logits, targets, weights, tokens)


def continuation_logprobs(
    model: torch.nn.Module,
    prompt: torch.Tensor,
    continuations: Sequence[torch.Tensor],
    head_of: PreTrainedModel,
    temperature: float = 1.0,
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Log-probabilities of continuations of a prompt that is computed once for all, gradients through it included.

    Ids have the shapes (P,) and, of each continuation, (C,), at least one. `model` has to compute trees node by node
    exactly, see [`require_exact`]; `head_of` is the same model without wrappers.

    Returns:
        `list[tuple[torch.Tensor, torch.Tensor]]`: For each continuation the log-probabilities of its tokens, and the
            entropies (in nats, without gradient) of what they were drawn from, of shape (C,).
    """
    size, lengths = len(prompt), [len(ids) for ids in continuations]
    ids, device = torch.cat([prompt, *continuations]), prompt.device
    spans = torch.tensor([size, *lengths], device=device)
    nodes = torch.arange(len(spans), device=device).repeat_interleave(spans)[None]
    parents = torch.tensor([[-1] + [0] * len(lengths)], device=device)
    positions = torch.cat([torch.arange(size), *(torch.arange(size, size + length) for length in lengths)])
    columns = predictors(nodes, parents)[0, size:]
    trees: dict[str, Any] = {"position_ids": positions[None].to(device), "trees": nodes_of(nodes, parents)}
    # Only while it is computed: what generates with this model has its own attention.
    with select_logits(head_of, torch.zeros_like(columns), columns), attention_of(configs_of(head_of), TREE_ATTENTION):
        logits = model(input_ids=ids[None], use_cache=False, **trees).logits[0].float() / temperature
    normalizers = logits.logsumexp(-1)
    found = logits.gather(1, ids[size:, None])[:, 0] - normalizers
    with torch.no_grad():
        entropies = normalizers - (logits.softmax(-1) * logits).sum(-1)
    return list(zip(found.split(lengths), entropies.split(lengths), strict=True))
