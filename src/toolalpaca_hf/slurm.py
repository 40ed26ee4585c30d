"""Slurm's part of [`executors`]: a pipeline submitted as a job, and whether that job is still at work."""

import subprocess
import sys
from inspect import signature
from pathlib import Path
from typing import Any

from .errors import ToolAlpacaError

SLURM_DEFAULTS = {"time": "24:00:00", "partition": "cpu", "job_name": "toolalpaca", "qos": ""}


def submit(pipeline: list[Any], tasks: int, workers: int, logging_dir: Path, slurm: dict[str, Any]) -> None:
    """Write the script and give it to `sbatch`; the job's number is noted in the folder.

    Args:
        pipeline (`list`): The steps.
        tasks, workers (`int`): As for [`run_pipeline`].
        logging_dir (`Path`): As for [`run_pipeline`].
        slurm (`dict`): Further arguments of datatrove's `SlurmPipelineExecutor`.

    Raises:
        [`ToolAlpacaError`]: There is no such setting, `sbatch` is not there, or it does not take the script.

    Example:

    ```python
    >>> submit([step], tasks=100, workers=20, logging_dir=Path("logs"), slurm={"partition": "cpu"})  # doctest: +SKIP
    ```
    """
    from datatrove.executor import SlurmPipelineExecutor

    known = set(signature(SlurmPipelineExecutor).parameters) - {
        "pipeline",
        "tasks",
        "workers",
        "logging_dir",
        "depends",
    }
    if unknown := sorted(set(slurm) - known):
        raise ToolAlpacaError(f"slurm has no setting {unknown[0]!r}; it has {', '.join(sorted(known))}")
    here = {"env_command": f'export PATH="{Path(sys.executable).parent}:$PATH"'}
    if {"condaenv", "venv_path", "env_command"} & set(slurm):
        here = {}
    arguments = {**SLURM_DEFAULTS, **here, **slurm}
    job = SlurmPipelineExecutor(pipeline, tasks, workers=workers, logging_dir=str(logging_dir), **arguments)
    try:
        job.launch_job()
    except FileNotFoundError:
        raise ToolAlpacaError(
            f"sbatch is not on this machine; {logging_dir / 'launch_script.slurm'} is written: submit it where sbatch is"
        ) from None
    except subprocess.CalledProcessError as error:
        raise ToolAlpacaError(
            f"sbatch does not take {logging_dir / 'launch_script.slurm'} (status {error.returncode}); "
            "check the settings under slurm"
        ) from None
    finally:
        if job.job_id not in (None, -1):
            (logging_dir / "job_id").write_text(f"{job.job_id}\n", encoding="utf-8")


def queued_job(logging_dir: Path) -> str | None:
    """The Slurm job that was submitted for a folder, where it still waits or runs.

    Args:
        logging_dir (`Path`): As for [`run_pipeline`].

    Example:

    ```python
    >>> queued_job(Path("nowhere"))
    ```
    """
    try:
        job = (Path(logging_dir) / "job_id").read_text(encoding="utf-8").strip()
        # A job that Slurm has forgotten is an error of squeue's, with nothing on its output.
        found = subprocess.run(["squeue", "-h", "-j", job], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return job if found.stdout.strip() else None
