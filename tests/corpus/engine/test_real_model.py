"""The whole pipeline with SmolLM2-135M in every role: it runs to its end, and says honestly how little passes."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from serving import transformers_serve

from toolalpaca_hf.checkpoints import resolve_model

ROOT = Path(__file__).parents[3]
RECIPE = ROOT / "recipes" / "corpus" / "smollm2.yaml"
ENTRY = {"Name": "Harbour Tides", "Description": "Times of high water", "Link": "https://tides.org", "Category": "Sea"}

pytestmark = pytest.mark.slow


def small(folder: Path) -> Path:
    """The recipe for SmolLM2 with the fewest tokens that lead through its steps."""
    settings = yaml.safe_load(RECIPE.read_text(encoding="utf-8"))
    settings["toolset"] |= {"attempts": 1, "functions_tokens": 128, "document_tokens": 192}
    settings["instructions"] |= {"per_style": 1, "max_tokens": 64}
    settings["screen"] = {"evaluation": []}
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return path


def build(folder: Path, *models: str) -> dict[str, Any]:
    """What `corpus.json` says of a corpus of one API."""
    (folder / "apis.json").write_text(json.dumps([ENTRY]), encoding="utf-8")
    command = [sys.executable, "-m", "toolalpaca_hf.cli", "corpus", "build", "--config", str(small(folder)), *models]
    done = subprocess.run(
        [*command, "--apis", str(folder / "apis.json"), "--out", str(folder / "corpus")],
        capture_output=True,
        text=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    note = json.loads((folder / "corpus" / "corpus.json").read_text(encoding="utf-8"))
    assert f"{note['kept']} of {note['instances']} instances kept" in done.stdout.replace("\n", " ")
    return note


def assert_honest(folder: Path, note: dict[str, Any]) -> None:
    """What is told agrees with itself, and nothing that is not kept is without its reason."""
    assert (note["entries"], note["apis"] + note["set_aside"]) == (1, 1)
    assert note["kept"] <= note["instances"] == note["taken"] <= note["instructions"] <= note["written"]
    (api,) = [json.loads(line) for line in (folder / "corpus" / "apis.jsonl").read_text().splitlines()]
    assert (api["api"] is None) == bool(api["set_aside"]) and api["attempts"]["introduction"] == 1
    rows = [json.loads(line) for line in (folder / "corpus" / "instances.jsonl").read_text().splitlines() if line]
    assert all(row["kept"] or any(row["gates"].values()) or row["provenance"]["failure"] for row in rows)
    report = (folder / "corpus" / "corpus_report.md").read_text(encoding="utf-8")
    assert f"| - that passed every gate | {note['kept']} |" in report
    assert ("was set aside: " in report) == bool(note["set_aside"])


@pytest.mark.parametrize("constrained", [True, False])
def test_on_this_machine(tmp_path: Path, constrained: bool) -> None:
    note = build(tmp_path, "--local", "smollm2", "--constrained" if constrained else "--unconstrained")
    assert_honest(tmp_path, note)
    # The introduction is text, whatever comes after it is JSON.
    author = note["asked"]["author"]
    assert author["enforced"] == (author["calls"] - 1 if constrained else 0)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[str, str]]:
    with transformers_serve(tmp_path / "serve.log") as url:
        yield url, resolve_model("smollm2")


def test_behind_transformers_serve(tmp_path: Path, served: tuple[str, str]) -> None:
    """Which takes `response_format` and passes over it: that is found out, and no answer is said to be held to it."""
    url, model = served
    note = build(tmp_path, "--endpoint", url, "--model", model)
    assert_honest(tmp_path, note)
    assert note["asked"]["author"]["enforced"] == 0
