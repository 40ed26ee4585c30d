"""Fallback for models that slots do not suit: `model.generate` over padded rows, with the generator choosing ids."""

from typing import TYPE_CHECKING, Any

import torch
from transformers import DynamicCache, LogitsProcessor, LogitsProcessorList, StoppingCriteria, StoppingCriteriaList

from .kv_cache import RowState

if TYPE_CHECKING:
    from .generator import BatchGenerator

# Batches of fewer rows are run to their end together.
FEWEST_TO_LEAVE = 8


def write_padded(generator: "BatchGenerator", rows: list[RowState]) -> None:
    """Write rows to their ends; a batch that does not fit into memory is halved."""
    try:
        _write(generator, rows)
    except Exception as error:
        failure = error.with_traceback(None)
    else:
        return
    generator.free_memory()
    if len(rows) == 1:
        rows[0].error = failure
        return
    for row in rows:
        generator.restart(row)
    half = len(rows) // 2
    write_padded(generator, rows[:half])
    write_padded(generator, rows[half:])


def _write(generator: "BatchGenerator", rows: list[RowState]) -> None:
    width = max(len(row.ids) for row in rows)
    padding = [width - len(row.ids) for row in rows]
    model, pad, cache = generator.model, generator.tokenizer.pad_token_id, None
    generate: Any = model.generate
    if generator.way == "single":
        # Dynamic RoPE keeps the frequencies of the longest text until it reads a short one: what was written before
        # must not decide what is written now.
        model(torch.tensor([[pad or 0]], device=model.device), use_cache=False)
    ids = torch.tensor([[pad] * n + row.ids for n, row in zip(padding, rows, strict=True)], device=model.device)
    mask = torch.tensor([[0] * n + [1] * (width - n) for n in padding], device=model.device)
    while rows:
        output = generate(
            input_ids=ids,
            attention_mask=mask,
            past_key_values=cache,
            # A bound that no row reaches: each has a limit of its own.
            max_new_tokens=max(row.limit for row in rows) + 1,
            # The choice is made by `_Chosen`; nothing that a model's own settings say changes it.
            do_sample=False,
            num_beams=1,
            repetition_penalty=1.0,
            no_repeat_ngram_size=0,
            pad_token_id=pad,
            eos_token_id=list(generator.ends),
            logits_processor=LogitsProcessorList([_Chosen(generator, rows)]),
            stopping_criteria=StoppingCriteriaList([_Taken(generator, rows)]),
            return_dict_in_generate=True,
        )
        left = [i for i, row in enumerate(rows) if not row.ended]
        rows, kept = [rows[i] for i in left], torch.tensor(left, dtype=torch.long, device=model.device)
        ids, cache = output.sequences[kept], output.past_key_values
        mask = torch.nn.functional.pad(mask[kept], (0, ids.shape[1] - mask.shape[1]), value=1)
        if rows and isinstance(cache, DynamicCache):
            cache.batch_select_indices(kept)
        else:
            cache = None  # other kinds cannot leave rows out; what is left is read again


class _Chosen(LogitsProcessor):
    """Leaves the greedy search of `generate` only the id that the generator has chosen."""

    def __init__(self, generator: "BatchGenerator", rows: list[RowState]) -> None:
        self.generator, self.rows = generator, rows

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        chosen = torch.tensor(self.generator.next_ids(scores.clone(), self.rows), device=scores.device)
        return torch.full_like(scores, -torch.inf).scatter_(1, chosen[:, None], 0.0)


class _Taken(StoppingCriteria):
    """Passes what `generate` picks to the generator, which decides which rows have ended."""

    def __init__(self, generator: "BatchGenerator", rows: list[RowState]) -> None:
        self.generator, self.rows = generator, rows

    def __call__(self, input_ids: Any, scores: Any, **kwargs: object) -> Any:
        last = input_ids[:, -1].tolist()
        going = [i for i, row in enumerate(self.rows) if not row.end]
        self.generator.append([self.rows[i] for i in going], [last[i] for i in going])
        done = [row.end is not None for row in self.rows]
        # Rows that have ended cost as much as the others, so they are left out when that is worth a new start.
        leave = len(done) >= FEWEST_TO_LEAVE and 2 * sum(done) >= len(done)
        return torch.tensor([leave or end for end in done], device=input_ids.device)
