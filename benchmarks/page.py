"""Run every benchmark in its short form and write the page of results, benchmarks/RESULTS.md, with its pictures.

    python benchmarks/page.py
    python benchmarks/page.py --only scoring rollouts
    python benchmarks/page.py --from build/bench

Each benchmark runs in a process of its own with a time limit; one that fails costs no other. What was measured stays
in `--out`, a JSON file a benchmark, and the same command after a kill goes on with what is missing. The page is
rendered from these files and nothing else. It exits with 1 where a benchmark failed: that one is named here, and not
on the page.
"""

import argparse
import fcntl
import importlib.metadata
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from measured import PARENT, cells

HERE = Path(__file__).resolve().parent
JUDGED = HERE.parents[1] / "shared" / "data" / "toolalpaca" / "judged"
LIBRARIES = ("torch", "transformers", "trl", "peft", "accelerate", "datasets", "tokenizers", "fastapi", "uvicorn")


@dataclass(frozen=True)
class Benchmark:
    """One script in its short form: its name, its heading, the seconds it may take, what it needs beside Python."""

    name: str
    title: str
    seconds: int
    program: str = ""
    install: str = ""


BENCHMARKS = (
    Benchmark("segments_to_labels", "Segments to labels", 180),
    Benchmark("prefix_packing", "Prefix packing", 900),
    Benchmark("training_profile", "Where training time goes", 240),
    Benchmark("rollouts", "Rollouts", 600),
    Benchmark("simulator_throughput", "Simulator", 120, "wrk", "apt-get install wrk, or brew install wrk"),
    Benchmark("environments", "Environments", 120),
    Benchmark("scoring", "Scoring", 120),
    Benchmark("process_verdict", "Verdicts by rule", 120),
    Benchmark("corpus_build", "Building a corpus", 240),
    Benchmark("toolformer_annotation", "Annotation of text", 600),
)


def read(path: Path) -> dict[str, Any]:
    """A benchmark's file, checked.

    Raises:
        `ValueError`: If it is not what README.md says, in one sentence.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from None
    tables = record.get("tables") if isinstance(record, dict) else None
    if not isinstance(tables, list) or not tables:
        raise ValueError(f"{path} has no tables")
    for number, one in enumerate(tables, 1):
        shaped = isinstance(one, dict) and all(isinstance(one.get(key), list) for key in ("columns", "rows"))
        if not shaped or not one["columns"] or not all(isinstance(row, list | dict) for row in one["rows"]):
            raise ValueError(f"{path}: table {number} is not made of columns and rows")
        try:
            cells(one)
        except TypeError:
            raise ValueError(f"{path}: table {number} has a cell that is neither text nor a number") from None
    for number, one in enumerate(record.get("pictures", []), 1):
        name = one.get("file") if isinstance(one, dict) else one
        # A file of results may come from elsewhere: nothing outside its folder is copied.
        if not isinstance(name, str) or Path(name).name != name or not name.endswith(".png"):
            raise ValueError(f"{path}: picture {number} is not the name of a PNG beside it")
        if not (path.parent / name).is_file():
            raise ValueError(f"{path}: its picture {name} is missing")
    return record


def machine() -> dict[str, str]:
    """Processor, cores, memory, accelerator, system."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        names = [
            line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        cpu = names[0] if names else cpu
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    found = {
        "processor": cpu,
        "cores": str(cores),
        "memory": f"{memory:.0f} GiB",
        "system": platform.platform(terse=True),
    }
    if shutil.which("nvidia-smi"):
        asked = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"]
        found["accelerator"] = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
    return {key: value for key, value in found.items() if value}


def circumstances() -> dict[str, Any]:
    """What a figure depends on beside the code that is timed."""
    asked = ["git", "-C", str(HERE), "describe", "--always", "--dirty", "--abbrev=10", "--exclude", "*"]
    commit = (
        subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
        if shutil.which("git")
        else ""
    )
    versions = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": commit,
        "machine": machine(),
        "versions": versions,
        "load": round(os.getloadavg()[0], 1),
    }


def measure(one: Benchmark, arguments: list[str], folder: Path, limit: float, lock: int) -> None:
    """Run a benchmark and put its figures into the folder.

    Raises:
        `ValueError`: If it fails, takes too long, or writes something else.
    """
    running = folder / "running"
    shutil.rmtree(running, ignore_errors=True)
    running.mkdir(parents=True)
    log, target = folder / f"{one.name}.log", running / f"{one.name}.json"
    command = [sys.executable, str(HERE / f"{one.name}.py"), "--quick", *arguments, "--json", str(target)]
    around = circumstances()
    with log.open("w", encoding="utf-8") as output:
        # A session of its own: what it starts ends with it. It ends with this script, by a pipe that closes then, and
        # holds the lock until it does, so that a second run does not measure beside it.
        watched, held = os.pipe()
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            pass_fds=[lock, watched],
            env={**os.environ, PARENT: str(watched)},
        )
        os.close(watched)
        try:
            code = process.wait(limit)
        except subprocess.TimeoutExpired:
            raise ValueError(f"it took longer than {limit:.0f} s, see {log}") from None
        finally:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            process.wait()
            os.close(held)
    if code:
        last = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:] or ["it said nothing"]
        raise ValueError(f"{last[0][:200]} (exit status {code}, see {log})")
    record = read(target) | {"measured": around}
    for picture in running.glob("*.png"):
        os.replace(picture, folder / picture.name)
    target.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    os.replace(target, folder / target.name)


