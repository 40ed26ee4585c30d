"""A run that is killed in each stage, and started again: it goes on, repeats nothing, and ends as one that was not."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tiny_models import save_tiny_llama

ROOT = Path(__file__).parents[2]
STAGES = ("corpus", "before", "training", "after")
pytestmark = pytest.mark.slow


def start(base: Path, out: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "toolalpaca_hf.cli", "create", str(ROOT / "examples" / "petstore.yaml")]
    command += ["--out", str(out), "--base", str(base), "--per-api", "16", "--max-steps", "4", "--json"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True
    )


def kill_in(process: "subprocess.Popen[str]", stage: str, seconds: float) -> list[str]:
    """Kill the command, and nothing besides, so long after a stage began; returns what it said until then."""
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        said.append(line.strip())
        if line.strip().endswith(f": {stage}"):
            break
    time.sleep(seconds)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    return said


def running(text: str) -> bool:
    """Whether a process of this command line is still there."""
    found = (path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists())
    return any(text.encode() in line for line in found)


def test_a_killed_run_goes_on_and_repeats_nothing(tmp_path: Path) -> None:
    base, out = save_tiny_llama(tmp_path / "base"), tmp_path / "out"
    whole = start(base, tmp_path / "whole")
    wanted = json.loads(whole.communicate(timeout=900)[0])
    for number, stage in enumerate(STAGES):
        said = kill_in(start(base, out), stage, 8.0 if stage == "training" else 1.5)
        before = [f"{place} of 4: {done}, done before" for place, done in enumerate(STAGES[:number], 1)]
        # The stage that was killed last may have been through with its work.
        assert [line for line in said if "done before" in line] in (before, before[:-1])
        for _ in range(100):  # no orphan trains on
            if not running(str(out / "model")):
                break
            time.sleep(0.1)
        assert not running(str(out / "model"))
    last = start(base, out)
    stdout, stderr = last.communicate(timeout=900)
    assert last.returncode == 0 and stderr.count("done before") >= 3, stderr
    found = json.loads(stdout)
    for metrics in (found, wanted):
        del metrics["seconds"]
        metrics["training"] = {key: metrics["training"][key] for key in ("steps", "num_tokens", "final_loss")}
    assert found == wanted
