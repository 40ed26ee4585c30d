"""The long jobs that `run_chaos.py` kills: their commands, what counts as a finished unit, and what is compared."""

import hashlib
import json
import os
import re
import sys
import threading
import time
from collections.abc import Hashable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "toolformer")]

TOOLALPACA = [sys.executable, "-m", "toolalpaca_hf.cli"]
TIMES = re.compile(r"seconds|took|per_second|runtime|date|time")
"""Keys whose values are times, which no two runs share."""


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def tree(folder: Path, *, but: tuple[str, ...] = ()) -> dict[str, str]:
    """Each file of a folder with a digest of its content, without those whose path matches."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    names = {path.relative_to(folder).as_posix(): path for path in paths}
    return {
        name: digest(path.read_bytes()) for name, path in names.items() if not any(re.search(b, name) for b in but)
    }


def without_times(value: Any) -> Any:
    """JSON without the values that are times."""
    if isinstance(value, dict):
        return {key: without_times(inner) for key, inner in value.items() if not TIMES.search(key)}
    return [without_times(inner) for inner in value] if isinstance(value, list) else value


def json_of(path: Path) -> Any:
    return without_times(json.loads(path.read_text(encoding="utf-8")))


def whole_lines(path: Path, key: str | None) -> dict[str, tuple[Hashable, str]]:
    """Units of a log of JSON lines: where each begins, and its content. A key that comes twice is told by its name."""
    found: dict[str, tuple[Hashable, str]] = {}
    if not path.is_file():
        return found
    at = 0
    for number, line in enumerate(path.read_bytes().splitlines(keepends=True)):
        if line.endswith(b"\n"):
            name = f"{path.name}:{json.loads(line)[key] if key else number}"
            found[f"{name} again" if name in found else name] = (at, digest(line))
        at += len(line)
    return found


def files_as_units(paths: list[Path], root: Path) -> dict[str, tuple[Hashable, str]]:
    """Units that are files: when each was written, and its content."""
    return {
        path.relative_to(root).as_posix(): ((path.stat().st_ino, path.stat().st_mtime_ns), digest(path.read_bytes()))
        for path in paths
    }


class Job:
    """A job, with the inputs it needs in `inputs`.

    Attributes:
        work (`list[str]`): What a server saw it do, a unit each time it is worked on, in order.
    """

    name = ""

    def __init__(self, inputs: Path) -> None:
        self.inputs, self.work = inputs, list[str]()
        inputs.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def ready(self) -> Iterator[None]:
        """Servers run while the `with` block lasts."""
        yield

    def begin(self, out: Path) -> None:
        """A fresh round begins."""

    def command(self, out: Path) -> list[str]:
        raise NotImplementedError

    def environment(self, out: Path) -> dict[str, str]:
        """What is set beside the driver's own variables."""
        return {}

    def units(self, out: Path) -> dict[str, tuple[Hashable, str]]:
        """Finished units: a stamp that changes when a unit is made again, and its content."""
        return {}

    def result(self, out: Path) -> Any:
        raise NotImplementedError

    def progress(self, out: Path) -> Hashable:
        """Something that changes as the work goes on."""
        sizes = []
        for folder, _, names in os.walk(out):  # which passes over folders that are gone meanwhile
            for name in names:
                with suppress(OSError):
                    sizes.append((name, os.stat(os.path.join(folder, name)).st_size))
        return tuple(sorted(sizes))


class DatasetBuild(Job):
    """`dataset_scripts/toolalpaca.py`: a folder that is there whole or not at all."""

    name = "dataset"

    def command(self, out: Path) -> list[str]:
        return [
            sys.executable,
            str(ROOT / "dataset_scripts/toolalpaca.py"),
            "--source",
            "sample",
            "--out",
            f"{out}/built",
        ]

    def units(self, out: Path) -> dict[str, tuple[Hashable, str]]:
        return {"built": (0, digest(str(tree(out / "built")).encode()))} if (out / "built").is_dir() else {}

    def result(self, out: Path) -> Any:
        return tree(out)


