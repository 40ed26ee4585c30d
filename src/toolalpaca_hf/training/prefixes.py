"""Packs rows with common prefixes into trees: shared tokens are computed once, then each row's continuation.

A tree is a sequence of nodes, each a span of tokens that follows its parent, in positions as in what it sees.
"""

from bisect import bisect_left, insort
from collections import UserList
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from datasets import Dataset, Features, IterableDataset, List, Value
from datasets.fingerprint import Hasher

from ..errors import InputError, OptionError
from ..inference import common_length
from .tokenize import IGNORE, code_hash

Row = Mapping[str, Sequence[int]]
Pack = dict[str, list[int]]

# A node less than this long is not worth the attention call it costs; its tokens are computed once a row.
MIN_NODE_TOKENS = 16

_COLUMNS = ("input_ids", "labels", "position_ids", "weights", "nodes", "parents")
_FEATURES = Features(dict.fromkeys(_COLUMNS, List(Value("int32"))))


def _foreign() -> OptionError:
    """Each sequence holds several rows, separated by columns that only [`PrefixCollator`] and its trainer know."""
    problem = "a sequence of share_prefixes would be computed as one row"
    fix = "pass SegmentSFTTrainer a PrefixCollator, and all columns (remove_unused_columns: false), or unshared rows"
    return OptionError(problem, option="data_collator", fix=fix)


# What moves or looks at a tensor; everything else computes with it.
_MOVES = frozenset(
    "__get__ to cpu cuda type detach clone contiguous pin_memory is_pinned as_subclass size dim tolist item numel "
    "__repr__ __len__ __getitem__ __iter__ unbind split chunk narrow cat __reduce_ex__ __deepcopy__ share_memory_ "
    "is_shared untyped_storage stride storage_offset element_size data_ptr is_floating_point is_complex "
    "record_stream".split()
)


