"""A run that was killed goes on and ends like one that was not."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import RECIPES
from datasets import load_dataset
from safetensors.torch import load_file

from toolalpaca_hf.errors import InputError
from toolalpaca_hf.training.results import checkpoints

STEPS = ["--max_steps", "12", "--save_steps", "2", "--save_total_limit", "3", "--learning_rate", "5e-3"]


def history_of(folder: Path) -> list[dict[str, Any]]:
    return json.loads((folder / "log_history.json").read_text(encoding="utf-8"))


def metrics_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "metrics.json").read_text(encoding="utf-8"))


def killed_in_mid_run(command: list[str], folder: Path, environment: dict[str, str]) -> Path:
    """Start a command, kill it and its children without warning once it has a checkpoint, and return that
    checkpoint."""
    environment = environment | {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        deadline = time.monotonic() + 240
        while not checkpoints(folder) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert not (folder / "metrics.json").exists(), "the run was over before it was killed"
    return checkpoints(folder)[-1]


def test_a_killed_run_ends_like_an_undisturbed_one(
    train: Callable[..., None],
    arguments: list[str],
    environment: dict[str, str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    killed, undisturbed = tmp_path / "run", tmp_path / "undisturbed"
    newest = killed_in_mid_run([sys.executable, str(RECIPES / "sft.py"), *arguments, *STEPS], killed, environment)
    # A checkpoint that was being written: newer, with weights, without trainer state.
    half = killed / f"checkpoint-{int(newest.name.rpartition('-')[2]) + 2}"
    shutil.copytree(newest, half, dirs_exist_ok=True)
    (half / "trainer_state.json").unlink()
    (half / "optimizer.pt").write_bytes(b"half a fi")

    train([*arguments, *STEPS])
    said = capsys.readouterr().out.splitlines()
    begun = [line for line in said if line.startswith(("Resuming", "Starting", "Settings"))]
    assert begun == [f"Resuming from {newest}."]
    train([*arguments, *STEPS], output_dir=undisturbed)
    assert "Starting from the beginning." in capsys.readouterr().out

    first, second = metrics_of(undisturbed), metrics_of(killed)
    assert first["steps"] == second["steps"] == 12
    assert first["final_loss"] < first["first_loss"] - 0.1
    # The whole history is there, the steps before the kill included, and every token is counted once.
    assert second == pytest.approx(first, abs=1e-6)
    expected, found = load_file(undisturbed / "model.safetensors"), load_file(killed / "model.safetensors")
    assert expected.keys() == found.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, atol=1e-6, rtol=0)


def test_other_settings_start_anew_and_keep_the_old_checkpoints(
    train: Callable[..., None], arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    train(arguments, save_steps=1, save_total_limit=2)
    old = load_file(folder / "checkpoint-2" / "model.safetensors")
    capsys.readouterr()
    # Where it logs is no other setting; the finished run is found finished.
    before = metrics_of(folder)
    train(arguments, save_steps=1, save_total_limit=2, logging_steps=2)
    assert f"Resuming from {folder / 'checkpoint-2'}." in capsys.readouterr().out
    assert metrics_of(folder) == before
    optimizer = folder / "checkpoint-2" / "optimizer.pt"
    whole = optimizer.read_bytes()
    optimizer.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError) as caught:
        train(arguments, save_steps=1, save_total_limit=2)
    assert caught.value.file == str(folder / "checkpoint-2") and "Resuming" in capsys.readouterr().out
    optimizer.write_bytes(whole)

    train(arguments, save_steps=1, save_total_limit=2, seed=7, warmup_steps=0)
    said = capsys.readouterr().out
    assert "Settings differ (seed, warmup_steps)" in said and "Resuming" not in said
    kept = load_file(folder / "_superseded" / "checkpoint-2" / "model.safetensors")
    assert all(torch.equal(kept[name], tensor) for name, tensor in old.items())
    assert [path.name for path in checkpoints(folder)] == ["checkpoint-1", "checkpoint-2"]
    new = load_file(folder / "model.safetensors")
    assert not all(torch.equal(new[name], tensor) for name, tensor in old.items())


def test_a_stream_that_is_resumed_in_its_second_pass_repeats_and_misses_no_row(
    train: Callable[..., None], arguments: list[str], built: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Six rows, one a step: the checkpoint is of the second row of the second pass."""
    small = tmp_path / "six"
    (small / "sft").mkdir(parents=True)
    rows = load_dataset(str(built), "sft", split="train").select(range(6))
    rows.to_parquet(small / "sft" / "train.parquet")
    (small / "README.md").write_text("---\nconfigs:\n- config_name: sft\n  data_dir: sft\n---\n")
    fields = {"dataset_name": small, "dataset_streaming": "true", "augment_copies": 0, "tool_hints": 0}
    fields |= {
        "prefix_packing": "false",
        "max_steps": 11,
        "save_steps": 8,
        "save_total_limit": 3,
        "learning_rate": 5e-3,
    }
    fields |= {"per_device_train_batch_size": 1, "gradient_accumulation_steps": 1}
    train(arguments, **fields)
    killed = tmp_path / "killed"
    shutil.copytree(tmp_path / "run", killed, ignore=shutil.ignore_patterns("*.safetensors", "metrics.json", "*-11"))
    shutil.copy(tmp_path / "run" / "checkpoint-8" / "model.safetensors", killed / "checkpoint-8")
    capsys.readouterr()
    train(arguments, **fields, output_dir=killed)
    assert f"Resuming from {killed / 'checkpoint-8'}." in capsys.readouterr().out
    losses = [[step["loss"] for step in log if "loss" in step] for log in map(history_of, (tmp_path / "run", killed))]
    assert len(losses[0]) == 11 and losses[1] == pytest.approx(losses[0], abs=1e-5)
    assert metrics_of(killed) == pytest.approx(metrics_of(tmp_path / "run"), abs=1e-6)