class ModelServer:
    """A server of OpenAI's API that calls the first function shown, then answers; and that judges.

    Each request appends the instruction it is about to `work`.
    """

    def __init__(self, work: list[str], seconds: float) -> None:
        from toolalpaca_hf.agent import read_tasks

        self.work, self.seconds, self._lock = work, seconds, threading.Lock()
        # Longest first: one instruction may be part of another.
        self.tasks = sorted(read_tasks("sample").tasks, key=lambda task: -len(task.instruction))

    def play(self, body: dict[str, Any]) -> Any:
        from agent.openai_double import message

        time.sleep(self.seconds)
        asked = "\n".join(str(one["content"]) for one in body["messages"])
        unit = next((task.id for task in self.tasks if task.instruction in asked), None)
        kind = "rollout" if body.get("tools") else "verdict"
        if unit:
            with self._lock:
                self.work.append(f"{kind} {unit}")
        if kind == "verdict":
            return message(JUDGED)
        if body["messages"][-1]["role"] == "tool":
            return message("It is as the tool says.")
        return message("", (body["tools"][0]["function"]["name"], "{}"), finish="tool_calls")

    def __enter__(self) -> "ModelServer":
        from agent.openai_double import openai_double

        self.site = openai_double(self.play)
        self.site.__enter__()
        self.url = f"{self.site.url}/v1"
        return self

    def __exit__(self, *_: object) -> None:
        self.site.__exit__()


JUDGED = "## Results\nProcess Correctness: Yes\nFinal Response Correctness: No"


class Run(Job):
    """`toolalpaca run` of the embedded suite with a model behind a loopback endpoint."""

    name = "run"

    @contextmanager
    def ready(self) -> Iterator[None]:
        with ModelServer(self.work, 0.1) as self.server:
            yield

    def environment(self, out: Path) -> dict[str, str]:
        from agent.openai_double import KEY

        return {"TOOLALPACA_API_KEY": KEY}

    def _model(self) -> list[str]:
        return ["--endpoint", self.server.url, "--model", "gpt-9", "--style", "chat", "--concurrency", "2"]

    def command(self, out: Path) -> list[str]:
        return [*TOOLALPACA, "run", "--apis", "sample", "--out", str(out), *self._model()]

    def units(self, out: Path) -> dict[str, tuple[Hashable, str]]:
        lines = whole_lines(out / "rollouts.jsonl", "id")
        return {name.replace("rollouts.jsonl:", "rollout "): unit for name, unit in lines.items()}

    def result(self, out: Path) -> Any:
        rows = [json.loads(line) for line in (out / "rollouts.jsonl").read_text(encoding="utf-8").splitlines()]
        # Lines are in the order in which rollouts ended.
        made = {"rows": without_times(sorted(rows, key=lambda row: row["id"])), "run": json_of(out / "run.json")}
        return made | {"trajectories.json": digest((out / "trajectories.json").read_bytes())}


class Evaluate(Run):
    """`toolalpaca evaluate` of the same, with a judge."""

    name = "evaluate"

    def command(self, out: Path) -> list[str]:
        judge = ["--judge-endpoint", self.server.url, "--judge-model", "gpt-9", "--judge-concurrency", "2"]
        return [*TOOLALPACA, "evaluate", "--suite", "sample", "--out", str(out), *self._model(), *judge]

    def units(self, out: Path) -> dict[str, tuple[Hashable, str]]:
        verdicts = whole_lines(out / "verdicts.jsonl", "id")
        verdicts = {name.replace("verdicts.jsonl:", "verdict "): unit for name, unit in verdicts.items()}
        return super().units(out / "rollouts") | verdicts

    def result(self, out: Path) -> Any:
        return {"metrics": json_of(out / "metrics.json"), "records": json_of(out / "instructions.json")}


class CorpusOffline(Job):
    """`toolalpaca corpus build --offline` of the embedded training documents."""

    name = "corpus-offline"
    files = ("train_data.json", "instances.jsonl", "apis.jsonl", "corpus.json")

    def command(self, out: Path) -> list[str]:
        from toolalpaca_hf.data import SAMPLE

        build = [*TOOLALPACA, "corpus", "build", "--offline", "--apis", str(SAMPLE / "train.json"), "--out", str(out)]
        return [*build, "--per-api", "24"]

    def units(self, out: Path) -> dict[str, tuple[Hashable, str]]:
        # An API is finished with its last part.
        return files_as_units(sorted((out / "parts" / "simulation").glob("*.json")), out)

    def result(self, out: Path) -> Any:
        return {name: digest((out / name).read_bytes()) for name in self.files}


