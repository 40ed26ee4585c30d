"""Runs a datatrove pipeline as tasks: here, on Ray or on Slurm; what is finished has a marker and is not run again."""

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from copy import deepcopy
from inspect import signature
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal, get_args

from .errors import MissingDependencyError, OptionError, ToolAlpacaError, needing

Executor = Literal["local", "ray", "slurm"]

RESOURCES = ("gpus_per_task", "cpus_per_task", "mem_per_cpu_gb")  # a task's, as Slurm's and Ray's executors call them
SLURM_DEFAULTS = {"time": "24:00:00", "partition": "cpu", "job_name": "toolalpaca", "qos": ""}


class TaskError(ToolAlpacaError):
    """Some tasks failed; the others were run. `file` is the log of the first."""

    status = 1


class QueuedError(ToolAlpacaError):
    """No failure: a Slurm job works on the folder; the same command goes on once it is through."""


def run_pipeline(
    steps: Sequence[Any],
    *,
    executor: Executor,
    tasks: int,
    workers: int,
    logging_dir: Path,
    slurm: dict[str, Any] | None = None,
) -> None:
    """Run the steps once for each task, except for tasks that have been run to their end before.

    Each step gets `(data, rank, world_size)`, as in datatrove; modules that its class names in `preload` are imported
    once for all workers here. That steps and `tasks` are those of the finished tasks is for the caller to see to, and
    all machines have to see `logging_dir`. `"ray"` is the cluster of `RAY_ADDRESS`, else a local one; `"slurm"` only
    submits, with `slurm` as further arguments of datatrove's executor, of which Ray takes those in `RESOURCES`.

    Raises [`TaskError`] if a task failed, [`QueuedError`] while a Slurm job works on the folder, and
    [`MissingDependencyError`] if the executor is not there; without Slurm the script has been written all the same.
    """
    if tasks < 1 or workers < 1:
        raise OptionError(f"{tasks} tasks and {workers} workers can do nothing", fix="pass at least 1 of each")
    if executor not in get_args(Executor):
        raise OptionError(f"is {executor!r}", option="executor", fix=f"pass one of {', '.join(get_args(Executor))}")
    with needing("a pipeline", "corpus"):
        from datatrove.utils.logging import logger
    logging_dir = Path(logging_dir).absolute()
    waiting = unfinished_tasks(logging_dir, tasks)
    if not waiting:
        return
    if job := queued_job(logging_dir):
        fix = "run the same command again once it is through"
        raise QueuedError(f"the Slurm job {job} still works on it", file=logging_dir, fix=fix)
    for rank in waiting:
        _failure_file(logging_dir, rank).unlink(missing_ok=True)
    pipeline = [*steps, _NoteFailure(logging_dir)]
    logger.remove()  # what datatrove would print in this process stands in the logs
    try:
        if executor == "slurm":
            return _submit(pipeline, tasks, workers, logging_dir, slurm or {})
        if executor == "ray":
            _run_on_ray(pipeline, tasks, workers, logging_dir, slurm or {})
        else:
            _run_here(pipeline, tasks, min(workers, len(waiting)), logging_dir, waiting)
    finally:
        logger.remove()
        logger.add(sys.stderr)
    if failed := unfinished_tasks(logging_dir, tasks):
        rank = failed[0]
        reason = noted_failure(logging_dir, tasks, rank) or "it was killed, or ended before it could say why"
        others = f", and {len(failed) - 1} more" if len(failed) > 1 else ""
        problem = f"task {rank} of {tasks} failed{others}: {reason.rstrip('. ')}"
        log = logging_dir / "logs" / f"task_{rank:05d}.log"
        raise TaskError(problem, file=log, fix="see that log; the same command goes on from here")


