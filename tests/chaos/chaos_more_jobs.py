"""More jobs: training, GRPO, creating a model, the Hub, the benchmarks."""

import json
import re
import sys
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from chaos_jobs import (
    ROOT,
    TOOLALPACA,
    Annotate,
    CorpusOffline,
    CorpusScripted,
    DatasetBuild,
    Evaluate,
    Job,
    Run,
    digest,
    files_as_units,
    json_of,
    whole_lines,
    without_times,
)


class Train(Job):
    """`recipes/sft.py` with a tiny Llama, 24 steps, a checkpoint every second one."""

    name, steps, every = "train", 24, 2

    def __init__(self, inputs: Path) -> None:
        super().__init__(inputs)
        from tiny_models import save_tiny_llama

        if not (inputs / "tiny" / "model.safetensors").is_file():
            save_tiny_llama(inputs / "tiny")

    def command(self, out: Path) -> list[str]:
        fields = {"model_name_or_path": self.inputs / "tiny", "output_dir": out, "max_steps": self.steps}
        fields |= {"save_steps": self.every, "save_total_limit": 2, "logging_steps": 1, "freeze_layers": 0}
        words = [str(part) for name, value in fields.items() for part in (f"--{name}", value)]
        recipe = ROOT / "recipes" / "quickstart" / "sft.yaml"
        return [sys.executable, str(ROOT / "recipes/sft.py"), "--config", str(recipe), *words]

    def units(self, out: Path) -> dict[str, tuple[Hashable, str]]:
        """Steps that a whole checkpoint holds, each with what was logged for it."""
        found: dict[str, tuple[Hashable, str]] = {}
        for path in sorted(out.glob("checkpoint-*/trainer_state.json"), key=lambda path: path.stat().st_mtime_ns):
            try:
                history = json.loads(path.read_text(encoding="utf-8"))["log_history"]
            except ValueError:  # it is the last file of a checkpoint, and was being written
                continue
            for row in history:
                if "loss" in row:
                    found[f"step {row['step']}"] = (0, digest(json.dumps(without_times(row)).encode()))
        return found

    def result(self, out: Path) -> Any:
        return {"weights": digest((out / "model.safetensors").read_bytes()), "metrics": json_of(out / "metrics.json")}


class Grpo(Train):
    """`recipes/grpo.py` with the same model, 6 steps, a checkpoint each."""

    name, steps, every = "grpo", 6, 1

    def command(self, out: Path) -> list[str]:
        fields = {"model_name_or_path": self.inputs / "tiny", "source": "sample", "max_steps": self.steps}
        fields |= {"output_dir": out, "use_cpu": True, "bf16": False, "report_to": "none", "num_generations": 2}
        fields |= {"max_completion_length": 16, "per_device_train_batch_size": 2, "gradient_accumulation_steps": 1}
        fields |= {"freeze_layers": 1, "save_steps": self.every, "save_total_limit": 2}
        words = [str(part) for name, value in fields.items() for part in (f"--{name}", value)]
        recipe = ROOT / "recipes" / "quickstart" / "grpo.yaml"
        return [sys.executable, str(ROOT / "recipes/grpo.py"), "--config", str(recipe), *words]

    def result(self, out: Path) -> Any:
        return {"weights": digest((out / "model.safetensors").read_bytes()), "rewards": json_of(out / "rewards.json")}


class Create(Train):
    """`toolalpaca create` of the example document with the same model."""

    name = "create"

    def command(self, out: Path) -> list[str]:
        base = ["--base", str(self.inputs / "tiny"), "--per-api", "16", "--max-steps", "4", "--json"]
        return [*TOOLALPACA, "create", str(ROOT / "examples" / "petstore.yaml"), "--out", str(out), *base]

    def units(self, out: Path) -> dict[str, tuple[Hashable, str]]:
        """Stages, by the seconds they took, and rollouts."""
        found: dict[str, tuple[Hashable, str]] = {}
        if (out / "stages.json").is_file():
            stages = json.loads((out / "stages.json").read_text(encoding="utf-8"))
            found |= {f"stage {name}": (0, str(seconds)) for name, seconds in stages.items()}
        for name in ("before", "after"):
            lines = whole_lines(out / name / "rollouts" / "rollouts.jsonl", "id")
            found |= {f"{name} {line}": unit for line, unit in lines.items()}
        return found

    def result(self, out: Path) -> Any:
        metrics = json_of(out / "metrics.json")
        metrics["training"] = {name: metrics["training"][name] for name in ("steps", "num_tokens", "final_loss")}
        return {"metrics": metrics, "weights": digest((out / "model" / "model.safetensors").read_bytes())}


