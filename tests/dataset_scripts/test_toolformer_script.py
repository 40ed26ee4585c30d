"""`dataset_scripts/toolformer.py` as users run it: a process, its output, its exit status."""

import json
import os
import subprocess
import sys
from pathlib import Path

from datasets import load_dataset

ROOT = Path(__file__).parents[2]
ROWS = [
    {"question": "How many?", "answer": "It is 48/2 = <<48/2=24>>24.\n#### 24"},
    {"question": "How much?", "answer": "It is <<1+1=3>>3.\n#### 3"},
]


def run(tmp_path: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, ROOT / "dataset_scripts" / "toolformer.py", *map(str, arguments)],
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


def test_what_can_not_be_had_is_one_sentence(tmp_path: Path) -> None:
    for arguments in (["--source", "annotated/"], ["--source", "gsm8k"]):
        done = run(tmp_path, *arguments, "--out", "build/x")
        assert done.returncode == 2 and done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert "pass --source gsm8k=FILE" in done.stderr and not (tmp_path / "build").exists()
