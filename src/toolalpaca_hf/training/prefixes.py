"""Rows that begin alike become one tree: what they share is computed once, then what each goes on with.

The trajectories of an API begin with the same documentation, about two thirds of their tokens, none of it trained. A
tree is one sequence of nodes, each a stretch of tokens after its parent; positions go on from the parent's and a token
sees its ancestors and its own node only, so that loss and gradients are those of the rows one by one. Several trees
share a sequence until it is full.
"""

from bisect import bisect_left, insort
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset, Features, List, Value
from datasets.fingerprint import Hasher

from toolalpaca_hf.errors import ToolAlpacaError
from toolalpaca_hf.training.tokenize import IGNORE

Row = Mapping[str, Sequence[int]]
Pack = dict[str, list[int]]

# A node less than this long is not worth the attention call it costs; its tokens are computed once a row.
LEAST = 16

_COLUMNS = ("input_ids", "labels", "position_ids", "weights", "nodes", "parents")
_FEATURES = Features(dict.fromkeys(_COLUMNS, List(Value("int32"))))


_FOREIGN = (
    "sequences of share_prefixes hold several rows each, and what parts them stands in the columns nodes, parents and weights: "
    "only CompletionTrainer with PrefixCollator computes their loss; train on the rows before share_prefixes instead"
)
# What moves or looks at a tensor; everything else computes with it.
_MOVES = frozenset(
    "__get__ to cpu cuda type detach clone contiguous pin_memory is_pinned as_subclass size dim tolist item numel __repr__ "
    "__len__ __getitem__ __iter__ unbind split chunk narrow cat __reduce_ex__ __deepcopy__ share_memory_ is_shared "
    "untyped_storage stride storage_offset element_size data_ptr is_floating_point is_complex record_stream".split()
)


class TreeLabels(torch.Tensor):
    """Labels of trees in a batch: any loss but [`CompletionTrainer`]'s would shift them as if they were one row.

    Raises:
        [`ToolAlpacaError`]: When anything is computed with them; [`plain_labels`] gives the tensor.
    """

    @classmethod
    def __torch_function__(
        cls, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func.__name__ not in _MOVES:
            raise ToolAlpacaError(_FOREIGN)
        return super().__torch_function__(func, types, args, kwargs or {})


class _RowLabels(Sequence[int]):
    """Labels of a row of [`share_prefixes`]: they can be looked at; only [`PrefixCollator`] makes a tensor of them."""

    def __init__(self, values: list[int]) -> None:
        self.values = values

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, place: Any) -> Any:
        return self.values[place]

    def __eq__(self, other: object) -> bool:
        return self.values == (other.values if isinstance(other, _RowLabels) else other)

    def __hash__(self) -> int:
        return hash(tuple(self.values))

    def __repr__(self) -> str:
        return repr(self.values)

    def __iter__(self) -> Iterator[int]:
        # Where a collator that knows nothing of trees makes its tensor.
        raise ToolAlpacaError(_FOREIGN)