@contextlib.contextmanager
def watching(look: Callable[[], object], seconds: float) -> Iterator[None]:
    """Call `look` every so many seconds, in a thread, while the `with` block lasts, and once more at its end."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(seconds):
            look()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        look()


def unfinished_tasks(logging_dir: Path, tasks: int) -> list[int]:
    """Which of so many tasks have no marker yet in a folder of logs."""
    return [rank for rank in range(tasks) if not (Path(logging_dir) / "completions" / f"{rank:05d}").is_file()]


def noted_failure(logging_dir: Path, tasks: int, *ranks: int) -> str | None:
    """What the first task of `ranks`, else of the unfinished ones, that could say it has said of its failure."""
    for rank in ranks or unfinished_tasks(logging_dir, tasks):
        with contextlib.suppress(OSError):
            return _failure_file(Path(logging_dir), rank).read_text(encoding="utf-8")
    return None


class _NoteFailure:
    """The last step: whatever went wrong in the steps before it comes by here, on whichever machine it was."""

    def __init__(self, logging_dir: Path) -> None:
        self.logging_dir = logging_dir

    def __call__(self, data: Any, rank: int, world_size: int) -> Any:
        try:
            yield from data or ()
        except Exception as error:
            _note_failure(self.logging_dir, rank, error)
            raise


def _note_failure(logging_dir: Path, rank: int, error: Exception) -> None:
    words = str(error) if isinstance(error, ToolAlpacaError) else f"{type(error).__name__}: {error}"
    path = _failure_file(logging_dir, rank)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(" ".join(words.split())[:2000], encoding="utf-8", errors="replace")


def _run_here(pipeline: list[Any], tasks: int, workers: int, logging_dir: Path, ranks: list[int]) -> None:
    # Not `LocalPipelineExecutor.run`: there, a worker that is killed is waited for without end, a failing task takes
    # the running ones with it, and a killed parent leaves its workers and its manager behind.
    if workers == 1:
        for rank in ranks:
            _run_task(pipeline, tasks, logging_dir, rank)
        return
    context = get_context("forkserver")
    # What the steps need is imported once, not by every worker of every pipeline.
    needed = [name for step in pipeline for name in (type(step).__module__, *getattr(step, "preload", ()))]
    context.set_forkserver_preload(["__main__", "datatrove.executor", *dict.fromkeys(needed)])
    reader, writer = context.Pipe(duplex=False)
    with writer, ProcessPoolExecutor(workers, context, _end_with_parent, (reader,)) as pool:
        # A worker that was killed breaks the pool; which tasks that cost is seen by their markers.
        with contextlib.suppress(BrokenProcessPool):
            wait([pool.submit(_run_task, pipeline, tasks, logging_dir, rank) for rank in ranks])


def _run_task(pipeline: list[Any], tasks: int, logging_dir: Path, rank: int) -> None:
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.utils.logging import logger

    printed = logging_dir / "printed" / f"{rank:05d}.txt"
    printed.parent.mkdir(parents=True, exist_ok=True)
    with printed.open("w", encoding="utf-8", errors="replace") as file, contextlib.redirect_stderr(file):
        try:
            executor = LocalPipelineExecutor(deepcopy(pipeline), tasks, workers=1, logging_dir=str(logging_dir))
            executor._run_for_rank(rank)
        except Exception as error:
            if not _failure_file(logging_dir, rank).is_file():  # it was none of the steps
                _note_failure(logging_dir, rank, error)
        finally:
            logger.remove()  # it holds the file


def _end_with_parent(reader: Connection) -> None:
    """Exit with the parent, or orphans race with the next run."""

    def watch() -> None:
        with contextlib.suppress(OSError, EOFError):
            reader.recv_bytes()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _run_on_ray(pipeline: list[Any], tasks: int, workers: int, logging_dir: Path, settings: dict[str, Any]) -> None:
    try:
        import ray  # pyright: ignore[reportMissingImports]  # no extra installs it
    except ModuleNotFoundError as error:
        raise MissingDependencyError(f"the Ray executor needs {error.name}", fix="run `pip install 'ray'`") from None
    from datatrove.executor import RayPipelineExecutor

    ours = not ray.is_initialized()
    if ours:
        quiet = {"include_dashboard": False, "log_to_driver": False, "logging_level": "ERROR"}
        try:
            ray.init(address=os.environ.get("RAY_ADDRESS") or "local", **quiet)
        except (ConnectionError, RuntimeError, ValueError) as error:
            words = " ".join(str(error).split())[:200]
            fix = "check RAY_ADDRESS, or run `ray start`"
            raise MissingDependencyError(f"Ray cannot be reached ({words})", fix=fix) from None
    # The tasks wait for a server most of the time; the default of 2 GB each would leave small machines waiting.
    needed = {"mem_per_cpu_gb": 0.5, **{name: settings[name] for name in RESOURCES if name in settings}}
    try:
        RayPipelineExecutor(pipeline, tasks, workers=workers, logging_dir=str(logging_dir), **needed).run()
    finally:
        if ours:
            ray.shutdown()


def _failure_file(logging_dir: Path, rank: int) -> Path:
    return logging_dir / "failures" / f"{rank:05d}.txt"


def _submit(pipeline: list[Any], tasks: int, workers: int, logging_dir: Path, slurm: dict[str, Any]) -> None:
    """Write the script and give it to `sbatch`; the job's number is noted in the folder."""
    from datatrove.executor import SlurmPipelineExecutor

    known = set(signature(SlurmPipelineExecutor).parameters)
    known -= {"pipeline", "tasks", "workers", "logging_dir", "depends"}
    if unknown := sorted(set(slurm) - known):
        raise OptionError(f"there is no setting {unknown[0]!r}; there are {', '.join(sorted(known))}", option="slurm")
    own = {"condaenv", "venv_path", "env_command"} & set(slurm)
    here = {} if own else {"env_command": f'export PATH="{Path(sys.executable).parent}:$PATH"'}
    arguments: dict[str, Any] = SLURM_DEFAULTS | here | slurm
    job = SlurmPipelineExecutor(pipeline, tasks, workers=workers, logging_dir=str(logging_dir), **arguments)
    script = logging_dir / "launch_script.slurm"
    try:
        job.launch_job()
    except FileNotFoundError:
        fix = f"{script} is written: submit it where sbatch is"
        raise MissingDependencyError("sbatch is not on this machine", fix=fix) from None
    except subprocess.CalledProcessError as error:
        problem = f"sbatch does not take it (status {error.returncode})"
        raise OptionError(problem, file=script, option="slurm", fix="check its settings") from None
    finally:
        if job.job_id not in (None, -1):
            (logging_dir / "job_id").write_text(f"{job.job_id}\n", encoding="utf-8")


def queued_job(logging_dir: Path) -> str | None:
    """The Slurm job that was submitted for a folder of logs, where it still waits or runs."""
    try:
        job = (Path(logging_dir) / "job_id").read_text(encoding="utf-8").strip()
        # A job that Slurm has forgotten is an error of squeue's, with nothing on its output.
        found = subprocess.run(["squeue", "-h", "-j", job], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return job if found.stdout.strip() else None
