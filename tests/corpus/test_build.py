"""The whole pipeline against a scripted server: twenty APIs of the public list, bad answers of every kind."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from corpus.chat_server import KEY
from corpus.scripted_server import (
    BAD,
    FAILING,
    Scripted,
    ScriptedServer,
    expected_instance,
    expected_taken,
    scripted_apis,
)

from toolalpaca_hf.corpus.entries import Wanted, choose, load_entries, reserved_names, write_entries
from toolalpaca_hf.data.slugs import slug

FILES = ("train_data.json", "instances.jsonl", "apis.jsonl", "corpus.json")
ROLES = ("author", "user", "assistant", "executor")


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDES_KEY", KEY)


@pytest.fixture
def listed(real_data: Path, tmp_path: Path) -> Path:
    """Twenty APIs of the public list, one of each of the first categories."""
    entries = load_entries(real_data / "public_apis.json")
    first: dict[str, Any] = {}
    for entry in entries[100:]:
        first.setdefault(entry.category, entry)
    chosen = choose(list(first.values()), Wanted(reserved=reserved_names(), limit=20))
    write_entries(chosen, tmp_path / "apis.json")
    return tmp_path / "apis.json"


@pytest.fixture
def apis(listed: Path, real_data: Path) -> list[Scripted]:
    evaluation = json.loads((real_data / "eval_simulated.json").read_text(encoding="utf-8"))
    names = [entry.name for entry in load_entries(listed)]
    return scripted_apis(names, evaluation[3]["Instructions"][2])


def config(folder: Path, url: str, real_data: Path, **run: Any) -> Path:
    """A file of settings: a model of its own for each role."""
    shared = {"endpoint": f"{url}/v1", "key_variable": "TIDES_KEY", "timeout": 2.0, "retries": 3}
    settings = {
        "models": shared,
        "roles": {role: {"model": f"{role}-1"} for role in ROLES},
        "instructions": {"per_style": 2, "styles": ["short"]},
        "screen": {"evaluation": [str(real_data / "eval_simulated.json"), str(real_data / "eval_real.json")]},
        "run": {"concurrency": 16, **run},
    }
    path = folder / "corpus.yaml"
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return path


def command(listed: Path, config: Path, out: Path, *more: str) -> list[str]:
    build = [sys.executable, "-m", "toolalpaca_hf.cli", "corpus", "build"]
    return [*build, "--apis", str(listed), "--config", str(config), "--out", str(out), *more]


def digest(out: Path) -> dict[str, str]:
    return {name: hashlib.sha256((out / name).read_bytes()).hexdigest() for name in FILES}


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def served(apis: list[Scripted]) -> Iterator[ScriptedServer]:
    with ScriptedServer(apis) as server:
        yield server


def test_the_corpus_is_as_expected_row_for_row(
    served: ScriptedServer, apis: list[Scripted], listed: Path, real_data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "corpus"
    done = subprocess.run(
        command(listed, config(tmp_path, served.url, real_data), out), capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert served.problems == [], "the server refuses what a real one would"
    assert KEY not in done.stdout + done.stderr
    assert all(KEY.encode() not in path.read_bytes() for path in out.rglob("*") if path.is_file())

    raw = json.loads((out / "train_data.json").read_text(encoding="utf-8"))
    built = [api for api in apis if api.index not in (4, 10)]
    assert [api["Name"] for api in raw] == [api.name for api in built]
    for api, row in zip(built, raw, strict=True):
        assert list(row["Function_Projection"]) == [function["name"] for function in api.functions]
        assert json.loads(row["Documentation"])["paths"] == api.document["paths"]
        kept = [] if api.index in FAILING else expected_taken(api)
        told = [
            {
                "instruction": one["input"].partition("\nHint: ")[0],
                "steps": [
                    (thought_of(step), step[0][0], json.loads(step[0][1]), step[1])
                    for step in one["intermediate_steps"]
                ],
                "final_thought": one["Final Thought"],
                "response": one["output"],
            }
            for one in row["Instances"]
        ]
        assert told == [expected_instance(api, number) for number in kept], BAD.get(api.index)

    instances = rows(out / "instances.jsonl")
    expected = [
        (f"train/{slug(api.name)}/{place}", api.index not in FAILING, FAILING.get(api.index))
        for api in built
        for place, _ in enumerate(expected_taken(api))
    ]
    found = [
        (row["id"], row["kept"], next((gate for gate, reason in row["gates"].items() if reason), None))
        for row in instances
    ]
    assert found == expected


def thought_of(step: Any) -> str:
    return step[0][2].partition("\nASSISTANT Action:")[0].strip()