def _guarded(batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """The format of [`share_prefixes`]' rows: without the columns that part them they are not handed out."""
    if "labels" in batch:
        if len(batch) > 1 and not {"nodes", "parents", "weights"} <= batch.keys():
            raise ToolAlpacaError(f"{_FOREIGN}, or set remove_unused_columns: false")
        batch["labels"] = [_RowLabels(labels) for labels in batch["labels"]]
    return batch


def plain_labels(labels: torch.Tensor) -> torch.Tensor:
    """Labels as a tensor to compute with.

    Example:

    ```python
    >>> plain_labels(torch.tensor([5, -100])).tolist()
    [5, -100]
    ```
    """
    return labels.as_subclass(torch.Tensor)


def _ids(values: Any) -> list[int]:
    """A list of a column in any format: torch, numpy, Arrow's Python lists."""
    if isinstance(values, _RowLabels):
        return values.values
    return values if isinstance(values, list) else np.asarray(values).tolist()


def _common(one: Row, other: Row) -> int:
    """How many tokens two rows have in common at their beginning."""
    size = min(len(one["input_ids"]), len(other["input_ids"]))
    same = np.asarray(one["input_ids"][:size]) == np.asarray(other["input_ids"][:size])
    return size if same.all() else int(same.argmin())


def plant(rows: Sequence[Row], least: int = LEAST) -> Pack:
    """Trees of rows, in one sequence.

    A token that rows share is one token of the sequence; its `weights` says how many of them train it.

    Args:
        rows (`Sequence[Mapping]`): `input_ids` and `labels` of each row.
        least (`int`, *optional*, defaults to `16`): Fewest tokens that make a node of their own.

    Returns:
        `dict[str, list[int]]`: `input_ids`, `labels`, `position_ids`, `weights` and `nodes` (0, 1, 2, ... in the order
        of the sequence), each as long as the sequence, and `parents`, for each node its parent or -1.

    Example:

    ```python
    >>> row = {"input_ids": [5, 6, 7], "labels": [-100, -100, 7]}
    >>> pack = plant([row, {"input_ids": [5, 6, 8], "labels": [-100, -100, 8]}], least=1)
    >>> pack["input_ids"], pack["position_ids"], pack["nodes"], pack["parents"]
    ([5, 6, 7, 8], [0, 1, 2, 2], [0, 0, 1, 2], [-1, 0, 0])
    ```
    """
    pack: Pack = {name: [] for name in _COLUMNS}
    rows = [{name: _ids(row[name]) for name in ("input_ids", "labels")} for row in rows]
    ordered = sorted(rows, key=_order)
    common = [0, *(_common(one, other) for one, other in pairwise(ordered))]
    # Groups still to come, the next one last: rows, what each has in common with the one before it, depth, parent.
    groups = [(0, ordered, common, -1)] if ordered else []
    while groups:
        depth, group, common, parent = groups.pop()
        ends = list(_groups(common, depth + least))
        if len(ends) > 1:
            groups += [(depth, group[start:end], common[start:end], parent) for start, end in reversed(ends)]
            continue
        until = min(common[1:], default=len(group[0]["input_ids"]))
        node = len(pack["parents"])
        pack["parents"].append(parent)
        for place in range(depth, until):
            # Nothing predicts a row's first token.
            weight = sum(row["labels"][place] != IGNORE for row in group) if place else 0
            pack["labels"].append(group[0]["input_ids"][place] if weight else IGNORE)
            pack["weights"].append(weight)
        pack["input_ids"] += group[0]["input_ids"][depth:until]
        pack["position_ids"] += range(depth, until)
        pack["nodes"] += [node] * (until - depth)
        # Rows that end here come first; they have no more to add.
        ended = sum(len(row["input_ids"]) == until for row in group)
        if ended < len(group):
            groups.append((until, group[ended:], common[ended:], node))
    return pack


def _order(row: Row) -> bytes:
    """Sorts rows as their ids do, in a fraction of the memory."""
    return np.asarray(row["input_ids"], dtype=">i4").tobytes()


def _groups(common: Sequence[int], least: int) -> Iterator[tuple[int, int]]:
    """Runs of neighbours that have at least so many tokens in common."""
    start = 0
    for place in range(1, len(common) + 1):
        if place == len(common) or common[place] < least:
            yield start, place
            start = place


def share_prefixes(rows: Dataset, max_tokens: int, least: int = LEAST) -> Dataset:
    """Pack rows into sequences in which what they have in common at their beginning stands once.

    Rows are sorted by their ids, which brings common beginnings together. Those that share most are put together first;
    where they would be longer than `max_tokens` they are parted, and each part has the shared tokens again. Parts then
    fill sequences, the longest first, each where it leaves the least room. Nothing is drawn at random.

    Args:
        rows (`Dataset`): `input_ids` and `labels`, from [`tokenize_dataset`].
        max_tokens (`int`): Longest sequence; a single row may be longer.
        least (`int`, *optional*, defaults to `16`): Fewest tokens that make a node of their own.

    Returns:
        `Dataset`: A sequence a row, as [`plant`] makes them; cached.

    Example:

    ```python
    >>> row = {"input_ids": [5, 6, 7], "labels": [-100, -100, 7]}
    >>> len(share_prefixes(Dataset.from_list([row, row]), max_tokens=2048))
    1
    ```
    """

    rows = rows.with_format(None)

    def sequences() -> Any:
        keys = [_order(row) for row in rows]
        places = sorted(range(len(rows)), key=keys.__getitem__)
        del keys
        # Two rows at a time, so that the rows themselves are never all in memory.
        common = [0, *(_common(rows[one], rows[other]) for one, other in pairwise(places))]
        lengths = [len(rows[place]["input_ids"]) for place in places]

        def planted(members: Sequence[int]) -> Iterator[Pack]:
            # Fewer rows may share a little less than was planned: a stretch too short for a node stands once a row.
            pack = plant([rows[places[member]] for member in members], least)
            if len(pack["input_ids"]) <= max_tokens or len(members) == 1:
                yield pack
            else:
                yield from planted(members[: len(members) // 2])
                yield from planted(members[len(members) // 2 :])

        for _, members in _fill(_pieces(lengths, common, range(len(places)), 0, max_tokens, least), max_tokens):
            yield from planted(members)

    code = Path(__file__).read_bytes()
    fingerprint = Hasher.hash([rows._fingerprint, max_tokens, least, code])
    return Dataset.from_generator(sequences, features=_FEATURES, fingerprint=fingerprint).with_transform(_guarded)


def _pieces(
    lengths: Sequence[int], common: Sequence[int], members: range, depth: int, max_tokens: int, least: int
) -> list[tuple[int, list[int]]]:
    """Rows that stay together, and the tokens they have beyond those that all of `members` share.

    What shares most is put together first: below each node the pieces of its children fill what room the node leaves,
    and what is not full is offered to the node above.
    """
    # Nodes from the top: their rows, how deep they start and end, how many rows end there, and the nodes below.
    nodes: list[tuple[range, int, int, int, list[int]]] = []
    top: list[int] = []
    todo = [(members, depth, top)]
    while todo:
        members, depth, siblings = todo.pop()
        for start, end in _groups(common[members.start : members.stop], depth + least):
            group = members[start:end]
            until = min(common[group.start + 1 : group.stop], default=lengths[group.start])
            ended = next((i for i, member in enumerate(group) if lengths[member] > until), len(group))
            siblings.append(len(nodes))
            nodes.append((group, depth, until, ended, []))
            if ended < len(group):
                todo.append((group[ended:], until, nodes[-1][4]))
    done: list[list[tuple[int, list[int]]]] = [[] for _ in nodes]
    # What is below a node was found after it.
    for node in reversed(range(len(nodes))):
        group, start, until, ended, below = nodes[node]
        filled = _fill([piece for child in below for piece in done[child]], max_tokens - until) or [(0, [])]
        filled[0] = (filled[0][0], [*group[:ended], *filled[0][1]])
        done[node] = [(until - start + size, rows) for size, rows in filled]
        for child in below:
            done[child] = []
    return [piece for node in top for piece in done[node]]


def _fill(pieces: Sequence[tuple[int, list[int]]], room: int) -> list[tuple[int, list[int]]]:
    """Best fit, the longest first: each piece goes where it leaves the least room."""
    filled: list[tuple[int, list[int]]] = []
    left: list[tuple[int, int]] = []
    for size, rows in sorted(pieces, key=lambda piece: -piece[0]):
        best = bisect_left(left, (size, -1))
        if best < len(left):
            before, number = left.pop(best)
            filled[number] = (filled[number][0] + size, filled[number][1] + rows)
        else:
            before, number = room, len(filled)
            filled.append((size, list(rows)))
        insort(left, (before - size, number))
    return filled


class PrefixCollator:
    """Batches of sequences of trees, padded on the right.

    Args:
        pad_token_id (`int`): Pads `input_ids`.

    Example:

    ```python
    >>> row = {"input_ids": [5, 6, 7], "labels": [-100, -100, 7]}
    >>> batch = PrefixCollator(pad_token_id=0)([plant([row, row], least=1), row])
    >>> batch["nodes"].tolist(), batch["weights"].tolist()
    ([[0, 0, 0], [0, 0, 0]], [[0, 0, 2], [0, 0, 1]])
    ```
    """

    def __init__(self, pad_token_id: int) -> None:
        self.padding = {
            "input_ids": pad_token_id, "labels": IGNORE, "position_ids": 0, "weights": 0, "nodes": -1, "parents": -1
        }  # fmt: skip

    def __call__(self, sequences: Sequence[Row]) -> dict[str, torch.Tensor]:
        """Each of shape (sequences, longest sequence), but for `parents`: (sequences, most nodes).

        Args:
            sequences (`Sequence[Mapping]`): Rows of [`share_prefixes`], or of [`tokenize_dataset`] (a tree each).
        """
        for one in sequences:
            if "position_ids" in one and not {"nodes", "parents", "weights"} <= one.keys():
                raise ToolAlpacaError(f"{_FOREIGN}, or set remove_unused_columns: false")
        done = [one if "nodes" in one else plant([one]) for one in sequences]
        batch = {}
        for name, padding in self.padding.items():
            length = max(len(one[name]) for one in done)
            batch[name] = torch.tensor([_ids(one[name]) + [padding] * (length - len(one[name])) for one in done])
        batch["labels"] = batch["labels"].as_subclass(TreeLabels)
        return batch


def predictors(nodes: torch.Tensor, parents: torch.Tensor) -> torch.Tensor:
    """Where each token is predicted: at the one before it, or at the last one of its node's parent.

    Args:
        nodes (`torch.Tensor`): Shape (sequences, tokens), from [`PrefixCollator`].
        parents (`torch.Tensor`): Shape (sequences, nodes).

    Returns:
        `torch.Tensor`: Places, of shape (sequences, tokens); 0 where a row begins.

    Example:

    ```python
    >>> predictors(torch.tensor([[0, 0, 1, 2, 2]]), torch.tensor([[-1, 0, 0]])).tolist()
    [[0, 0, 1, 1, 3]]
    ```
    """
    tokens = torch.arange(nodes.shape[1], device=nodes.device).expand_as(nodes)
    ends = torch.zeros_like(parents).scatter_reduce(1, nodes.clamp(min=0), tokens * (nodes >= 0), "amax")
    above = parents.gather(1, nodes.clamp(min=0))
    before = torch.where(above >= 0, ends.gather(1, above.clamp(min=0)), 0)
    first = torch.ones_like(nodes, dtype=torch.bool)
    first[:, 1:] = nodes[:, 1:] != nodes[:, :-1]
    return torch.where(first, before, tokens - 1)


def tree_mask(nodes: torch.Tensor, parents: torch.Tensor) -> torch.Tensor:
    """Which token sees which: earlier ones of its own node, and all of that node's ancestors.

    Args:
        nodes (`torch.Tensor`): Shape (sequences, tokens), from [`PrefixCollator`].
        parents (`torch.Tensor`): Shape (sequences, nodes).

    Returns:
        `torch.Tensor`: Booleans of shape (sequences, 1, tokens, tokens); rows see columns. Padding sees padding.

    Example:

    ```python
    >>> tree_mask(torch.tensor([[0, 1, 2]]), torch.tensor([[-1, 0, 0]]))[0, 0].int().tolist()
    [[1, 0, 0], [1, 1, 0], [1, 0, 1]]
    ```
    """
    sees = _lines(parents)
    number = nodes.clamp(min=0)
    rows = sees.gather(1, number[..., None].expand(-1, -1, sees.shape[2]))
    mask = rows.gather(2, number[:, None, :].expand(-1, nodes.shape[1], -1))
    # Padding comes last, so no row sees it; it sees something, or its softmax would be over nothing.
    return mask.tril()[:, None]


def tree_block_mask(nodes: torch.Tensor, parents: torch.Tensor) -> Any:
    """What [`tree_mask`] says, for FlexAttention: blocks in which nothing is seen are never computed.

    Args:
        nodes (`torch.Tensor`): Shape (sequences, tokens), from [`PrefixCollator`].
        parents (`torch.Tensor`): Shape (sequences, nodes).

    Returns:
        `torch.nn.attention.flex_attention.BlockMask`: For all heads.

    Example:

    ```python
    >>> tree_block_mask(torch.tensor([[0, 1, 2]]), torch.tensor([[-1, 0, 0]])).shape
    (1, 1, 3, 3)
    ```
    """
    from torch.nn.attention.flex_attention import create_block_mask

    sees, number = _lines(parents), nodes.clamp(min=0)

    def seen(row: torch.Tensor, head: torch.Tensor, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        return (one >= other) & sees[row, number[row, one], number[row, other]]

    return create_block_mask(seen, len(nodes), None, nodes.shape[1], nodes.shape[1], device=nodes.device)


def _lines(parents: torch.Tensor) -> torch.Tensor:
    """Which node is another's ancestor or that node itself, of shape (sequences, nodes, nodes)."""
    count = parents.shape[1]
    sees = torch.eye(count, dtype=torch.bool, device=parents.device).repeat(len(parents), 1, 1)
    above = parents
    while (above >= 0).any():
        sees |= torch.nn.functional.one_hot(above.clamp(min=0), count).bool() & (above >= 0)[..., None]
        above = torch.where(above >= 0, parents.gather(1, above.clamp(min=0)), -1)
    return sees
