"""Perplexity of the trained tokens: how well a model expects what it should write."""

import math
from collections.abc import Iterable, Sequence

import torch
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..schema import Segment
from ..training import SegmentTokenizer


@torch.inference_mode()
def perplexity(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, examples: Iterable[Sequence[Segment]]
) -> float:
    """Perplexity over all trained tokens of some examples: exp of their mean negative log-likelihood.

    Args:
        model (`PreTrainedModel`): A causal language model.
        tokenizer (`PreTrainedTokenizerBase`): Its tokenizer.
        examples (`Iterable[Sequence[Segment]]`): Examples as in training; documentation and observations condition the
            model but are not counted.

    Returns:
        `float`: At least 1; every token counts the same, whichever example it is in.

    Raises:
        ValueError: There is no trained token.

    Example:

    ```python
    >>> perplexity(model, tokenizer, [[Segment("One, two,", False), Segment(" three", True)]])  # doctest: +SKIP
    1.8
    ```
    """
    model.eval()
    segment_tokenizer = SegmentTokenizer(tokenizer)
    total = count = 0
    for segments in examples:
        row = segment_tokenizer.encode(segments)
        if row["outcome"] == "untrained":
            continue
        labels = torch.tensor(row["labels"][1:], device=model.device)
        positions = (labels != -100).nonzero().squeeze(-1)
        ids = torch.tensor([row["input_ids"]], device=model.device)
        logits = model(ids, use_cache=False, logits_to_keep=positions).logits[0].float()
        total += cross_entropy(logits, labels[positions], reduction="sum").item()
        count += len(positions)
    if not count:
        raise ValueError("no example has a trained token")
    return math.exp(total / count)
