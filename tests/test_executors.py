"""Pipelines as tasks: what is finished is not run again, and what fails says so."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from inspect import signature
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from toolalpaca_hf.errors import MissingDependencyError, OptionError, ToolAlpacaError
from toolalpaca_hf.executors import (
    QueuedError,
    TaskError,
    noted_failure,
    queued_job,
    run_pipeline,
    unfinished_tasks,
)

NUMBERS = 6


class Square:
    """Writes the squares of its share of the first numbers, a file each; fails at those it is told to fail at."""

    def __init__(self, out: Path, power: int = 2, fail: tuple[int, ...] = (), die: tuple[int, ...] = ()) -> None:
        self.out, self.power = out, power
        self._fail, self._die = fail, die

    def __call__(self, data: Any, rank: int, world_size: int) -> Iterator[int]:
        for number in range(rank, NUMBERS, world_size):
            if number in self._die:
                os.kill(os.getpid(), signal.SIGKILL)
            if number in self._fail:
                raise ToolAlpacaError(f"the number {number} is bad")
            print(f"{number} is done", file=sys.stderr)
            with (self.out / f"{number}.txt").open("a") as file:
                file.write(f"{number**self.power}\n")
            yield number


class Sum:
    """A second step: adds what the first hands on."""

    def __init__(self, out: Path) -> None:
        self.out = out

    def __call__(self, data: Iterable[int], rank: int, world_size: int) -> Iterator[int]:
        total = 0
        for number in data:
            total += number
            yield number
        (self.out / f"sum-{rank}.txt").write_text(str(total))


def squares(out: Path) -> dict[int, list[str]]:
    return {int(path.stem): path.read_text().split() for path in sorted(out.glob("[0-9].txt"))}


ALL_ONCE = {number: [str(number**2)] for number in range(NUMBERS)}


@pytest.mark.parametrize(("tasks", "workers"), [(1, 1), (3, 1), (2, 2)])
def test_each_task_does_its_share_once(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], tasks: int, workers: int
) -> None:
    logs = tmp_path / "logs"
    assert unfinished_tasks(logs, tasks) == list(range(tasks))
    for _ in range(2):  # again: all of it is finished
        run_pipeline(
            [Square(tmp_path), Sum(tmp_path)], executor="local", tasks=tasks, workers=workers, logging_dir=logs
        )
    assert squares(tmp_path) == ALL_ONCE and unfinished_tasks(logs, tasks) == []
    sums = [int(path.read_text()) for path in sorted(tmp_path.glob("sum-*"))]
    assert sums == [sum(range(rank, NUMBERS, tasks)) for rank in range(tasks)]
    out, err = capfd.readouterr()
    assert out == err == "", "what a task prints is in its files"
    assert "0 is done" in (logs / "printed" / "00000.txt").read_text()


@pytest.mark.parametrize("workers", [1, 3])
def test_a_task_that_fails_costs_no_other(tmp_path: Path, capfd: pytest.CaptureFixture[str], workers: int) -> None:
    logs = tmp_path / "logs"
    settings: dict[str, Any] = {"executor": "local", "tasks": 3, "workers": workers, "logging_dir": logs}
    with pytest.raises(TaskError, match="the number 4 is bad") as caught:
        run_pipeline([Square(tmp_path, fail=(4,))], **settings)
    assert caught.value.file == logs / "logs" / "task_00001.log"
    assert unfinished_tasks(logs, 3) == [1] and set(squares(tmp_path)) == {0, 1, 2, 3, 5}
    assert "the number 4 is bad" in (logs / "logs" / "task_00001.log").read_text()
    assert "Traceback" not in capfd.readouterr().err
    run_pipeline([Square(tmp_path)], **settings)
    assert {number: len(lines) for number, lines in squares(tmp_path).items()} == {0: 1, 1: 2, 2: 1, 3: 1, 4: 1, 5: 1}


def test_a_task_that_is_killed_is_not_waited_for(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"executor": "local", "tasks": 2, "workers": 2, "logging_dir": tmp_path / "logs"}
    with pytest.raises(TaskError, match="killed"):
        run_pipeline([Square(tmp_path, die=(3,))], **settings)
    run_pipeline([Square(tmp_path)], **settings)
    assert set(squares(tmp_path)) == set(range(NUMBERS))


def test_no_tasks_do_nothing(tmp_path: Path) -> None:
    with pytest.raises(OptionError):
        run_pipeline([Square(tmp_path)], executor="local", tasks=0, workers=1, logging_dir=tmp_path / "logs")


def test_an_unknown_executor_runs_nothing_here(tmp_path: Path) -> None:
    unknown: Any = "slrum"
    with pytest.raises(OptionError, match="slurm"):
        run_pipeline([Square(tmp_path)], executor=unknown, tasks=1, workers=1, logging_dir=tmp_path / "logs")
    assert not (tmp_path / "logs").exists()


SLURM = {"partition": "hopper", "time": "01:00:00"}


def on_slurm(tmp_path: Path, **more: Any) -> None:
    run_pipeline(
        [Square(tmp_path)],
        executor="slurm",
        tasks=2,
        workers=1,
        logging_dir=tmp_path / "logs",
        slurm={**SLURM, **more},
    )


def test_without_sbatch_the_script_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(MissingDependencyError, match=r"launch_script.slurm is written"):
        on_slurm(tmp_path)
    script = (tmp_path / "logs" / "launch_script.slurm").read_text()
    assert {"#SBATCH --partition=hopper", "#SBATCH --time=01:00:00", "#SBATCH --array=0-1%1"} <= set(
        script.splitlines()
    )
    assert f'export PATH="{Path(sys.executable).parent}:$PATH"' in script
    with pytest.raises(OptionError, match="'partitoin'"):
        on_slurm(tmp_path, partitoin="hopper")


def test_what_slurm_is_given_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cluster of one machine: `sbatch` carries its script out at once, once for each place of the array."""
    commands = tmp_path / "bin"
    commands.mkdir()
    sbatch = """#!/bin/bash
script="${@: -1}"
grep -q "^#SBATCH --array=" "$script" || exit 1
if grep -q merge_stats "$script"; then echo "Submitted batch job 8"; exit; fi
last=$(sed -n 's/^#SBATCH --array=0-\\([0-9]*\\).*/\\1/p' "$script")
for place in $(seq 0 "$last"); do
    SLURM_ARRAY_TASK_ID=$place SLURM_NODELIST=localhost RUN_OFFSET=0 bash "$script" > "$SLURM_TEST/job-$place.txt" 2>&1
done
echo "Submitted batch job 7"
"""
    for name, text in {
        "sbatch": sbatch,
        "srun": '#!/bin/bash\nwhile [[ "$1" == -* ]]; do [[ "$1" == -n ]] && shift; shift; done\nexec "$@"\n',
        "scontrol": "#!/bin/bash\necho localhost\n",
    }.items():
        (commands / name).write_text(text)
        (commands / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{commands}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_TEST", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]))
    on_slurm(tmp_path)
    told = "".join(path.read_text() for path in tmp_path.glob("job-*.txt"))
    assert unfinished_tasks(tmp_path / "logs", 2) == [], told
    assert squares(tmp_path) == ALL_ONCE


def test_ray_is_told_what_a_task_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datatrove.executor

    real, told = datatrove.executor.RayPipelineExecutor, {}

    class Noted:
        def __init__(self, *args: Any, **options: Any) -> None:
            told.update(signature(real).bind(*args, **options).arguments)

        def run(self) -> None: ...

    monkeypatch.setattr(datatrove.executor, "RayPipelineExecutor", Noted)
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(is_initialized=lambda: True))
    with pytest.raises(TaskError):  # nothing was run
        run_pipeline(
            [Square(tmp_path)],
            executor="ray",
            tasks=2,
            workers=1,
            logging_dir=tmp_path / "logs",
            slurm={**SLURM, "gpus_per_task": 1},
        )
    assert (told["gpus_per_task"], told["mem_per_cpu_gb"], told["workers"]) == (1, 0.5, 1) and "time" not in told


