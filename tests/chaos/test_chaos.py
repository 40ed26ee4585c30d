"""Long jobs that are killed: see run_chaos.py, of which this is a short form."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from chaos_more_jobs import JOBS

pytestmark = pytest.mark.slow
HERE = Path(__file__).parent


@pytest.mark.parametrize("job", list(JOBS))
def test_a_killed_job_ends_as_an_undisturbed_one(job: str, tmp_path: Path) -> None:
    command = [sys.executable, str(HERE / "run_chaos.py"), "--only", job, "--kills", "3", "--out", str(tmp_path)]
    command += ["--json", str(tmp_path / "figures.json")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=3000)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    [figures] = json.loads((tmp_path / "figures.json").read_text())["jobs"]
    assert figures["tried"] == 3 and figures["rounds"] >= 1
    assert figures["lost"] == figures["repeated"] == figures["unequal"] == figures["problems"] == []
