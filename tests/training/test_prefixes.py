"""Trees of rows against the rows one by one: ids, masks, loss, gradients."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st
from sft_settings import LAZY, QUIET
from transformers import AutoModelForCausalLM, PreTrainedTokenizerBase
from trl import SFTConfig

from toolalpaca_hf.data import ToolAlpaca
from toolalpaca_hf.errors import ToolAlpacaError
from toolalpaca_hf.training.augment import Augmentation
from toolalpaca_hf.training.copies import augmented
from toolalpaca_hf.training.lengths import tokenize_dataset
from toolalpaca_hf.training.prefixes import PrefixCollator, plant, share_prefixes, tree_mask
from toolalpaca_hf.training.tokenize import IGNORE
from toolalpaca_hf.training.trainer import CompletionTrainer


def felled(tree: dict[str, list[int]]) -> Iterator[tuple[list[int], list[int]]]:
    """The rows of a tree, read back."""
    prefix = [i for i, branch in enumerate(tree["branches"]) if branch == 0]
    for branch in sorted(set(tree["branches"]) - {0}):
        places = prefix + [i for i, of in enumerate(tree["branches"]) if of == branch]
        assert [tree["position_ids"][i] for i in places] == list(range(len(places)))
        yield [tree["input_ids"][i] for i in places], [tree["labels"][i] for i in places]


@st.composite
def encoded_rows(draw: st.DrawFn) -> dict[str, list[int]]:
    head = draw(st.lists(st.integers(0, 2), min_size=1, max_size=6))
    tail = draw(st.lists(st.integers(0, 2), min_size=1, max_size=4))
    return {"input_ids": head + tail, "labels": [IGNORE] * len(head) + tail}


@given(st.lists(encoded_rows(), min_size=1, max_size=12), st.integers(1, 30))
def test_trees_hold_every_row_and_nothing_else(rows: list[dict[str, list[int]]], budget: int) -> None:
    trees = list(share_prefixes(Dataset.from_list(rows), max_tokens=budget, min_share=0.3))
    back = [row for tree in trees for row in felled(tree)]
    assert sorted(back) == sorted((row["input_ids"], row["labels"]) for row in rows)
    for tree in trees:
        many = max(tree["branches"]) > 1
        assert len(tree["input_ids"]) <= budget or not many
        assert (0 in tree["branches"]) == many
        # What stands first in a branch is predicted from another branch's last token, so it must not be trained.
        starts = [i for i in range(1, len(tree["branches"])) if tree["branches"][i] != tree["branches"][i - 1]]
        assert all(tree["labels"][i] == IGNORE for i in starts)


def test_the_mask_by_hand() -> None:
    branches = [0, 0, 1, 1, 2, -1]
    mask = tree_mask(torch.tensor([branches]))
    assert mask.shape == (1, 1, 6, 6)
    for i, own in enumerate(branches):
        for j, other in enumerate(branches):
            assert bool(mask[0, 0, i, j]) == (j <= i and other in (0, own)), (i, j)


@pytest.fixture(scope="module")
def rows(tokenizer: PreTrainedTokenizerBase, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Augmented rows of two APIs of the embedded corpus."""
    builder = ToolAlpaca(cache_dir=str(tmp_path_factory.mktemp("cache")), config_name="sft", source="sample")
    builder.download_and_prepare()
    dataset = augmented(
        builder.as_dataset(split="train").select(range(14)), Augmentation(first_turns=0.5), 1, seed=0, shared=True
    )
    return tokenize_dataset(dataset, tokenizer)[0]


def test_rows_of_an_api_share_their_documentation(rows: Dataset) -> None:
    trees = share_prefixes(rows, max_tokens=10_000)
    assert len(trees) == 2
    together = sum(len(ids) for ids in trees["input_ids"])
    assert together < 0.6 * sum(len(ids) for ids in rows["input_ids"])


@pytest.mark.parametrize(("batch", "items"), [(1, None), (2, 777)])
def test_loss_and_gradients_are_those_of_the_rows(
    llama: Path, tokenizer: PreTrainedTokenizerBase, rows: Dataset, tmp_path: Path, batch: int, items: int | None
) -> None:
    trees = share_prefixes(rows, max_tokens=10_000)
    collator = PrefixCollator(tokenizer.pad_token_id)
    config = SFTConfig(
        str(tmp_path), per_device_train_batch_size=batch, gradient_checkpointing=False, **QUIET, **LAZY,
        model_init_kwargs={"dtype": "float32", "attn_implementation": "sdpa"},
    )  # fmt: skip
    trainer = CompletionTrainer(
        model=str(llama), args=config, train_dataset=trees, data_collator=collator, processing_class=tokenizer
    )
    trainer.model.train()
    inputs = collator([trees[i] for i in range(batch)])
    loss = trainer.compute_loss(trainer.model, inputs, num_items_in_batch=items)
    loss.backward()

    model = AutoModelForCausalLM.from_pretrained(llama, dtype=torch.float32).train()
    total, count = torch.zeros(()), 0
    for tree in [trees[i] for i in range(batch)]:
        for ids, labels in felled(tree):
            logits = model(torch.tensor([ids]), use_cache=False).logits[0, :-1]
            targets = torch.tensor(labels[1:])
            total = total + torch.nn.functional.cross_entropy(logits, targets, ignore_index=IGNORE, reduction="sum")
            count += int((targets != IGNORE).sum())
    expected = total / (items or count)
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    theirs = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    ours = {name: p.grad for name, p in trainer.model.named_parameters() if p.grad is not None}
    assert ours.keys() == theirs.keys()
    for name, gradient in ours.items():
        assert (gradient - theirs[name]).norm() <= 1e-4 * theirs[name].norm(), name


def test_other_attention_is_refused(
    llama: Path, tokenizer: PreTrainedTokenizerBase, rows: Dataset, tmp_path: Path
) -> None:
    config = SFTConfig(str(tmp_path), model_init_kwargs={"attn_implementation": "eager"}, **QUIET, **LAZY)
    trees = share_prefixes(rows, max_tokens=10_000)
    trainer = CompletionTrainer(
        model=str(llama), args=config, train_dataset=trees, processing_class=tokenizer,
        data_collator=PrefixCollator(tokenizer.pad_token_id),
    )  # fmt: skip
    with pytest.raises(ToolAlpacaError, match="sdpa"):
        trainer.compute_loss(trainer.model, PrefixCollator(0)([plant([rows[0]], 0)]))
