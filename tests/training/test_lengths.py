"""A dataset of segments to ids and labels: the same as row by row, with every row accounted for."""

import time
from pathlib import Path

import pytest
from datasets import Dataset, load_from_disk
from tokenizer_families import Family, byte_level_family

from toolalpaca_hf.errors import InputError
from toolalpaca_hf.features import FEATURES
from toolalpaca_hf.schema import Segment
from toolalpaca_hf.training import IGNORE, LengthReport, SegmentTokenizer, tokenize, tokenize_dataset


def sft(rows: list[list[Segment]]) -> Dataset:
    return Dataset.from_list(
        [
            {
                "id": f"train/weather/{i}",
                "api": None,
                "segments": [{"text": segment.text, "trainable": segment.trainable} for segment in row],
            }
            for i, row in enumerate(rows)
        ],
        features=FEATURES["sft"],
    )


@pytest.fixture(scope="module")
def byte_level() -> Family:
    return byte_level_family()


# Four rows that end in the four ways within 20 tokens.
WHOLE = [Segment("ask ", False), Segment("act", True)]
CUT = [Segment("ask ", False), Segment("act", True), Segment("seen " * 20, False), Segment("say", True)]
OVERLONG = [Segment("ask " * 20, False), Segment("act", True)]
UNTRAINED = [Segment("ask ", False), Segment("", True)]


@pytest.mark.parametrize("num_proc", [None, 2])
def test_a_dataset_is_its_rows(family: Family, hard_rows: list[list[Segment]], num_proc: int | None) -> None:
    if num_proc and family.parse:
        pytest.skip("once is enough")
    dataset, report = tokenize_dataset(
        sft(hard_rows), family.tokenizer, max_length=64, parse_special_tokens=family.parse, num_proc=num_proc
    )
    rows = [row for row in map(family.limited(64).encode, hard_rows) if row["outcome"] in ("whole", "cut")]
    assert dataset.column_names == ["input_ids", "labels"]
    assert dataset.to_list() == [{"input_ids": row["input_ids"], "labels": row["labels"]} for row in rows]
    assert report.kept == len(rows) and report.cut == sum(row["outcome"] == "cut" for row in rows)
    assert report.tokens == sum(len(row["input_ids"]) for row in rows)
    assert report.trained_tokens == sum(label != IGNORE for row in rows for label in row["labels"])


@pytest.mark.parametrize(("overlong", "kept", "cut", "dropped"), [("cut", 2, 1, 1), ("drop", 1, 0, 2)])
def test_every_row_is_accounted_for(byte_level: Family, overlong: str, kept: int, cut: int, dropped: int) -> None:
    dataset, report = tokenize_dataset(
        sft([WHOLE, CUT, OVERLONG, UNTRAINED]), byte_level.tokenizer, max_length=20, overlong=overlong
    )
    assert report == LengthReport(
        rows=4,
        kept=kept,
        cut=cut,
        dropped_overlong=dropped,
        dropped_untrained=1,
        tokens=sum(len(ids) for ids in dataset["input_ids"]),
        trained_tokens=sum(label != IGNORE for labels in dataset["labels"] for label in labels),
        max_length=20,
    )
    assert len(dataset) == kept and all(len(ids) <= 20 for ids in dataset["input_ids"])
    eos = byte_level.tokenizer.eos_token_id
    assert dataset[0]["labels"][-1] == eos
    if cut:
        # Its response is not there, so neither is its end.
        assert eos not in dataset[1]["input_ids"]
        assert byte_level.raw([label for label in dataset[1]["labels"] if label != IGNORE]) == "act"


def test_the_cache_is_used_again_and_only_for_the_same_question(
    byte_level: Family, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sft([WHOLE, CUT]).save_to_disk(tmp_path)
    calls = []
    encode = tokenize._encode

    def counted(*args: object, **kwargs: object) -> object:
        calls.append(time.monotonic())
        return encode(*args, **kwargs)

    monkeypatch.setattr(tokenize, "_encode", counted)
    first = tokenize_dataset(load_from_disk(tmp_path), byte_level.tokenizer)
    assert len(calls) == 1
    # Padding leaves its traces in a fast tokenizer, and must not make another question of the same one.
    byte_level.tokenizer(["a", "b b b"], padding=True)
    second = tokenize_dataset(load_from_disk(tmp_path), byte_level.tokenizer)
    assert len(calls) == 1
    assert first[0].to_list() == second[0].to_list() and first[1] == second[1]
    tokenize_dataset(load_from_disk(tmp_path), byte_level.tokenizer, max_length=20)
    tokenize_dataset(load_from_disk(tmp_path), byte_level.tokenizer, parse_special_tokens=True)
    assert len(calls) == 3


@pytest.mark.parametrize(
    ("rows", "max_length"),
    [
        ([OVERLONG], 20),
        ([UNTRAINED], None),
        ([], None),
    ],
)
def test_an_empty_result_is_refused(byte_level: Family, rows: list[list[Segment]], max_length: int | None) -> None:
    with pytest.raises(InputError):
        tokenize_dataset(sft([*rows, WHOLE]).select(range(len(rows))), byte_level.tokenizer, max_length)


def test_a_dataset_without_segments_is_refused(byte_level: Family) -> None:
    with pytest.raises(InputError):
        tokenize_dataset(Dataset.from_dict({"text": ["a"]}), byte_level.tokenizer)


def test_a_bad_segment_is_named_with_its_row(byte_level: Family) -> None:
    dataset = Dataset.from_list(
        [
            {"id": "train/a/0", "segments": [{"text": "a", "trainable": True}]},
            {"id": "train/a/1", "segments": [{"text": None, "trainable": True}]},
        ]
    )
    with pytest.raises(InputError) as caught:
        tokenize_dataset(dataset, byte_level.tokenizer)
    assert caught.value.row == "train/a/1"
    nameless = dataset.map(lambda row: row | {"id": None}, features=dataset.features)
    with pytest.raises(InputError) as caught:
        tokenize_dataset(nameless, byte_level.tokenizer)
    assert caught.value.row == 1


def test_a_segment_tokenizer_survives_the_trip_to_another_process(family: Family) -> None:
    import dill

    copied: SegmentTokenizer = dill.loads(dill.dumps(family.segment_tokenizer))
    row = [Segment("a</s> ", False), Segment(" b", True)]
    assert copied.encode(row) == family.segment_tokenizer.encode(row)
