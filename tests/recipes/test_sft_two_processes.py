"""Two real processes against one at the same global batch."""

import json
import math
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


def losses(folder: Path) -> list[float]:
    history = json.loads((folder / "log_history.json").read_text(encoding="utf-8"))
    return [entry["loss"] for entry in history if "loss" in entry]


@pytest.mark.slow
def test_two_processes_have_the_loss_curve_of_one(
    launch: Callable[..., Any], train: Callable[..., None], arguments: list[str], tmp_path: Path
) -> None:
    settings = {"bf16": "false", "max_steps": 5, "learning_rate": 1e-3, "eval_fraction": 0.2}
    # The evaluation loss is a mean over batches, so these have to be the same ones.
    settings["per_device_eval_batch_size"] = 1
    flags = [part for name, value in settings.items() for part in (f"--{name}", str(value))]
    done = launch(
        [*arguments, *flags, "--gradient_accumulation_steps", "2", "--output_dir", str(tmp_path / "two")],
        "cpu_2",
        MASTER_PORT=str(free_port()),
    )
    assert done.returncode == 0, done.stderr[-3000:]
    # Only the first process speaks.
    assert done.stdout.count("Starting from the beginning.") == 1
    train([*arguments, *flags], gradient_accumulation_steps=4, output_dir=tmp_path / "one")

    one, two = losses(tmp_path / "one"), losses(tmp_path / "two")
    assert len(one) == 5 and one[-1] < one[0] - 0.1
    assert two == pytest.approx(one, abs=1e-4)
    metrics = [json.loads((tmp_path / name / "metrics.json").read_text(encoding="utf-8")) for name in ("one", "two")]
    # Two processes share an odd number of trees by taking one twice: five steps of 4 trees, or of 2 a process.
    epochs = [metric.pop("epochs") for metric in metrics]
    trees = round(5 * 4 / epochs[0])
    assert epochs == pytest.approx([5 * 4 / trees, 5 * 2 / math.ceil(trees / 2)], rel=1e-9)
    assert metrics[0] == pytest.approx(metrics[1], abs=1e-3, rel=1e-4)
    assert metrics[0]["num_tokens"] == metrics[1]["num_tokens"]
