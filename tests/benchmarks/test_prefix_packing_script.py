"""The benchmark of prefix packing with a model of two layers: its ways, and the file that it writes."""

import json
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from datasets import Dataset
from transformers import PreTrainedTokenizerBase

TINY = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}


@pytest.fixture
def ways(folder: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    import training_ways

    monkeypatch.setattr(training_ways, "SMOLLM2", TINY)
    return training_ways


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    from segments_to_labels import load_tokenizer

    return load_tokenizer(None)


@pytest.fixture(scope="module")
def rows(folder: Path, tokenizer: PreTrainedTokenizerBase) -> Dataset:
    from prefix_packing_rows import built

    return built(None, tokenizer, 2048, 3)


@pytest.mark.slow
def test_every_way_trains_on_the_same_tokens(
    ways: ModuleType, rows: Dataset, tokenizer: PreTrainedTokenizerBase
) -> None:
    lengths = list(map(len, rows["input_ids"]))
    found = {
        way: ways.contest(way, rows, tokenizer, 2048, True)
        for way in (ways.PADDED, ways.PADDING, ways.PACKING, ways.OURS, ways.MASKED)
    }
    assert found[ways.PADDED]["positions"] == 3 * 2048 and found[ways.PADDED]["steps"] == 3
    assert found[ways.PADDING]["positions"] == 3 * max(lengths) and found[ways.PADDING]["steps"] == 1
    assert found[ways.PACKING]["positions"] == sum(lengths) and found[ways.PACKING]["steps"] == 2
    # One API: its documentation is in the sequence once.
    assert max(lengths) < found[ways.OURS]["positions"] < sum(lengths) - 800 and found[ways.OURS]["steps"] == 1
    assert found[ways.MASKED]["positions"] == found[ways.OURS]["positions"] and found[ways.MASKED]["steps"] == 1
    assert all(one["seconds"] > 0 and one["peak_mb"] > 100 for one in found.values())


@pytest.mark.slow
def test_the_short_form_writes_what_others_read(
    ways: ModuleType, page: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import prefix_packing

    def here(work: Any, *given: Any) -> dict[str, float]:
        return work(*given)

    monkeypatch.setattr(prefix_packing, "in_a_process", here)
    path = tmp_path / "OUT.json"
    arguments = ["--quick", "--toolalpaca", str(tmp_path), "--json", str(path)]
    monkeypatch.setattr(sys, "argv", ["prefix_packing.py", *arguments])
    prefix_packing.main()
    record = json.loads(path.read_text())
    assert page.read(path)["command"] == f"python benchmarks/prefix_packing.py --quick --toolalpaca {tmp_path}"
    [line] = record["rows"]
    assert line["data"] == "sample" and line["bound"] == pytest.approx(line["tokens"] / line["computed"])
    seconds = {way: found["seconds"] for way, found in line["ways"].items()}
    assert {way: len(rounds) for way, rounds in seconds.items()} == {
        "padded to 2048": 1, "TRL padding": 1, "TRL packing": 2, "prefix packing": 2, "prefix packing, one mask": 1
    }  # fmt: skip
    packing, ours = seconds["TRL packing"], seconds["prefix packing"]
    assert line["ratio_vs_trl_packing"] == pytest.approx((packing[0] / ours[0] + packing[1] / ours[1]) / 2)
    assert line["loss_rel"] <= 1e-5 and line["grad_rel"] <= 1e-4
    assert [(one["prefix"], one["branches"]) for one in record["growth"]] == [(256, 1), (256, 2), (256, 4)]
    # One prefix of 256 tokens and branches of 128 each.
    assert [one["bound"] for one in record["growth"]] == [1.0, 768 / 512, 1536 / 768]
    assert [one["title"] for one in record["tables"]][:2] == ["Examples/s", "Peak memory, MB"]
    assert sorted(found.name for found in tmp_path.glob("*.png")) == ["OUT_examples.png", "OUT_growth.png"]


@pytest.mark.slow
def test_each_pass_has_a_process_of_its_own(folder: Path) -> None:
    from prefix_packing import in_a_process

    processes = [in_a_process(os.getpid), in_a_process(os.getpid), os.getpid()]
    assert len(set(processes)) == 3
