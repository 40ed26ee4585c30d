"""Rows that begin alike become one tree: what they share is computed once, then each row's own rest, its branch.

The trajectories of an API begin with the same documentation, about two thirds of their tokens, none of it trained. A
tree is one sequence `[prefix, branch, branch, ...]`; positions start anew at each branch and a mask lets it see the
prefix and itself only, so that loss and gradients are those of the rows one by one.
"""

from collections.abc import Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset, Features, List, Value
from datasets.fingerprint import Hasher

from toolalpaca_hf.training.tokenize import IGNORE

_COLUMNS = ("input_ids", "labels", "position_ids", "branches")
_FEATURES = Features(dict.fromkeys(_COLUMNS, List(Value("int32"))))


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def _head(row: Mapping[str, Sequence[int]]) -> int:
    """Tokens that may be shared: those before the last one that predicts the first trained token."""
    first = next(i for i, label in enumerate(row["labels"]) if label != IGNORE)
    return max(first - 1, 0)


def plant(rows: Sequence[Mapping[str, Sequence[int]]], shared: int) -> dict[str, list[int]]:
    """One tree of rows whose first `shared` tokens are the same and untrained.

    Args:
        rows (`Sequence[Mapping]`): `input_ids` and `labels` of each row.
        shared (`int`): Tokens in the prefix; every row is longer.

    Returns:
        `dict[str, list[int]]`: `input_ids`, `labels`, `position_ids` and `branches` (0 in the prefix, then 1, 2, ...),
        each as long as the tree.

    Example:

    ```python
    >>> row = {"input_ids": [5, 6, 7], "labels": [-100, -100, 7]}
    >>> plant([row, row], shared=1)
    {'input_ids': [5, 6, 7, 6, 7], 'labels': [-100, -100, 7, -100, 7], 'position_ids': [0, 1, 2, 1, 2], 'branches': [0, 1, 1, 2, 2]}
    ```
    """
    tree = {
        "input_ids": list(rows[0]["input_ids"][:shared]),
        "labels": [IGNORE] * shared,
        "position_ids": list(range(shared)),
        "branches": [0] * shared,
    }
    for branch, row in enumerate(rows, start=1):
        size = len(row["input_ids"])
        tree["input_ids"] += row["input_ids"][shared:]
        tree["labels"] += row["labels"][shared:]
        tree["position_ids"] += range(shared, size)
        tree["branches"] += [branch] * (size - shared)
    return tree


def share_prefixes(rows: Dataset, max_tokens: int, min_share: float = 0.5) -> Dataset:
    """Pack rows that begin alike into trees.

    Rows are sorted by their ids, which brings common beginnings together, and joined to the tree before as long as they
    share `min_share` of what stands before their first trained token and the tree stays within `max_tokens`. A row that
    shares with none is a tree by itself.

    Args:
        rows (`Dataset`): `input_ids` and `labels`, from [`tokenize_dataset`].
        max_tokens (`int`): Longest tree; a single row may be longer.
        min_share (`float`, *optional*, defaults to `0.5`): Least part of a row's prompt that is shared.

    Returns:
        `Dataset`: A tree a row, as [`plant`] makes them.

    Example:

    ```python
    >>> row = {"input_ids": [5, 6, 7], "labels": [-100, -100, 7]}
    >>> len(share_prefixes(Dataset.from_list([row, row]), max_tokens=2048))
    1
    ```
    """

    def tree(group: list[Mapping[str, Sequence[int]]], shared: int) -> dict[str, list[int]]:
        return plant(group, shared if len(group) > 1 else 0)

    def trees() -> Any:
        group: list[Mapping[str, Sequence[int]]] = []
        shared = size = 0
        for row in sorted(rows, key=lambda row: row["input_ids"]):
            head = _head(row)
            if group:
                common = min(shared, head, _common(group[0]["input_ids"], row["input_ids"]))
                least = min_share * max(head, 1)
                grown = size + len(row["input_ids"]) - common * len(group)
                if common >= least and grown <= max_tokens:
                    group.append(row)
                    shared, size = common, size + len(row["input_ids"])
                    continue
                yield tree(group, shared)
            group, shared, size = [row], head, len(row["input_ids"])
        if group:
            yield tree(group, shared)

    code = Path(__file__).read_bytes()
    fingerprint = Hasher.hash([rows._fingerprint, max_tokens, min_share, code])
    return Dataset.from_generator(trees, features=_FEATURES, fingerprint=fingerprint)


class PrefixCollator:
    """Batches of trees, padded on the right.

    Args:
        pad_token_id (`int`): Pads `input_ids`.

    Example:

    ```python
    >>> row = {"input_ids": [5, 6, 7], "labels": [-100, -100, 7]}
    >>> batch = PrefixCollator(pad_token_id=0)([plant([row, row], shared=1), plant([row], shared=0)])
    >>> batch["branches"].tolist()
    [[0, 1, 1, 2, 2], [1, 1, 1, -1, -1]]
    ```
    """

    def __init__(self, pad_token_id: int) -> None:
        self.padding = {"input_ids": pad_token_id, "labels": IGNORE, "position_ids": 0, "branches": -1}

    def __call__(self, trees: Sequence[Mapping[str, Sequence[int]]]) -> dict[str, torch.Tensor]:
        """`input_ids`, `labels`, `position_ids` and `branches`, each of shape (trees, longest tree).

        Args:
            trees (`Sequence[Mapping]`): Rows of [`share_prefixes`], or of [`tokenize_dataset`] (a tree of one row each).
        """
        done = [tree if "branches" in tree else plant([tree], shared=0) for tree in trees]
        length = max(len(tree["input_ids"]) for tree in done)
        return {
            name: torch.tensor([list(tree[name]) + [pad] * (length - len(tree[name])) for tree in done])
            for name, pad in self.padding.items()
        }


def tree_mask(branches: torch.Tensor) -> torch.Tensor:
    """Which token sees which: earlier ones of the prefix and of its own branch.

    Args:
        branches (`torch.Tensor`): Shape (trees, tokens), from [`PrefixCollator`].

    Returns:
        `torch.Tensor`: Booleans of shape (trees, 1, tokens, tokens); rows see columns.

    Example:

    ```python
    >>> tree_mask(torch.tensor([[0, 1, 2]]))[0, 0].int().tolist()
    [[1, 0, 0], [1, 1, 0], [1, 0, 1]]
    ```
    """
    rows, columns = branches[:, :, None], branches[:, None, :]
    return ((columns == 0) | (columns == rows)).tril()[:, None]
