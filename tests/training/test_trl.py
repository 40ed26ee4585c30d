"""Both ways of making labels through TRL's real SFTTrainer, with a tiny random Llama."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from sft_settings import LAZY, QUIET
from tokenizer_families import Family, byte_level_family
from transformers import LlamaConfig, LlamaForCausalLM
from trl import SFTConfig, SFTTrainer

from toolalpaca_hf.features import FEATURES
from toolalpaca_hf.schema import Segment
from toolalpaca_hf.training import IGNORE, CompletionOnlyCollator, tokenize_dataset


@pytest.fixture(scope="module")
def byte_level() -> Family:
    return byte_level_family()


@pytest.fixture(scope="module")
def sft(hard_rows: list[list[Segment]]) -> Dataset:
    rows = [[{"text": s.text, "trainable": s.trainable} for s in segments] for segments in hard_rows]
    return Dataset.from_list(
        [{"id": f"train/a/{i}", "api": None, "segments": row} for i, row in enumerate(rows)], features=FEATURES["sft"]
    )


def tiny_llama(family: Family, attention: str = "sdpa") -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(family.tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        pad_token_id=family.tokenizer.pad_token_id,
        eos_token_id=family.tokenizer.eos_token_id,
        attn_implementation=attention,
    )
    return LlamaForCausalLM(config)


def trainer_of(family: Family, dataset: Any, folder: Path, attention: str = "sdpa", **options: Any) -> SFTTrainer:
    collator = options.pop("data_collator", None)
    arguments = SFTConfig(
        output_dir=str(folder),
        per_device_train_batch_size=4,
        max_length=256,
        max_steps=2,
        learning_rate=1e-3,
        lr_scheduler_type="constant",
        shuffle_dataset=False,
        **QUIET,
        **options,
    )
    return SFTTrainer(
        model=tiny_llama(family, attention),
        args=arguments,
        train_dataset=dataset,
        data_collator=collator,
        processing_class=family.tokenizer,
    )


def rows_of(batch: dict[str, torch.Tensor]) -> list[tuple[list[int], list[int]]]:
    """Ids and labels of each document in a batch, padded or packed."""
    if "attention_mask" in batch:
        sizes = batch["attention_mask"].sum(1).tolist()
        pairs = zip(batch["input_ids"].tolist(), batch["labels"].tolist(), sizes, strict=True)
        return [(ids[:size], labels[:size]) for ids, labels, size in pairs]
    bounds = batch["cu_seq_lens_q"].tolist()
    ids, labels = batch["input_ids"][0].tolist(), batch["labels"][0].tolist()
    return [(ids[a:b], labels[a:b]) for a, b in pairwise(bounds)]


def all_rows(trainer: SFTTrainer) -> list[tuple[list[int], list[int]]]:
    return sorted(row for batch in trainer.get_train_dataloader() for row in rows_of(batch))


def test_lazy_ahead_and_packed_labels_are_equal_on_every_row(byte_level: Family, sft: Dataset, tmp_path: Path) -> None:
    dataset, _ = tokenize_dataset(sft, byte_level.tokenizer, max_length=256)
    expected = sorted((row["input_ids"], row["labels"]) for row in dataset)
    collator = CompletionOnlyCollator(byte_level.limited(256))
    lazy = trainer_of(byte_level, sft, tmp_path, data_collator=collator, **LAZY)
    streamed = trainer_of(byte_level, sft.to_iterable_dataset(), tmp_path, data_collator=collator, **LAZY)
    ahead = trainer_of(byte_level, dataset, tmp_path)
    packed = trainer_of(byte_level, dataset, tmp_path, packing=True, packing_strategy="bfd")
    assert len(expected) == len(sft)
    assert all_rows(lazy) == all_rows(streamed) == all_rows(ahead) == all_rows(packed) == expected
    # Packing took place.
    assert len(packed.train_dataset) < len(dataset)


def test_lazy_and_ahead_train_the_same_model(byte_level: Family, sft: Dataset, tmp_path: Path) -> None:
    dataset, _ = tokenize_dataset(sft, byte_level.tokenizer, max_length=256)
    collator = CompletionOnlyCollator(byte_level.limited(256))
    losses = []
    for trainer in (
        trainer_of(byte_level, sft, tmp_path, data_collator=collator, **LAZY),
        trainer_of(byte_level, sft.to_iterable_dataset(), tmp_path, data_collator=collator, **LAZY),
        trainer_of(byte_level, dataset, tmp_path),
    ):
        # The order of the rows is the sampler's; the two maps share it, the stream is read in its own.
        trainer.train()
        losses.append([entry["loss"] for entry in trainer.state.log_history if "loss" in entry])
    assert losses[0] == pytest.approx(losses[2], abs=1e-5)
    assert all(len(loss) == 2 and 0 < loss[0] < 20 for loss in losses)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_packed_documents_do_not_see_each_other(
    byte_level: Family, sft: Dataset, tmp_path: Path, attention: str
) -> None:
    """Log-probabilities of each document in a pack are those it has by itself."""
    dataset, _ = tokenize_dataset(sft, byte_level.tokenizer, max_length=256)
    trainer = trainer_of(byte_level, dataset, tmp_path, attention, packing=True, packing_strategy="bfd")
    batch = next(iter(trainer.get_train_dataloader()))
    documents = rows_of(batch)
    assert len(documents) > 4
    model = tiny_llama(byte_level, attention).eval()
    with torch.no_grad():
        packed = model(input_ids=batch["input_ids"], position_ids=batch["position_ids"], use_cache=False).logits[0]
        bounds = batch["cu_seq_lens_q"].tolist()
        for (ids, _), (a, b) in zip(documents, pairwise(bounds), strict=True):
            torch.testing.assert_close(packed[a:b], model(torch.tensor([ids])).logits[0], atol=1e-5, rtol=1e-4)


def test_packed_loss_is_the_loss_of_its_documents(byte_level: Family, sft: Dataset, tmp_path: Path) -> None:
    """TRL's own loss over a packed batch: the mean over trained tokens of every document by itself."""
    dataset, _ = tokenize_dataset(sft, byte_level.tokenizer, max_length=256)
    trainer = trainer_of(byte_level, dataset, tmp_path, packing=True, packing_strategy="bfd")
    batch = next(iter(trainer.get_train_dataloader()))
    trainer.model.eval()
    with torch.no_grad():
        loss = trainer.compute_loss(trainer.model, dict(batch)).item()
        total = count = 0.0
        model = tiny_llama(byte_level).eval()
        for ids, labels in rows_of(batch):
            logits = model(torch.tensor([ids])).logits[0, :-1]
            targets = torch.tensor(labels[1:])
            total += torch.nn.functional.cross_entropy(logits, targets, ignore_index=IGNORE, reduction="sum").item()
            count += (targets != IGNORE).sum().item()
    assert loss == pytest.approx(total / count, abs=1e-4)


def test_trl_refuses_a_collator_beside_packing(byte_level: Family, sft: Dataset, tmp_path: Path) -> None:
    """Should this fail one day, packed recipes may use the collator as well."""
    with pytest.raises(ValueError, match="custom data collator is not supported"):
        trainer_of(
            byte_level, sft, tmp_path, data_collator=CompletionOnlyCollator(byte_level.segment_tokenizer), packing=True
        )