def run(options: argparse.Namespace) -> list[str]:
    """Measure what is missing; what failed, a line each."""
    folder: Path = options.out
    folder.mkdir(parents=True, exist_ok=True)
    failed = []
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(
                f"waiting: another run, or a benchmark of one that was killed, is still at work in {folder}",
                flush=True,
            )
            fcntl.flock(lock, fcntl.LOCK_EX)
        chosen = [one for one in BENCHMARKS if not options.only or one.name in options.only]
        if options.fresh:
            for one in chosen:
                (folder / f"{one.name}.json").unlink(missing_ok=True)
        for number, one in enumerate(chosen, 1):
            arguments = []
            if one.name == "process_verdict":
                if options.judged is None:
                    print(f"{one.name} is left out: it needs recorded verdicts (--judged FOLDER)", flush=True)
                    continue
                arguments = ["--judged", str(options.judged)]
            if (folder / f"{one.name}.json").is_file():
                print(f"{one.name} has been measured (--fresh measures anew)", flush=True)
                continue
            if one.program and shutil.which(one.program) is None:
                print(f"{one.name} is left out: {one.program} is missing ({one.install})", flush=True)
                continue
            print(f"{one.name} ({number} of {len(chosen)}) ...", end=" ", flush=True)
            start = time.perf_counter()
            try:
                measure(one, arguments, folder, options.limit or one.seconds, lock.fileno())
                print(f"{time.perf_counter() - start:.0f} s", flush=True)
            except ValueError as error:
                failed.append(f"{one.name}: {error}")
                print(f"failed: {error}", flush=True)
    return failed


def render(folder: Path, out: Path) -> list[str]:
    """Write RESULTS.md and its pictures into `out` from a folder's JSON files; what is wrong with one, a line each."""
    order = {one.name: number for number, one in enumerate(BENCHMARKS)}
    titles = {one.name: one.title for one in BENCHMARKS}
    records, wrong, drawn = [], [], {}
    for path in sorted(folder.glob("*.json"), key=lambda path: (order.get(path.stem, len(order)), path.stem)):
        try:
            record = read(path)
        except ValueError as error:
            wrong.append(str(error))
            continue
        pictures = []
        for one in record.get("pictures", []):
            one = {"file": one} if isinstance(one, str) else one
            pictures.append({"file": one["file"], "title": one.get("title") or titles.get(path.stem, path.stem)})
            drawn[one["file"]] = path.parent / one["file"]
        tables = [
            one | {"cells": [[escaped(cell) for cell in line] for line in cells(one)]} for one in record["tables"]
        ]
        records.append(record | {"title": titles.get(path.stem, path.stem), "tables": tables, "pictures": pictures})
    if not records:
        return [*wrong, f"{folder} holds no figures: nothing was written"]
    (out / "pictures").mkdir(parents=True, exist_ok=True)
    for old in (out / "pictures").glob("*.png"):
        old.unlink()
    for name, source in drawn.items():
        shutil.copyfile(source, out / "pictures" / name)
    environment = Environment(
        loader=FileSystemLoader(HERE),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    page = environment.get_template("results.md.jinja").render(records=records, around=shared(records))
    (out / "RESULTS.md").write_text(page, encoding="utf-8")
    return wrong


def shared(records: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Machine, versions, commit and date, each with every value that the records have."""
    lines: dict[str, list[str]] = {}
    for record in records:
        known = record.get("measured", {})
        found = {**known.get("machine", {}), "commit": known.get("commit"), "date": known.get("date", "")[:10]}
        found["versions"] = ", ".join(f"{name} {version}" for name, version in known.get("versions", {}).items())
        for name, value in found.items():
            if value and value not in lines.setdefault(name, []):
                lines[name].append(value)
    return [(name, "; ".join(values)) for name, values in lines.items() if values]


def escaped(cell: str) -> str:
    """A cell that cannot end its column."""
    return cell.replace("|", "\\|").replace("\n", " ")


def main() -> None:
    """Measure, render, say what failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("build/bench"), help="folder of what was measured")
    parser.add_argument("--page", type=Path, default=HERE, help="folder of RESULTS.md and pictures/")
    parser.add_argument("--only", nargs="+", choices=[one.name for one in BENCHMARKS], help="run these alone")
    parser.add_argument("--fresh", action="store_true", help="measure anew what has been measured")
    parser.add_argument("--from", dest="source", type=Path, help="measure nothing, render what this folder holds")
    parser.add_argument(
        "--judged",
        type=Path,
        default=Path(os.path.relpath(JUDGED)) if JUDGED.is_dir() else None,
        help="folder of recorded verdicts; without it they are left out",
    )
    parser.add_argument("--limit", type=float, help="seconds a benchmark may take, instead of its own limit")
    options = parser.parse_args()
    failed = [] if options.source else run(options)
    failed += render(options.source or options.out, options.page)
    print(f"\n{options.page / 'RESULTS.md'}")
    for line in failed:
        print(f"NOT ON THE PAGE: {line}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
