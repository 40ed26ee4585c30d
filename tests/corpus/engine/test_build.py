"""The whole pipeline against a scripted server: twenty APIs of the public list, bad answers of every kind."""

import hashlib
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from corpus.role_server import KEY
from corpus.scripted_server import (
    BAD,
    FAILING,
    SET_ASIDE,
    Scripted,
    ScriptedServer,
    expected_instance,
    expected_taken,
    scripted_apis,
)
from tiny_models import save_tiny_llama

from toolalpaca_hf.corpus import CorpusConfig
from toolalpaca_hf.corpus.engine.collect import CorpusFolder
from toolalpaca_hf.corpus.engine.pipeline import build_corpus
from toolalpaca_hf.corpus.engine.stages import Decontaminate
from toolalpaca_hf.corpus.toolset.entries import (
    EntryFilter,
    load_entries,
    reserved_names,
    select_entries,
    write_entries,
)
from toolalpaca_hf.data import ListedApi, make_prompt, resolve_sources, slug, write_repo
from toolalpaca_hf.errors import OptionError, SettingsMismatchError

ROOT = Path(__file__).parents[3]
FILES = ("train_data.json", "instances.jsonl", "apis.jsonl", "corpus.json")
ROLES = ("author", "user", "assistant", "executor")
ENVIRONMENT = {**os.environ, "TIDES_KEY": KEY}