class CorpusScripted(CorpusOffline):
    """`toolalpaca corpus build` in two tasks, every role played by a scripted server, now and then badly."""

    name = "corpus-scripted"

    def __init__(self, inputs: Path) -> None:
        super().__init__(inputs)
        names = [f"{word} Almanac" for word in "Amber Birch Cedar Dune Ember Fjord Grove Heath Islet Jetty".split()]
        names += [f"{word} Register" for word in "Kiln Larch Mesa North Opal Pier Quay Reef Slate Tarn".split()]
        self.names, self.evaluation = names, "Which lighthouse keeper wrote the longest diary of the winter of 1907?"
        entries = [
            {
                "API": name,
                "Description": f"All that {name} knows.",
                "Link": f"https://{n}.example",
                "Category": f"c{n}",
            }
            for n, name in enumerate(names)
        ]
        (inputs / "apis.json").write_text(json.dumps({"count": len(entries), "entries": entries}))
        suite = [{"Name": "Kept", "Function_Projection": {}, "Instructions": [self.evaluation]}]
        (inputs / "kept.json").write_text(json.dumps(suite))

    @contextmanager
    def ready(self) -> Iterator[None]:
        import yaml
        from corpus.scripted_server import ScriptedServer, scripted_apis

        with ScriptedServer(scripted_apis(self.names, self.evaluation), hang=0.0) as self.server:
            settings = {
                "models": {"endpoint": f"{self.server.url}/v1", "key_variable": "TIDES_KEY", "retries": 3},
                "roles": {role: {"model": f"{role}-1"} for role in ("author", "user", "assistant", "executor")},
                "instructions": {"per_style": 2, "styles": ["short"]},
                "screen": {"evaluation": [str(self.inputs / "kept.json")]},
                "run": {"concurrency": 4, "tasks": 2, "workers": 2},
            }
            (self.inputs / "corpus.yaml").write_text(yaml.safe_dump(settings))
            yield

    def begin(self, out: Path) -> None:
        self.server.bodies.clear()
        for api in self.server.apis:
            api.once.clear()

    def environment(self, out: Path) -> dict[str, str]:
        from corpus.role_server import KEY

        return {"TIDES_KEY": KEY}

    def command(self, out: Path) -> list[str]:
        made = ["--apis", str(self.inputs / "apis.json"), "--config", str(self.inputs / "corpus.yaml")]
        return [*TOOLALPACA, "corpus", "build", *made, "--out", str(out)]

    def units(self, out: Path) -> dict[str, tuple[Hashable, str]]:
        import sqlite3

        found = files_as_units(sorted((out / "parts").glob("*/*.json")), out)
        if (out / "requests.sqlite").is_file():
            database = sqlite3.connect(f"file:{out / 'requests.sqlite'}?mode=ro", uri=True)
            try:
                for name, text in database.execute("SELECT hash, text FROM requests"):
                    found[f"answer {int(name[:7], 16)}"] = (0, digest(text.encode()))
            except sqlite3.OperationalError:  # killed before the table was made
                pass
            finally:
                database.close()
        # What was asked, as the server saw it: a question's seed is made of its hash.
        self.work[:] = [f"answer {body['seed']}" for body in list(self.server.bodies)]
        return found

    def progress(self, out: Path) -> Hashable:
        return len(self.server.bodies)


class Annotate(Job):
    """`toolalpaca toolformer annotate` with a tiny model that was taught to propose calls."""

    name = "annotate"

    def __init__(self, inputs: Path) -> None:
        super().__init__(inputs)
        from proposing import SENTENCES, save_proposer

        if not (inputs / "proposer" / "model.safetensors").is_file():
            save_proposer(inputs / "proposer")
        rows = [{"text": f"{SENTENCES[n % 4]} Number {n}."} for n in range(64)]
        (inputs / "texts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def command(self, out: Path) -> list[str]:
        made = ["--input", str(self.inputs / "texts.jsonl"), "--model", str(self.inputs / "proposer"), "--candidates"]
        thresholds = ["--tau-s", "0", "--k", "4", "--m", "3", "--tau-f", "-50", "--tasks", "2", "--workers", "2"]
        return [*TOOLALPACA, "toolformer", "annotate", *made, "--out", str(out), *thresholds]

    def units(self, out: Path) -> dict[str, tuple[Hashable, str]]:
        found: dict[str, tuple[Hashable, str]] = {}
        for path in sorted(out.glob("annotated-*.jsonl")):
            found |= whole_lines(path, "id")
        return found

    def result(self, out: Path) -> Any:
        made = {}
        for kind in ("annotated", "candidates"):
            paths = sorted(out.glob(f"{kind}-*.jsonl"))
            rows = [json.loads(line) for path in paths for line in path.read_text(encoding="utf-8").splitlines()]
            made[kind] = rows
        return made


def variables(job: Job, out: Path, inputs: Path) -> dict[str, str]:
    """The environment of a job's processes: nobody's caches and keys, no network."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "ACCELERATE_"))}
    kept |= {"HF_HOME": str(inputs / "home"), "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT / "src")}
    kept |= {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1", "TRANSFORMERS_VERBOSITY": "error"}
    return kept | job.environment(out)
