"""Ctrl-C in the middle of a command: a sentence, a status, and nothing that was finished is lost."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from typer.testing import CliRunner

import toolalpaca_hf
from toolalpaca_hf.cli import app


def test_ctrl_c_keeps_what_is_finished_and_the_same_command_goes_on(tmp_path: Path) -> None:
    source = Path(toolalpaca_hf.__file__).parents[1]
    environment = os.environ | {"PYTHONPATH": str(source), "PYTHONUTF8": "1"}

    def command(out: Path) -> list[str]:
        apis = source / "toolalpaca_hf" / "data" / "sample" / "train.json"
        build = [sys.executable, "-m", "toolalpaca_hf.cli", "corpus", "build", "--offline", "--apis", str(apis)]
        return [*build, "--per-api", "1", "--out", str(out)]

    out, parts = tmp_path / "corpus", tmp_path / "corpus" / "parts" / "simulation"
    # A shell's background jobs ignore the signal, and their children with them.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = subprocess.Popen(command(out), stderr=subprocess.PIPE, text=True, env=environment)
    finally:
        signal.signal(signal.SIGINT, before)
    deadline = time.monotonic() + 300
    while not (parts.is_dir() and len(list(parts.glob("*.json"))) >= 2):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=300)
    assert process.returncode == 130, said
    kept = {path.name: path.stat().st_mtime_ns for path in parts.glob("*.json")}
    sentence = said.strip().splitlines()[-1]
    assert str(out) in sentence and f"{len(kept)} APIs" in sentence and "Traceback" not in said
    assert 2 <= len(kept) < 18, "it was stopped in the middle"

    assert CliRunner().invoke(app, command(out)[3:]).exit_code == 0
    assert {name: (parts / name).stat().st_mtime_ns for name in kept} == kept
    whole = CliRunner().invoke(app, command(tmp_path / "whole")[3:])
    assert whole.exit_code == 0, whole.output
    assert (out / "train_data.json").read_bytes() == (tmp_path / "whole" / "train_data.json").read_bytes()
