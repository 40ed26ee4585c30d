"""Batches made from segments while training."""

import logging

import pytest
import torch
from datasets import Dataset
from tokenizer_families import Family
from torch.utils.data import DataLoader

from toolalpaca_hf.errors import InputError
from toolalpaca_hf.schema import Segment
from toolalpaca_hf.training import IGNORE, CompletionOnlyCollator


def as_row(segments: list[Segment], id_: str | None = None) -> dict[str, object]:
    row: dict[str, object] = {"segments": [{"text": s.text, "trainable": s.trainable} for s in segments]}
    return row if id_ is None else {"id": id_, **row}


def test_a_batch_holds_the_rows_and_padding(family: Family, hard_rows: list[list[Segment]]) -> None:
    rows = [family.segment_tokenizer.encode(segments) for segments in hard_rows]
    batch = CompletionOnlyCollator(family.segment_tokenizer)([as_row(segments) for segments in hard_rows])
    longest = max(len(row["input_ids"]) for row in rows)
    for i, row in enumerate(rows):
        size = len(row["input_ids"])
        assert batch["input_ids"][i].tolist() == row["input_ids"] + [family.tokenizer.pad_token_id] * (longest - size)
        assert batch["labels"][i].tolist() == row["labels"] + [IGNORE] * (longest - size)
        assert batch["attention_mask"][i].tolist() == [1] * size + [0] * (longest - size)


def test_rows_made_ahead_and_rows_with_segments_mix(family: Family, hard_rows: list[list[Segment]]) -> None:
    lazy = [as_row(segments) for segments in hard_rows[:4]]
    ahead = [dict(family.segment_tokenizer.encode(segments)) for segments in hard_rows[:4]]
    collator = CompletionOnlyCollator(family.segment_tokenizer, pad_to_multiple_of=64)
    first, second = collator([*lazy[:2], *ahead[2:]]), collator([*ahead[:2], *lazy[2:]])
    assert first.keys() == second.keys() == {"input_ids", "attention_mask", "labels"}
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert first["input_ids"].shape[1] % 64 == 0


def test_a_row_needs_a_label_for_each_id(family: Family) -> None:
    rows = [{"input_ids": [5, 6, 7], "labels": labels} for labels in ([IGNORE, 6], [IGNORE, 6, 7])]
    with pytest.raises(InputError):
        CompletionOnlyCollator(family.segment_tokenizer)(rows)


def test_streaming_through_workers_gives_the_same_batches(family: Family, hard_rows: list[list[Segment]]) -> None:
    dataset = Dataset.from_list([as_row(segments) for segments in hard_rows[:8]])
    collator = CompletionOnlyCollator(family.segment_tokenizer)
    here = list(DataLoader(dataset, batch_size=4, collate_fn=collator))
    there = list(DataLoader(dataset.to_iterable_dataset(), batch_size=4, collate_fn=collator, num_workers=1))
    assert len(here) == len(there) == 2
    for near, far in zip(here, there, strict=True):
        assert all(torch.equal(near[key], far[key]) for key in near)


def test_a_cut_is_never_silent(family: Family, caplog: pytest.LogCaptureFixture) -> None:
    steps = [Segment("ask", False), Segment("act", True), Segment("0123456789" * 20, False), Segment("say", True)]
    collator = CompletionOnlyCollator(family.limited(40))
    with caplog.at_level(logging.WARNING):
        batch = collator([as_row(steps, "train/a/0"), as_row(steps, "train/a/1")])
    assert collator.cut == 2
    assert [record.args[0] for record in caplog.records if record.name == "toolalpaca_hf.training.tokenize"] == [
        "train/a/0"
    ]
    assert batch["input_ids"].shape[1] < 40


@pytest.mark.parametrize(
    "segments", [[Segment("ask", False)], [Segment("0123456789" * 20, False), Segment("act", True)]]
)
def test_a_row_that_trains_nothing_is_refused(family: Family, segments: list[Segment]) -> None:
    segment_tokenizer = family.limited(40)
    row = as_row(segments, "train/a/0")
    with pytest.raises(InputError) as caught:
        CompletionOnlyCollator(segment_tokenizer)([row])
    assert caught.value.row == "train/a/0"
    good = as_row([Segment("ask", False), Segment("act", True)], "train/a/1")
    stream = Dataset.from_list([row, good]).to_iterable_dataset().filter(segment_tokenizer.keeps)
    assert [kept["id"] for kept in stream] == ["train/a/1"]
