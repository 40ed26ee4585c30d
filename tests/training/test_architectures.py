"""Every causal architecture is exact under prefix packing or refused before the first step, against rows one by
one."""

import copy
import logging
import tempfile
from typing import Any

import pytest
import torch
from architectures import VARIANTS, architectures, in_a_process, tiny_config, tiny_model, write_column
from datasets import Dataset
from sft_settings import LAZY, QUIET
from tiny_models import tiny_tokenizer
from torch.nn.functional import cross_entropy

from toolalpaca_hf.errors import ToolAlpacaError
from toolalpaca_hf.training import (
    InexactModelError,
    PrefixCollator,
    SegmentSFTConfig,
    SegmentSFTTrainer,
    build_tree,
    require_exact,
)

LOSS, GRADIENT = 1e-5, 1e-4


def rows_around(limit: int) -> list[dict[str, list[int]]]:
    """A shared beginning of 40 tokens and a shared middle; rows shorter and longer than `limit`, one of them twice."""
    generator = torch.Generator().manual_seed(1)

    def ids(count: int) -> list[int]:
        return torch.randint(5, 150, (count,), generator=generator).tolist()

    root, middle = ids(40), ids(20)
    texts = [root + (middle if i % 2 else []) + ids(limit - 54 + 8 * i) for i in range(6)]
    rows = [{"input_ids": text, "labels": [-100] * 40 + text[40:]} for text in texts]
    return [*rows, {"input_ids": texts[0], "labels": texts[0]}]


def worst_errors(name: str) -> tuple[str, float, float]:
    """How trees are computed, and the relative errors of loss and gradients; any refusal of the trainer's is
    raised."""
    logging.disable(logging.WARNING)
    rows = rows_around(64)
    with tempfile.TemporaryDirectory() as folder:
        trainer = SegmentSFTTrainer(
            model=copy.deepcopy(tiny_model(tiny_config(name))),
            args=SegmentSFTConfig(folder, gradient_checkpointing=False, router_aux_loss_coef=0.0, **QUIET, **LAZY),
            train_dataset=Dataset.from_list(rows), data_collator=PrefixCollator(0),
            processing_class=tiny_tokenizer(eos_token="<|im_end|>", pad_token="<|endoftext|>"),
        )  # fmt: skip
    twin = tiny_model(tiny_config(name))
    total, count = torch.zeros(()), 0
    for row in rows:
        logits = twin(input_ids=torch.tensor([row["input_ids"]]), use_cache=False).logits[0, :-1].float()
        targets = torch.tensor(row["labels"][1:])
        total = total + cross_entropy(logits, targets, ignore_index=-100, reduction="sum")
        count += int((targets != -100).sum())
    (total / count).backward()
    trainer.model.eval()
    loss = trainer.compute_loss(trainer.model, PrefixCollator(0)([build_tree(rows[:4]), build_tree(rows[4:])]))
    loss.backward()
    theirs = {name: p.grad for name, p in twin.named_parameters() if p.grad is not None}
    ours = {name: p.grad for name, p in trainer.model.named_parameters() if p.grad is not None}
    assert theirs.keys() == ours.keys()
    floor = 1e-3 * max(gradient.norm() for gradient in theirs.values())
    worst = max(((ours[n] - theirs[n]).norm() / (theirs[n].norm() + floor)).item() for n in theirs)
    return trainer.tree_attention, abs(loss.item() * count / total.item() - 1), worst


def verdict(name: str) -> tuple[str, Any]:
    """`("exact", (attention, loss, gradient))` or `("refused", sentence)`."""
    try:
        return "exact", worst_errors(name)
    except ToolAlpacaError as error:
        return "refused", str(error)


def walk(names: list[str]) -> tuple[dict[str, str], dict[str, str]]:
    """A cell of the table for each architecture that can be made tiny, and what is wrong with some."""
    cells, wrong = {}, {}
    for name in names:
        made, _value = in_a_process(
            lambda name: tiny_model(tiny_config(name))(torch.tensor([[5, 6, 7]])).logits.shape, name
        )
        if made != "done":
            continue
        done, found = in_a_process(verdict, name)
        if done == "done" and found[0] == "exact":
            attention, loss, gradient = found[1]
            cells[name] = f"exact with `{attention}` ({loss:.0e}, {gradient:.0e})"
            if not (loss <= LOSS and gradient <= GRADIENT):
                wrong[name] = cells[name]
        elif done == "done":
            why = found[1].partition("on a small copy of it, ")[2] or found[1]
            cells[name] = "refused: " + why.removesuffix("; set prefix_packing: false").replace("\n", " ")
        else:
            wrong[name] = cells[name] = f"{done}: {found}"
    return cells, wrong


@pytest.mark.parametrize("name", ["llama", "qwen3", "gpt2", "stablelm", "bloom", "mamba", "gemma3_text", *VARIANTS])
def test_exact_or_refused(name: str) -> None:
    cells, wrong = walk([name])
    assert cells and not wrong


def test_attention_to_the_best_few_is_tried_beyond_them() -> None:
    config = tiny_config("deepseek_v32")
    config.index_topk = 2048  # as published; what is shorter sees everything
    with pytest.raises(InexactModelError):
        require_exact(tiny_model(config), "mask")


@pytest.mark.slow
def test_every_architecture_is_exact_or_refused() -> None:
    cells, wrong = walk(architectures())
    write_column("prefix packing", cells)
    assert len(cells) > 165
    assert not wrong


if __name__ == "__main__":
    import sys

    found, bad = walk(sys.argv[1:] or architectures())
    print(*(f"{name}: {cell}" for name, cell in found.items()), sep="\n")
    print("WRONG", bad)
    if not sys.argv[1:]:
        write_column("prefix packing", found)
