"""Greedy first turns of a local model, many instructions at once, the shared documentation computed once."""

from collections.abc import Sequence

import torch
from tqdm.auto import tqdm
from transformers import (
    DynamicCache,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    StoppingCriteria,
    StoppingCriteriaList,
)

from ..training import SegmentTokenizer


class _StopText(StoppingCriteria):
    """A row is done once the text it generated ends in, or has just passed, the stop text."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, stop: str, start: int) -> None:
        self.tokenizer, self.stop, self.start = tokenizer, stop, start
        self.window = len(stop) + 4  # a token has at least one character, so the stop text spans fewer tokens

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor, **kwargs: object) -> torch.BoolTensor:
        tails = self.tokenizer.batch_decode(input_ids[:, max(self.start, input_ids.shape[1] - self.window) :])
        return torch.tensor([self.stop in tail for tail in tails], device=input_ids.device)


def _shared(rows: Sequence[list[int]]) -> int:
    """Length of the common prefix of rows of ids."""
    return next((i for i, column in enumerate(zip(*rows, strict=False)) if len(set(column)) > 1), min(map(len, rows)))


def _prefilled(model: PreTrainedModel, ids: list[int], rows: int) -> DynamicCache:
    cache = DynamicCache(config=model.config)
    model(torch.tensor([ids], device=model.device), past_key_values=cache, use_cache=True, logits_to_keep=1)
    cache.batch_repeat_interleave(rows)
    return cache


@torch.inference_mode()
def first_turns(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    stop: str,
    max_new_tokens: int = 128,
    batch_size: int = 32,
    progress: bool = True,
) -> list[str]:
    """Let a model write its first turn for each prompt, greedily.

    Prompts that begin alike (the instructions of one API) go into one batch, whose common prefix is run once and its
    KV cache repeated over the batch.

    Args:
        model (`PreTrainedModel`): A causal language model; it is put into evaluation mode.
        tokenizer (`PreTrainedTokenizerBase`): Its tokenizer; prompts become the same ids as in training.
        prompts (`Sequence[str]`): Everything before the first thought; prompts of one API next to each other.
        stop (`str`): The text that ends a turn, such as `"\\nObservation:"`.
        max_new_tokens (`int`, *optional*, defaults to `128`): Where a turn is cut.
        batch_size (`int`, *optional*, defaults to `32`): At most so many prompts at once.
        progress (`bool`, *optional*, defaults to `True`): Whether to show a progress bar.

    Returns:
        `list[str]`: What the model wrote for each prompt, in their order, without the end-of-sequence token.

    Example:

    ```python
    >>> first_turns(model, tokenizer, [prompt.head(api, "High tide?")], prompt.stop)  # doctest: +SKIP
    [' The user asks for a tide.\\nAction: findTide\\nAction Input: {}\\nObservation:']
    ```
    """
    model.eval()
    segment_tokenizer = SegmentTokenizer(tokenizer)
    ids = [segment_tokenizer.prompt_ids(prompt) for prompt in prompts]
    batches, start = [], 0
    for i in range(1, len(ids) + 1):
        # A new batch where the prompts share less than half of their tokens: another API begins.
        shared = i < len(ids) and _shared([ids[start], ids[i]]) > len(ids[start]) / 2
        if not shared or i - start == batch_size:
            batches.append(range(start, i))
            start = i
    texts: list[str] = []
    for batch in tqdm(batches, desc="first turns", unit="batch", disable=not progress):
        rows = [ids[i] for i in batch]
        # One token less than the whole prompt: generation needs one to start from.
        prefix = rows[0][: min(_shared(rows), min(map(len, rows)) - 1)]
        width = max(map(len, rows)) - len(prefix)
        # Padding goes between the shared prefix and each row's own tokens, and is masked.
        padding = [width - (len(row) - len(prefix)) for row in rows]
        pad = tokenizer.pad_token_id
        input_ids = [prefix + [pad] * p + row[len(prefix) :] for row, p in zip(rows, padding, strict=True)]
        mask = [[1] * len(prefix) + [0] * p + [1] * (width - p) for p in padding]
        length = len(prefix) + width
        generated = model.generate(
            input_ids=torch.tensor(input_ids, device=model.device),
            attention_mask=torch.tensor(mask, device=model.device),
            past_key_values=_prefilled(model, prefix, len(rows)) if prefix else None,
            max_new_tokens=max_new_tokens,
            do_sample=False,
            pad_token_id=pad,
            eos_token_id=tokenizer.eos_token_id,
            stopping_criteria=StoppingCriteriaList([_StopText(tokenizer, stop, length)]),
        )
        for row in generated[:, length:].tolist():
            if tokenizer.eos_token_id in row:
                row = row[: row.index(tokenizer.eos_token_id)]
            text = tokenizer.decode(row)
            # Rows that ended early are padded; text after the stop is what others of the batch were still writing.
            end = text.find(stop)
            texts.append(text if end < 0 else text[: end + len(stop)])
    return texts
