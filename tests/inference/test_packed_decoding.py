"""What is decoded together over every causal architecture, against `generate` one conversation at a time."""

from typing import Any

import pytest
import torch
from architectures import architectures, in_a_process, tiny_config, tiny_model, write_column
from tiny_models import tiny_tokenizer
from transformers import PreTrainedModel

from toolalpaca_hf.inference import BatchGenerator, Generation
from toolalpaca_hf.inference.admission import exact_ways

NEW_TOKENS = 12
END = 2
# Rows on both sides of a window of 16 and of 64 positions; the longer ones share 40 ids.
LENGTHS = (6, 14, 18, 44, 60, 63, 70, 90)
# How near two logits are of which either may be chosen, in units of the logits' norm.
TIE = 1e-5


class Key:
    """Whose conversation it is."""


def alone(name: str, ids: list[int]) -> list[int]:
    """What plain greedy generation of a model of its own writes: some keep a state between calls."""
    model = tiny_model(tiny_config(name))
    model.generation_config.forced_eos_token_id = None  # at a limit, which is no part of what it says
    made = model.generate(
        torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.long), do_sample=False,
        max_new_tokens=NEW_TOKENS, pad_token_id=0, eos_token_id=END,
    )  # fmt: skip
    return made[0, len(ids) :].tolist()


@torch.no_grad()
def tied(model: PreTrainedModel, ids: list[int], first: int, second: int) -> bool:
    """Whether rounding decides between two next ids."""
    logits = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1].float()
    return bool((logits[first] - logits[second]).abs() <= TIE * logits.norm())


def verdict(name: str) -> tuple[str, Any]:
    """`("exact", way)`, `("differs", where)`, or `("silent", why)` for what `generate` itself cannot continue."""
    generator_ = torch.Generator().manual_seed(1)
    shared, *own = (torch.randint(5, 150, (90,), generator=generator_).tolist() for _ in range(len(LENGTHS) + 1))
    rows = [(shared[:40] + ids if n > 40 else ids)[:n] for n, ids in zip(LENGTHS, own, strict=True)]
    try:
        alone(name, rows[-1])
    except Exception as error:
        return "silent", f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"
    model = tiny_model(tiny_config(name))
    model.generation_config.eos_token_id = END
    tokenizer = tiny_tokenizer(eos_token="<|im_end|>", pad_token="<|endoftext|>")
    generator = BatchGenerator(model, tokenizer, batch_size=len(rows))
    keys = [Key() for _ in rows]
    for _ in range(2):
        written = generator.generate(keys, rows, [NEW_TOKENS] * len(rows))
        for ids, made in zip(rows, written, strict=True):
            if not isinstance(made, Generation):
                return "differs", f"{generator.way}: {made!r}"
            wanted = alone(name, ids)
            place = next((n for n, pair in enumerate(zip(wanted, made.ids, strict=False)) if pair[0] != pair[1]), None)
            if place is None and len(wanted) == len(made.ids):
                continue
            if place is None or not tied(model, ids + wanted[:place], wanted[place], made.ids[place]):
                return "differs", f"{generator.way}: at {place} after {len(ids)} ids"
        # A second turn, in which kept caches are read on.
        rows = [[*ids, *made.ids, *shared[:7]] for ids, made in zip(rows, written, strict=True)]
    return "exact", generator.way


WAYS = {"slots": "exact in slots", "padded": "exact when padded", "single": "one by one, as together is not exact"}


def walk(names: list[str]) -> tuple[dict[str, str], dict[str, str]]:
    """A cell of the table for each architecture that can be made tiny, and what is wrong with some."""
    cells, wrong = {}, {}
    for name in names:
        made, _ = in_a_process(
            lambda name: tiny_model(tiny_config(name))(torch.tensor([[5, 6, 7]])).logits.shape, name
        )
        if made != "done":
            continue
        done, found = in_a_process(verdict, name)
        if done == "done" and found[0] == "exact":
            cells[name] = WAYS[found[1]]
        elif done == "done" and found[0] == "silent":
            cells[name] = f"`generate` cannot continue it: {found[1]}"
        else:
            cells[name] = f"not known: {found if done != 'done' else found[1]}"
            wrong[name] = f"{done}: {found}"
    return cells, wrong


@pytest.mark.parametrize("name", ["gpt2", "phi3, longrope"])
def test_what_is_decoded_together_is_what_each_says_alone(name: str) -> None:
    cells, wrong = walk([name])
    assert cells and not wrong


def test_attention_to_the_best_few_is_tried_beyond_them() -> None:
    config = tiny_config("deepseek_v32")
    config.index_topk = 2048  # as published; what is shorter sees everything
    assert "padded" not in exact_ways(tiny_model(config))


@pytest.mark.slow
def test_every_architecture_decodes_together_as_alone() -> None:
    cells, wrong = walk(architectures())
    write_column("packed decoding", cells)
    assert len(cells) > 165
    assert not wrong


if __name__ == "__main__":
    import sys

    cells, wrong = {}, {}
    for each in sys.argv[1:] or [*architectures()]:
        found, bad = walk([each])
        cells, wrong = cells | found, wrong | bad
        print(
            *(f"{name}: {cell}" for name, cell in found.items()), *(f"WRONG {bad}" for _ in bad), sep="\n", flush=True
        )
    if not sys.argv[1:]:
        write_column("packed decoding", cells)