def test_slurm_is_not_given_what_it_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cluster that takes jobs and does not begin; `squeue` knows the first, as long as the file `queue` is there."""
    commands, queue, taken = tmp_path / "bin", tmp_path / "queue", tmp_path / "taken"
    commands.mkdir()
    for name, text in {
        "sbatch": f'echo taken >> {taken}\necho "Submitted batch job 4711"\n',
        "squeue": f'[[ "$*" == "-h -j 4711" ]] || exit 2\ncat {queue} || exit 1\n',
    }.items():
        (commands / name).write_text(f"#!/bin/bash\n{text}")
        (commands / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{commands}:/usr/bin:/bin")
    queue.write_text("4711 cpu toolalpaca PD 0:00\n")
    assert queued_job(tmp_path / "logs") is None
    on_slurm(tmp_path)
    assert queued_job(tmp_path / "logs") == "4711"
    submitted = taken.read_text()
    with pytest.raises(QueuedError, match="4711"):
        on_slurm(tmp_path)
    assert taken.read_text() == submitted
    queue.unlink()
    on_slurm(tmp_path)
    assert taken.read_text() == submitted * 2


def test_what_a_task_said_of_its_failure_is_there_for_the_next_run(tmp_path: Path) -> None:
    logs = tmp_path / "logs"
    assert noted_failure(logs, 3) is None
    settings: dict[str, Any] = {"executor": "local", "tasks": 3, "workers": 1, "logging_dir": logs}
    with pytest.raises(ToolAlpacaError):
        run_pipeline([Square(tmp_path, fail=(4,))], **settings)
    assert noted_failure(logs, 3) == "the number 4 is bad"
    run_pipeline([Square(tmp_path)], **settings)
    assert noted_failure(logs, 3) is None


@pytest.mark.slow
def test_on_a_local_ray(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]))
    settings: dict[str, Any] = {"executor": "ray", "tasks": 2, "workers": 2, "logging_dir": tmp_path / "logs"}
    with pytest.raises(TaskError, match="the number 3 is bad"):
        run_pipeline([Square(tmp_path, fail=(3,))], **settings)
    assert unfinished_tasks(tmp_path / "logs", 2) == [1]
    run_pipeline([Square(tmp_path)], **settings)
    assert unfinished_tasks(tmp_path / "logs", 2) == []
    assert {number: lines[-1] for number, lines in squares(tmp_path).items()} == {n: str(n**2) for n in range(NUMBERS)}


ENDLESS = """
import sys, time
from pathlib import Path
from toolalpaca_hf.executors import run_pipeline

class Tick:
    def __init__(self, out): self.out = out
    def __call__(self, data, rank, world_size):
        while True:
            (self.out / f"tick-{rank}").write_text(str(time.time()))
            time.sleep(0.05)
            yield rank

if __name__ == "__main__":
    out = Path(sys.argv[1])
    run_pipeline([Tick(out)], executor="local", tasks=2, workers=2, logging_dir=out / "logs")
"""


def test_workers_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    (tmp_path / "endless.py").write_text(ENDLESS)
    process = subprocess.Popen([sys.executable, str(tmp_path / "endless.py"), str(tmp_path)])
    ticks = [tmp_path / "tick-0", tmp_path / "tick-1"]
    deadline = time.monotonic() + 60
    while not all(map(Path.is_file, ticks)):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.05)
    process.kill()
    process.wait()
    time.sleep(0.5)
    last = [path.read_text() for path in ticks]
    time.sleep(0.5)
    assert [path.read_text() for path in ticks] == last