@pytest.fixture(scope="module")
def listed(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty APIs of the public list, of as many categories as there are in it."""
    first: dict[str, Any] = {}
    for entry in load_entries(real_data / "public_apis.json")[100:]:
        first.setdefault(entry.category, entry)
    path = tmp_path_factory.mktemp("list") / "apis.json"
    write_entries(select_entries(list(first.values()), EntryFilter(reserved=reserved_names(), limit=20)), path)
    return path


def scripted(listed: Path, real_data: Path) -> list[Scripted]:
    evaluation = json.loads((real_data / "eval_simulated.json").read_text(encoding="utf-8"))
    return scripted_apis([entry.name for entry in load_entries(listed)], evaluation[3]["Instructions"][2])


def config(folder: Path, url: str, real_data: Path, **run: Any) -> Path:
    """A file of settings: a model of its own for each role."""
    settings = {
        "models": {"endpoint": f"{url}/v1", "key_variable": "TIDES_KEY", "timeout": 2.0, "retries": 3},
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


def run(*parts: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*parts), capture_output=True, text=True, timeout=240, env=ENVIRONMENT)


def digest(out: Path) -> dict[str, str]:
    return {name: hashlib.sha256((out / name).read_bytes()).hexdigest() for name in FILES}


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def undisturbed(listed: Path, real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A corpus that was made in one go, by one task."""
    folder = tmp_path_factory.mktemp("undisturbed")
    with ScriptedServer(scripted(listed, real_data)) as server:
        done = run(listed, config(folder, server.url, real_data), folder / "corpus")
        assert done.returncode == 0, done.stderr[-3000:]
        assert server.problems == [], "the server refuses what a real one would"
    assert KEY not in done.stdout + done.stderr
    return folder / "corpus"


def test_the_dataset_is_as_expected_row_for_row(undisturbed: Path, listed: Path, real_data: Path) -> None:
    raw = json.loads((undisturbed / "train_data.json").read_text(encoding="utf-8"))
    built = [api for api in scripted(listed, real_data) if api.index not in SET_ASIDE]
    assert [api["Name"] for api in raw] == [api.name for api in built]
    for api, row in zip(built, raw, strict=True):
        assert list(row["Function_Projection"]) == [function["name"] for function in api.functions]
        assert json.loads(row["Documentation"])["paths"] == api.document["paths"]
        kept = [] if api.index in FAILING else expected_taken(api)
        told = [
            {
                "instruction": one["input"].partition("\nHint: ")[0],
                "steps": [
                    (thought_of(text), action, json.loads(given), observation)
                    for (action, given, text), observation in one["intermediate_steps"]
                ],
                "final_thought": one["Final Thought"],
                "response": one["output"],
            }
            for one in row["Instances"]
        ]
        assert told == [expected_instance(api, number) for number in kept], BAD.get(api.index)


def thought_of(text: str) -> str:
    return text.partition("\nASSISTANT Action:")[0].strip()


def test_what_is_not_kept_is_there_with_its_reason(undisturbed: Path, listed: Path, real_data: Path) -> None:
    apis = scripted(listed, real_data)
    expected = [
        (f"train/{slug(api.name)}/{place}", FAILING.get(api.index))
        for api in apis
        for place, _ in enumerate(expected_taken(api))
    ]
    instances = rows(undisturbed / "instances.jsonl")
    gates = [next((gate for gate, reason in row["gates"].items() if reason), None) for row in instances]
    assert [(row["id"], gate) for row, gate in zip(instances, gates, strict=True)] == expected
    assert [row["kept"] for row in instances] == [gate is None for gate in gates]
    told = rows(undisturbed / "apis.jsonl")
    assert [row["entry"]["name"] for row in told] == [api.name for api in apis]
    assert {index: row["set_aside"] for index, row in enumerate(told) if row["set_aside"]} == {
        4: told[4]["set_aside"],
        7: f"its document is that of train/{slug(apis[0].name)}",
        10: "no usable introduction in 4 attempts; the last: the model refused",
    }
    assert '"responses" is a required property' in told[4]["set_aside"]
    left_out = {index: [one["reason"] for one in row["instructions"]["left_out"]] for index, row in enumerate(told)}
    assert {index: reasons for index, reasons in left_out.items() if reasons} == {
        11: [
            "names the API",
            "has a place to be filled in",
            "repeats an instruction of its API",
        ],
        12: ["is in the evaluation set"],
        13: ["is close to an instruction of another API"],
    }
    note = json.loads((undisturbed / "corpus.json").read_text(encoding="utf-8"))
    counts = ("entries", "apis", "set_aside", "copies", "taken", "instances", "kept", "gates")
    assert {name: note[name] for name in counts} == {
        "entries": 20, "apis": 17, "set_aside": 3, "copies": 1, "taken": 32, "instances": 32, "kept": 28,
        "gates": {"grounded": 2, "supported": 2},
    }  # fmt: skip


def test_each_row_says_how_it_came_to_be(undisturbed: Path) -> None:
    for row in rows(undisturbed / "instances.jsonl"):
        told = row["provenance"]
        asked = told["asked"]
        assert {role: one["model"] for role, one in asked.items()} == {role: f"{role}-1" for role in asked}
        calls = [step for step in row["trajectory"]["steps"] if step["action"] != "getDetails"]
        assert asked["assistant"]["calls"] - asked["assistant"]["retries"] == len(row["trajectory"]["steps"]) + 1
        assert asked["executor"]["calls"] - asked["executor"]["retries"] == len(calls)
        assert asked["assistant"]["prompt_tokens"] == 11 * asked["assistant"]["calls"]
        assert set(told["prompts"]) == {"user", "assistant", "executor"} and told["api"]["id"] == row["api"]


def test_no_key_is_left_anywhere(undisturbed: Path) -> None:
    files = [path for path in undisturbed.rglob("*") if path.is_file()]
    assert len(files) > 80 and [path for path in files if KEY.encode() in path.read_bytes()] == []


def kept_seeds(folder: Path) -> set[int]:
    """The questions whose answers are kept, by the seeds that were made of them."""
    database = sqlite3.connect(folder / "requests.sqlite")
    names = [name for (name,) in database.execute("SELECT hash FROM requests")]
    database.close()
    return {int(name[:7], 16) for name in names}


@pytest.mark.slow
def test_killed_anywhere_it_ends_in_the_same_files(
    undisturbed: Path, listed: Path, real_data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "corpus"
    with ScriptedServer(scripted(listed, real_data)) as server:
        settings = config(tmp_path, server.url, real_data)
        kept: list[tuple[int, set[int]]] = []
        # Another number of tasks each time; with two, it is the parent that is killed.
        for calls, tasks in ((30, "1"), (75, "2"), (125, "1")):
            process = subprocess.Popen(
                command(listed, settings, out, "--tasks", tasks),
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=ENVIRONMENT,
            )  # fmt: skip
            while len(server.bodies) < calls:
                assert process.poll() is None, "it ended before it was killed"
                time.sleep(0.005)
            process.send_signal(signal.SIGKILL)
            process.wait()
            time.sleep(0.5)  # the workers end with their parent
            kept.append((len(server.bodies), kept_seeds(out)))
            assert len(kept[-1][1]) >= calls - 2 * 16 - 5, "answers are kept as they come"
            time.sleep(0.3)
            assert len(server.bodies) == kept[-1][0], "a worker goes on without its parent"
        done = run(listed, settings, out, "--tasks", "2")
        assert done.returncode == 0, done.stderr[-3000:]
        for begun, seeds in kept:
            assert not seeds & {body["seed"] for body in server.bodies[begun:]}, (
                "an answer that was kept was asked for"
            )
        assert digest(out) == digest(undisturbed)
        whole = len(server.bodies)
        assert run(listed, settings, out).returncode == 0 and digest(out) == digest(undisturbed)
        assert len(server.bodies) == whole, "what is finished is finished"


@pytest.mark.slow
def test_it_stops_at_a_budget_and_goes_on_with_a_larger_one(
    undisturbed: Path, listed: Path, real_data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "corpus"
    with ScriptedServer(scripted(listed, real_data)) as server:
        settings = config(tmp_path, server.url, real_data)
        done = run(listed, settings, out, "--dry-run")
        assert done.returncode == 0 and server.bodies == [] and not out.exists()
        expected = int(re.search(r"together +([\d,]+) calls", done.stdout)[1].replace(",", ""))  # type: ignore[index]  # it has to match
        for calls in (20, 100):
            done = run(listed, settings, out, "--budget-calls", str(calls))
            assert done.returncode == 3, done.stderr[-3000:]
            words = (
                f"the budget of {calls} calls is spent; what is answered is kept, and the same command with a larger"
            )
            assert words in done.stderr and "Traceback" not in done.stderr
            kept = sqlite3.connect(out / "requests.sqlite").execute("SELECT COUNT(*) FROM requests").fetchone()
            assert kept == (calls,)
        assert run(listed, settings, out, "--budget-calls", "5000").returncode == 0
        assert digest(out) == digest(undisturbed)
        spent = sqlite3.connect(out / "requests.sqlite").execute("SELECT SUM(calls) FROM spent").fetchone()[0]
        assert 0.5 < expected / spent < 2, f"{expected} calls were expected, and {spent} made"


@pytest.mark.slow
def test_a_server_that_is_away_leaves_all_to_the_next_run(
    undisturbed: Path, listed: Path, real_data: Path, tmp_path: Path
) -> None:
    out = tmp_path / "corpus"
    with ScriptedServer(scripted(listed, real_data)) as server:
        port = server.host
        settings = config(tmp_path, server.url, real_data)
        assert run(listed, settings, out, "--budget-calls", "60").returncode == 3
    done = run(listed, settings, out)
    assert done.returncode == 2 and f"http://{port}/v1 cannot be reached" in done.stderr.replace("\n", " ")
    with ScriptedServer(scripted(listed, real_data)) as server:
        moved = config(tmp_path, server.url, real_data)  # it may come back at another address
        assert run(listed, moved, out).returncode == 0
        assert digest(out) == digest(undisturbed)


def test_other_settings_are_no_way_to_go_on(
    undisturbed: Path, listed: Path, real_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIDES_KEY", KEY)
    path = config(tmp_path, "http://127.0.0.1:9", real_data)
    settings, entries = CorpusConfig.load(path), load_entries(listed)
    with pytest.raises(OptionError) as other_apis:
        build_corpus(entries[:3], undisturbed, settings)
    assert other_apis.value.option == "--apis"
    path.write_text(path.read_text(encoding="utf-8").replace("model: user-1", "model: user-2"), encoding="utf-8")
    with pytest.raises(SettingsMismatchError) as other_settings:
        build_corpus(entries, undisturbed, CorpusConfig.load(path))
    assert other_settings.value.differences == {"roles.user.model": ("user-1", "user-2")}


def test_hidden_details_are_held_against_the_evaluation_sets(tmp_path: Path) -> None:
    """The instruction leaks nothing, and what its user says when asked is an evaluation instruction."""
    leaking = "When is high tide in Bergen on Friday?"
    (tmp_path / "sets.json").write_text(
        json.dumps([{"Name": "Sea", "Function_Projection": {}, "Instructions": [leaking]}]), encoding="utf-8"
    )
    given = {"models": {"endpoint": "http://127.0.0.1:9/v1", "model": "gpt-9"}}
    settings = CorpusConfig.load(None, {**given, "screen": {"evaluation": [str(tmp_path / "sets.json")]}})
    folder = CorpusFolder(tmp_path / "corpus")
    written = [
        {
            "instruction": "Tell me what I need to know about the sea.",
            "details": leaking,
            "style": "short",
            "mood": "",
        },
        {"instruction": "Which harbour is the nearest one?", "details": "", "style": "short", "mood": ""},
    ]
    with folder.opened({}, [ListedApi("Tides", "", "", "")]):
        folder.write("toolset", 0, {"api": {"id": "train/tides"}})
        folder.write("instructions", 0, {"written": written})
    assert len(list(Decontaminate(folder.path, settings).run())) == 1
    assert folder.read("screen", 0) == {
        "taken": written[1:],
        "left_out": [{"instruction": written[0]["instruction"], "reason": "is in the evaluation set"}],
    }


def test_the_dataset_script_takes_it(undisturbed: Path, tmp_path: Path) -> None:
    script = [sys.executable, str(ROOT / "dataset_scripts" / "toolalpaca.py")]
    done = subprocess.run(
        [*script, "--source", str(undisturbed), "--out", str(tmp_path / "made")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    files = {
        name: next((tmp_path / "made" / name).glob("*.parquet")) for name in ("apis", "trajectories", "sft", "chat")
    }
    rows_of = {name: pq.read_table(file).to_pylist() for name, file in files.items()}
    assert {config: len(found) for config, found in rows_of.items()} == {
        "apis": 17, "trajectories": 28, "sft": 28, "chat": 28
    }  # fmt: skip
    kept = [row["row"] for row in rows(undisturbed / "instances.jsonl") if row["kept"]]
    assert [row["id"] for row in rows_of["trajectories"]] == kept
    hints = {row["hint"] for row in rows_of["trajectories"] if row["hint"]}
    assert len(hints) == 1 and "The place is" in hints.pop()


@pytest.mark.slow
def test_the_recipe_trains_on_it(undisturbed: Path, tmp_path: Path) -> None:
    made = tmp_path / "made"
    write_repo(resolve_sources(str(undisturbed)), made, make_prompt("react"))
    values = {
        "model_name_or_path": save_tiny_llama(tmp_path / "tiny-llama"),
        "dataset_name": made,
        "max_steps": 1,
        "logging_steps": 1,
        "freeze_layers": 0,
        "output_dir": tmp_path / "run",
    }
    recipe = [sys.executable, str(ROOT / "recipes" / "sft.py"), "--config", str(ROOT / "recipes/quickstart/sft.yaml")]
    done = subprocess.run(
        [*recipe, *(part for name, value in values.items() for part in (f"--{name}", str(value)))],
        capture_output=True,
        text=True,
        env={**os.environ, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / "run" / "model.safetensors").is_file()