class Publish(Job):
    """`toolalpaca publish dataset` to a Hub on loopback: a repo of its own each round."""

    name = "publish"

    def __init__(self, inputs: Path) -> None:
        super().__init__(inputs)
        from toolalpaca_hf.data import make_prompt, resolve_sources, write_repo

        if not (inputs / "sample").is_dir():
            write_repo(resolve_sources("sample"), inputs / "sample", make_prompt("react"))

    @contextmanager
    def ready(self) -> Iterator[None]:
        from hub.hub_server import HubServer

        with HubServer(self.repos()) as self.hub:
            self.hub.slow = 0.05
            yield

    def repos(self) -> dict[str, dict[str, bytes]]:
        return {}

    def begin(self, out: Path) -> None:
        out.mkdir(parents=True, exist_ok=True)
        self.hub.large.uploads.clear()
        self.hub.seen.clear()

    def environment(self, out: Path) -> dict[str, str]:
        from hub.hub_server import OWNER

        home = {"HF_HOME": str(out / "home"), "HF_ENDPOINT": self.hub.url, "HF_TOKEN": OWNER}
        return home | {"HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0"}

    def _repo(self, out: Path) -> str:
        return f"me/{out.name}"

    def command(self, out: Path) -> list[str]:
        return [*TOOLALPACA, "publish", "dataset", str(self.inputs / "sample"), "--repo-id", self._repo(out)]

    def units(self, out: Path) -> dict[str, tuple[Hashable, str]]:
        """Large files that the Hub has, and commits."""
        self.work[:] = [f"upload {oid}" for oid in self.hub.large.uploads]
        found: dict[str, tuple[Hashable, str]] = {unit: (0, unit) for unit in self.work}
        repo = self.hub.repos.get(f"datasets/{self._repo(out)}")
        found |= {f"commit {commit.sha}": (0, commit.summary) for commit in (repo.commits.values() if repo else ())}
        return found

    def result(self, out: Path) -> Any:
        repo = self.hub.repos[f"datasets/{self._repo(out)}"]
        files = {path: digest(content.replace(out.name.encode(), b"")) for path, content in repo.files.items()}
        return {"commits": [commit.summary for commit in repo.commits.values()], "files": files}

    def progress(self, out: Path) -> Hashable:
        return len(self.hub.seen)


class Fetch(Publish):
    """`toolalpaca fetch` of a tiny model from a Hub on loopback into an empty cache."""

    name = "fetch"

    def __init__(self, inputs: Path) -> None:
        Job.__init__(self, inputs)
        from tiny_models import save_tiny_llama

        if not (inputs / "tiny" / "model.safetensors").is_file():
            save_tiny_llama(inputs / "tiny")

    def repos(self) -> dict[str, dict[str, bytes]]:
        return {"org/tiny": {path.name: path.read_bytes() for path in (self.inputs / "tiny").iterdir()}}

    def begin(self, out: Path) -> None:
        self.hub.seen.clear()

    def command(self, out: Path) -> list[str]:
        return [*TOOLALPACA, "fetch", "org/tiny"]

    def _blobs(self, out: Path) -> list[Path]:
        blobs = (out / "home" / "hub").glob("models--org--tiny/blobs/*")
        return sorted(path for path in blobs if not path.name.endswith(".incomplete"))

    def units(self, out: Path) -> dict[str, tuple[Hashable, str]]:
        """Files of the cache that are whole."""
        return files_as_units(self._blobs(out), out)

    def result(self, out: Path) -> Any:
        [snapshot] = (out / "home" / "hub" / "models--org--tiny" / "snapshots").iterdir()
        return {path.name: digest(path.read_bytes()) for path in snapshot.iterdir()}


class Bench(Job):
    """`benchmarks/page.py`, what `make bench` runs, over its three quickest benchmarks."""

    name = "bench"
    scripts = ("segments_to_labels", "scoring", "environments")

    def command(self, out: Path) -> list[str]:
        page = [sys.executable, str(ROOT / "benchmarks" / "page.py"), "--out", str(out / "measured")]
        (out / "page").mkdir(parents=True, exist_ok=True)
        return [*page, "--page", str(out / "page"), "--only", *self.scripts]

    def units(self, out: Path) -> dict[str, tuple[Hashable, str]]:
        return files_as_units(sorted((out / "measured").glob("*.json")), out)

    def result(self, out: Path) -> Any:
        """Its figures are times: what is compared is their tables' form, and the page's headings."""
        tables = {}
        for path in sorted((out / "measured").glob("*.json")):
            made = json.loads(path.read_text(encoding="utf-8"))["tables"]
            tables[path.name] = [(table["columns"], len(table["rows"])) for table in made]
        page = (out / "page" / "RESULTS.md").read_text(encoding="utf-8")
        return {"tables": tables, "headings": re.findall(r"^#.*", page, re.MULTILINE)}


JOBS: dict[str, Callable[[Path], Job]] = {
    kind.name: kind
    for kind in (
        *(DatasetBuild, Run, Evaluate, CorpusOffline, CorpusScripted, Annotate),
        *(Train, Grpo, Create, Publish, Fetch, Bench),
    )
}  # fmt: skip
