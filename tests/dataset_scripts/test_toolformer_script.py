"""`dataset_scripts/toolformer.py` as users run it: a process, its output, its exit status."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from datasets import load_dataset

ROOT = Path(__file__).parents[2]
ROWS = [
    {"question": "How many?", "answer": "It is 48/2 = <<48/2=24>>24.\n#### 24"},
    {"question": "How much?", "answer": "It is <<1+1=3>>3.\n#### 3"},
]


SCRIPT = str(ROOT / "dataset_scripts" / "toolformer.py")


def run(tmp_path: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, SCRIPT, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "1"},
    )


def test_gsm8k_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    done = run(tmp_path, "--source", "gsm8k=train.jsonl", "--plain-fraction", 0.5, "--out", "build/gsm8k")
    assert done.returncode == 0, done.stderr
    assert "set aside: train, row 1: the calculator gives 2 for '1+1', not 3" in done.stdout
    rows = list(load_dataset(str(tmp_path / "build/gsm8k"), "sft", split="train", streaming=True))
    assert [row["segments"][0]["text"] for row in rows] == [
        "How many?\nIt is 48/2 = [Calculator(48/2) -> 24] 24.\n#### 24",
        "How much?\nIt is 3.\n#### 3",
    ]


def test_what_can_not_be_had_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "hf")
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    for source in ("annotated/", "gsm8k"):
        monkeypatch.setattr(sys, "argv", [SCRIPT, "--source", source, "--out", "build/x"])
        with pytest.raises(SystemExit) as end:
            runpy.run_path(SCRIPT, run_name="__main__")
        said = capsys.readouterr().err
        assert end.value.code == 2 and said.startswith("error: ") and said.count("\n") == 1
    assert "pass --source gsm8k=FILE" in said and not (tmp_path / "build").exists()
