"""Logits of selected positions only, log-probabilities of given tokens in batches, and ids drawn from logits."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import DynamicCache, GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from ..errors import UnsupportedModelError
from .admission import exact_ways
from .kv_cache import Prefix

Places = Sequence[int] | torch.Tensor


@contextmanager
def select_logits(model: PreTrainedModel, rows: Places, columns: Places) -> Iterator[None]:
    """Have the model compute logits of selected positions only: `logits[0]` has one row for each.

    Unlike `logits_to_keep`, this can select different columns in each row, and works with every causal model.
    """
    head = model.get_output_embeddings()
    if head is None:
        raise UnsupportedModelError(f"{type(model).__name__} has no head over a vocabulary", fix="use a causal model")
    chosen = (torch.as_tensor(rows, device=model.device), torch.as_tensor(columns, device=model.device))
    handle = head.register_forward_pre_hook(lambda module, args: (args[0][chosen][None], *args[1:]))
    try:
        yield
    finally:
        handle.remove()


def logits_at(
    model: PreTrainedModel,
    ids: Sequence[Sequence[int]],
    columns: Sequence[Sequence[int]],
    prefix: Prefix | None = None,
) -> tuple[torch.Tensor, DynamicCache | None]:
    """Logits `(columns of all rows, vocabulary)` of rows that are run together, padded on the right.

    With a `prefix`, which precedes every row and needs a model that packs exactly, also the KV cache of both.
    """
    cache = DynamicCache(config=model.config) if prefix else None
    if prefix and cache:
        for n, (keys, values) in enumerate(prefix.layers):
            cache.update(keys.expand(len(ids), -1, -1, -1), values.expand(len(ids), -1, -1, -1), n)
    rows = [torch.tensor(row, dtype=torch.long, device=model.device) for row in ids]
    places = [row for row, some in enumerate(columns) for _ in some]
    with select_logits(model, places, [column for some in columns for column in some]):
        output = model(pad_sequence(rows, batch_first=True), past_key_values=cache, use_cache=cache is not None)
    return output.logits[0], cache


@torch.inference_mode()
def token_logprobs(
    model: PreTrainedModel, sequences: Sequence[tuple[Sequence[int], Sequence[int]]], batch_tokens: int = 2048
) -> list[list[float]]:
    """Natural log-probabilities of selected tokens of sequences, each given all tokens before it.

    Args:
        sequences (`Sequence[tuple[Sequence[int], Sequence[int]]]`): Ids, and the columns to score, from 1 on.
        batch_tokens (`int`, *optional*, defaults to 2048): Tokens run at once, padding included; a model that is not
            exact when padded, see [`exact_ways`], runs one sequence at a time.
    """
    found: list[list[float]] = [[]] * len(sequences)
    asked = [n for n, (_, columns) in enumerate(sequences) if columns]
    lengths = [max(sequences[n][1]) for n in asked]
    for batch in by_length(lengths, batch_tokens if "padded" in exact_ways(model) else 0):
        rows = [sequences[asked[i]] for i in batch]
        # The last id asked for is predicted, never read.
        ids = [ids[: max(columns)] for ids, columns in rows]
        logits, _ = logits_at(model, ids, [[column - 1 for column in columns] for _, columns in rows])
        values = iter(_logprobs(logits, [ids[column] for ids, columns in rows for column in columns]))
        for i, (_, columns) in zip(batch, rows, strict=True):
            found[asked[i]] = [next(values) for _ in columns]
    return found


def _logprobs(logits: torch.Tensor, wanted: Sequence[int]) -> list[float]:
    found = []
    # A few lines at a time: float32 of all would double the memory.
    for lines, ids in zip(logits.split(256), torch.tensor(wanted, device=logits.device).split(256), strict=True):
        lines = lines.float()
        found += (lines.gather(1, ids[:, None])[:, 0] - lines.logsumexp(-1)).tolist()
    return found


def by_length(lengths: Sequence[int], tokens: int) -> Iterator[list[int]]:
    """Batches of sequences of similar length, each of at most `tokens` tokens including padding."""
    batch: list[int] = []
    for n in sorted(range(len(lengths)), key=lambda n: -lengths[n]):
        if batch and ((len(batch) + 1) * lengths[batch[0]] > tokens or lengths[n] * 2 < lengths[batch[0]]):
            yield batch
            batch = []
        batch.append(n)
    if batch:
        yield batch


def end_ids(config: GenerationConfig | None, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Ids that end a sequence, by a model's generation config or the tokenizer."""
    ends: Any = config.eos_token_id if config else None
    ends = [*(ends if isinstance(ends, list) else [ends]), tokenizer.eos_token_id]
    return list(dict.fromkeys(id_ for id_ in ends if id_ is not None))


def sample_ids(
    logits: torch.Tensor, temperature: float, points: Sequence[float], rows: Sequence[int] | None = None
) -> torch.Tensor:
    """The likeliest id of each row of logits, `(rows, vocabulary)`, or with a temperature those that points fall on.

    `points` are in [0, 1), one for each id; `rows` are theirs, unless it is one point per row.
    """
    if not temperature:
        return logits.argmax(-1)
    shares = (logits.double() / temperature).softmax(-1).cumsum(-1)
    shares = shares if rows is None else shares[torch.tensor(rows, device=logits.device)]
    at = torch.tensor(points, dtype=torch.float64, device=logits.device)[:, None] * shares[:, -1:]
    return torch.searchsorted(shares, at, right=True)[:, 0].clamp(max=logits.shape[-1] - 1)