class TreeLabels(torch.Tensor):
    """Labels of trees, which refuse to be computed with: other losses would shift them as if they were one row."""

    @classmethod
    def __torch_function__(
        cls, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func.__name__ not in _MOVES:
            raise _foreign()
        return super().__torch_function__(func, types, args, kwargs or {})


class _RowLabels(UserList[int]):
    """Labels of a row of [`share_prefixes`]: readable, but only [`PrefixCollator`] makes a tensor of them."""

    def __iter__(self) -> Iterator[int]:
        # Where a collator that knows nothing of trees makes its tensor.
        raise _foreign()


def _guarded(batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """Format of [`share_prefixes`]' rows: they cannot be read without the columns that separate them."""
    if "labels" in batch:
        if len(batch) > 1 and not {"nodes", "parents", "weights"} <= batch.keys():
            raise _foreign()
        batch["labels"] = [_RowLabels(labels) for labels in batch["labels"]]
    return batch


def plain_rows(rows: Any, collator: Any) -> Any:
    """Rows in Python format; sequences of [`share_prefixes`] keep the format that guards them."""
    if isinstance(rows, dict):  # several datasets to evaluate on
        return {name: plain_rows(part, collator) for name, part in rows.items()}
    if "nodes" not in (getattr(rows, "column_names", None) or ()):
        if isinstance(rows, IterableDataset) or (isinstance(rows, Dataset) and rows.format["type"] is not None):
            return rows.with_format(None)
        return rows
    if not isinstance(collator, PrefixCollator):
        fix = "pass PrefixCollator(tokenizer.pad_token_id)"
        raise OptionError("rows of share_prefixes need their own", option="data_collator", fix=fix)
    return rows


def _ids(values: Any) -> list[int]:
    """A list of a column in torch, numpy or Python format."""
    if isinstance(values, _RowLabels):
        return values.data
    return values if isinstance(values, list) else np.asarray(values).tolist()


def build_tree(rows: Sequence[Row], min_node_tokens: int = MIN_NODE_TOKENS) -> Pack:
    """Build trees of rows (`input_ids` and `labels` of each), in one sequence.

    Returns:
        `dict[str, list[int]]`: `input_ids`, `labels`, `position_ids`, `weights` (how many rows train a token) and
            `nodes` (numbered in sequence order), each as long as the sequence; `parents`, each node's parent or -1.

    Raises:
        [`InputError`]: A label is neither its token nor -100.

    Example:

    ```python
    >>> row = {"input_ids": [5, 6, 7], "labels": [-100, -100, 7]}
    >>> pack = build_tree([row, {"input_ids": [5, 6, 8], "labels": [-100, -100, 8]}], min_node_tokens=1)
    >>> pack["input_ids"], pack["position_ids"], pack["nodes"], pack["parents"]
    ([5, 6, 7, 8], [0, 1, 2, 2], [0, 0, 1, 2], [-1, 0, 0])
    ```
    """
    pack: Pack = {name: [] for name in _COLUMNS}
    rows = [{name: _ids(row[name]) for name in ("input_ids", "labels")} for row in rows if len(row["input_ids"])]
    for row in rows:
        ids, labels = (np.asarray(row[name]) for name in ("input_ids", "labels"))
        if len(ids) != len(labels) or ((labels != IGNORE) & (labels != ids)).any():
            fix = "give each trained token its own id, or set prefix_packing: false"
            raise InputError("the labels of a row are neither its tokens nor -100", fix=fix)
    ordered = sorted(rows, key=_order)
    common = [0, *(common_length(a["input_ids"], b["input_ids"]) for a, b in pairwise(ordered))]
    # Groups still to come, the next one last: rows, what each has in common with the one before it, depth, parent.
    groups = [(0, ordered, common, -1)] if ordered else []
    while groups:
        depth, group, common, parent = groups.pop()
        ends = list(_groups(common, depth + min_node_tokens))
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
    """Sorts like the ids, in a fraction of the memory."""
    return np.asarray(row["input_ids"], dtype=">i4").tobytes()


def _groups(common: Sequence[int], min_node_tokens: int) -> Iterator[tuple[int, int]]:
    """Runs of neighbours with at least this many tokens in common."""
    start = 0
    for place in range(1, len(common) + 1):
        if place == len(common) or common[place] < min_node_tokens:
            yield start, place
            start = place


def share_prefixes(rows: Dataset, max_tokens: int, min_node_tokens: int = MIN_NODE_TOKENS) -> Dataset:
    """Pack the rows of [`tokenize_dataset`] into sequences in which common prefixes appear once; cached.

    Rows are sorted by ids, which makes rows with common prefixes neighbours. Those that share most are joined first;
    where they would exceed `max_tokens` they are split, and each part repeats the shared tokens. Parts then fill
    sequences by best fit, longest first. A single row may be longer than `max_tokens`.
    """

    plain: Any = rows.with_format(None)  # yields dicts, which `datasets` does not type

    def sequences() -> Any:
        keys = [_order(row) for row in plain]
        places = sorted((place for place, key in enumerate(keys) if key), key=keys.__getitem__)
        del keys
        # Two rows at a time, so that the rows themselves are never all in memory.
        common = [0, *(common_length(plain[a]["input_ids"], plain[b]["input_ids"]) for a, b in pairwise(places))]
        lengths = [len(plain[place]["input_ids"]) for place in places]

        def built(members: Sequence[int]) -> Iterator[Pack]:
            # Fewer rows may share a little less than was planned: a stretch too short for a node stands once a row.
            pack = build_tree([plain[places[member]] for member in members], min_node_tokens)
            if len(pack["input_ids"]) <= max_tokens or len(members) == 1:
                yield pack
            else:
                yield from built(members[: len(members) // 2])
                yield from built(members[len(members) // 2 :])

        for _, members in _fill(_pieces(lengths, common, range(len(places)), max_tokens, min_node_tokens), max_tokens):
            yield from built(members)

    fingerprint = Hasher.hash([rows._fingerprint, max_tokens, min_node_tokens, code_hash()])
    return Dataset.from_generator(sequences, features=_FEATURES, fingerprint=fingerprint).with_transform(_guarded)


def _pieces(
    lengths: Sequence[int], common: Sequence[int], members: range, max_tokens: int, min_node_tokens: int
) -> list[tuple[int, list[int]]]:
    """Rows that stay together, and how many tokens they have: deepest prefixes first, then what fits to the parent."""
    # Nodes from the top: their rows, how deep they start and end, how many rows end there, and the nodes below.
    nodes: list[tuple[range, int, int, int, list[int]]] = []
    top: list[int] = []
    todo = [(members, 0, top)]
    while todo:
        members, depth, siblings = todo.pop()
        for start, end in _groups(common[members.start : members.stop], depth + min_node_tokens):
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
    """Best fit, longest first."""
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
    """Batches of sequences of trees, padded on the right; `pad_token_id` pads `input_ids`.

    Tensors have shape (sequences, longest sequence), except `parents`: (sequences, most nodes).

    Example:

    ```python
    >>> row = {"input_ids": [5, 6, 7], "labels": [-100, -100, 7]}
    >>> batch = PrefixCollator(pad_token_id=0)([build_tree([row, row], min_node_tokens=1), row])
    >>> batch["nodes"].tolist(), batch["weights"].tolist()
    ([[0, 0, 0], [0, 0, 0]], [[0, 0, 2], [0, 0, 1]])
    ```
    """

    def __init__(self, pad_token_id: int) -> None:
        self.padding = {
            "input_ids": pad_token_id, "labels": IGNORE, "position_ids": 0, "weights": 0, "nodes": -1, "parents": -1
        }  # fmt: skip

    def __call__(self, sequences: Sequence[Row]) -> dict[str, torch.Tensor]:
        if any("position_ids" in pack and not {"nodes", "parents", "weights"} <= pack.keys() for pack in sequences):
            raise _foreign()
        packs = [pack if "nodes" in pack else build_tree([pack]) for pack in sequences]
        batch = {}
        for name, padding in self.padding.items():
            length = max(len(pack[name]) for pack in packs)
            batch[name] = torch.tensor([_ids(pack[name]) + [padding] * (length - len(pack[name])) for pack in packs])
        batch["labels"] = batch["labels"].as_subclass(TreeLabels)
        return batch
