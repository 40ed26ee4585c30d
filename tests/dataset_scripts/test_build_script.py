"""`dataset_scripts/toolalpaca.py` as users run it: a process, its output, its exit status."""

import json
import os
import re
import runpy
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from datasets import load_dataset

ROOT = Path(__file__).parents[2]
REAL = ROOT.parent / "shared" / "data" / "toolalpaca"


SCRIPT = str(ROOT / "dataset_scripts" / "toolalpaca.py")


def run(tmp_path: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, SCRIPT, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "HF_HOME": str(tmp_path / "hf")},
    )


def test_the_sample(tmp_path: Path) -> None:
    done = run(tmp_path, "--source", "sample", "--out", "build/sample")
    assert done.returncode == 0, done.stderr
    assert re.search(r"^instructions +eval_simulated +\d+$", done.stdout, re.MULTILINE)
    row = next(iter(load_dataset(str(tmp_path / "build/sample"), "sft", split="train", streaming=True)))
    assert any(segment["trainable"] for segment in row["segments"])
    assert os.listdir(tmp_path / "build") == ["sample"] and not (tmp_path / "hf").exists()


def test_the_published_files(tmp_path: Path) -> None:
    if not REAL.is_dir():
        pytest.skip(f"{REAL} is absent: the published files are not at hand")
    done = run(
        tmp_path,
        *("--train", REAL / "train_sample.json"),
        *("--eval-simulated", REAL / "eval_simulated.json"),
        *("--eval-real", REAL / "eval_real.json"),
        *("--processed", REAL / "processed_sample.json", "--out", "real"),
    )
    assert done.returncode == 0, done.stderr
    table = {tuple(line.split()[:2]): int(line.split()[2]) for line in done.stdout.split("\n\n")[0].splitlines()[1:]}
    assert table == {
        ("apis", "train"): 43,
        ("apis", "eval_simulated"): 10,
        ("apis", "eval_real"): 11,
        ("trajectories", "train"): 51,
        ("instructions", "eval_simulated"): 100,
        ("instructions", "eval_real"): 114,
        ("sft", "train"): 51 + 231,
        ("chat", "train"): 51,
    }
    apis = list(load_dataset(str(tmp_path / "real"), "apis", split="eval_real", streaming=True))
    raw = json.loads((REAL / "eval_real.json").read_text(encoding="utf-8"))
    assert [row["documentation"] for row in apis] == [json.loads(api["Documentation"]) for api in raw]
    sft = list(load_dataset(str(tmp_path / "real"), "sft", split="train", streaming=True))
    processed = json.loads((REAL / "processed_sample.json").read_text(encoding="utf-8"))
    assert [[one["text"] for one in row["segments"]] for row in sft[51:]] == [texts for texts, _ in processed]
    assert len({row["id"] for row in sft}) == len(sft)


def test_upstreams_prompt_from_a_folder(tmp_path: Path) -> None:
    (tmp_path / "agent_prompts.py").write_text(
        'P = "Hello"\nF = "Use {tool_names}."\nS = "USER: {input}\\nASSISTANT Thought: {agent_scratchpad}"\n'
        'D = {"prefix": P, "format_instructions": F, "suffix": S}\nprompt_proj = {"test_v1": D}\n'
    )
    (tmp_path / "tools.py").write_text(
        'class GetDetailsTool:\n    def __init__(self):\n        description = """Ask."""\n'
    )
    sample = ROOT / "src" / "toolalpaca_hf" / "data" / "sample" / "train.json"
    done = run(tmp_path, "--train", sample, "--prompt", "upstream", "--prompt-dir", ".", "--out", "out")
    assert done.returncode == 0, done.stderr
    row = next(iter(load_dataset(str(tmp_path / "out"), "sft", split="train", streaming=True)))
    assert row["segments"][0]["text"].startswith("Hello\n\ngetDetails: Ask.\n")
    assert row["segments"][1]["text"].endswith("\nASSISTANT Observation: ")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--train", "missing.json"], "missing.json"),
        (["--train", "cut.json"], "cut.json"),
        (["--train", "list.json"], "list.json"),
        (["--processed", "list.json"], "list.json"),
        (["--source", "nowhere"], "nowhere"),
        ([], "--source"),
        (["--source", "upstream"], ""),
        (["--source", "sample", "--prompt", "upstream"], ""),
        (["--source", "sample", "--prompt", "upstream", "--prompt-dir", "."], "agent_prompts.py"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    named: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setattr(sys, "argv", [SCRIPT, *arguments, "--out", "build/out"])
    (tmp_path / "cut.json").write_text('[{"Name": "Tides", "Function_Proj')
    (tmp_path / "list.json").write_text('{"count": 0, "entries": []}')
    with socket.socket() as unused:  # bound and not listening: connections are refused
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setenv("TOOLALPACA_HF_BASE_URL", f"http://127.0.0.1:{unused.getsockname()[1]}")
        with pytest.raises(SystemExit) as end:
            runpy.run_path(SCRIPT, run_name="__main__")
    said = capsys.readouterr().err
    lines = [line for line in said.splitlines() if "download" not in line]  # the Hub's client reports retries
    assert end.value.code == 2 and named in said and len(lines) == 1
    assert "Traceback" not in said and not (tmp_path / "build" / "out").exists()


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("mine")
    done = run(tmp_path, "--source", "sample", "--out", "out")
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert os.listdir(tmp_path / "out") == ["notes.txt"]
