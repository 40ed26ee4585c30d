"""A run: its folder, its files, and what survives a kill."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pyarrow.parquet as pq
import pytest
from agent.scripted import Reply, ScriptedBackend
from datasets import load_dataset

from toolalpaca_hf.agent import RolloutsFailedError, kept_rollouts, read_tasks, run, write_traces
from toolalpaca_hf.agent.run_folder import RunFolder
from toolalpaca_hf.data import read_corpus, resolve_sources
from toolalpaca_hf.errors import InputError, NotFoundError, OptionError, ToolAlpacaError
from toolalpaca_hf.features import ROLLOUT_FEATURES
from toolalpaca_hf.simulator import running
from toolalpaca_hf.storage import FileInUseError, StorageError

ANSWER = " I know it.\nResponse: It is so."


def first_function(instruction: str, turn: int) -> Reply:
    """Calls the first function of the API once, without arguments, then answers."""
    if turn:
        return ANSWER
    task = next(task for task in read_tasks("sample").tasks if task.instruction == instruction)
    return f" I look.\nAction: {task.api.functions[0].name}\nAction Input: {{}}"


def lines(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "rollouts.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("continuous", [True, False])
def test_a_run_leaves_three_files(tmp_path: Path, continuous: bool) -> None:
    backend = ScriptedBackend(first_function, continuous=continuous)
    note = run("sample", backend, tmp_path, progress=False, unreadable_after=64)
    tasks = read_tasks("sample").tasks
    assert note["ended"] == {"answered": len(tasks)} and note["steps"] == len(tasks)
    assert json.loads((tmp_path / "run.json").read_text()) == note
    assert note["settings"]["model"] == "scripted" and note["settings"]["limits"]["steps"] == 10
    assert note["settings"]["limits"]["unreadable_after"] == 64

    table = load_dataset(
        "parquet", data_files=str(tmp_path / "trajectories.parquet"), split="train", cache_dir=tmp_path
    )
    assert table.features == ROLLOUT_FEATURES
    assert table["id"][:] == [task.id for task in tasks]

    # The raw layout, read by the reader of the published files: instances in the order of the instructions.
    raw = json.loads((tmp_path / "trajectories.json").read_text(encoding="utf-8"))
    published = json.loads(Path(resolve_sources("sample").eval_simulated[0].path).read_text(encoding="utf-8"))
    for api, source in zip(raw, published, strict=True):
        assert api["Instructions"] == source["Instructions"]
        assert [instance["input"] for instance in api["Instances"]] == source["Instructions"]
        for key in ("Name", "Function_Projection", "Function_Description", "Golden_Answers"):
            assert api[key] == source[key], key
        assert json.loads(api["Documentation"]) == json.loads(source["Documentation"])
    again = read_corpus(resolve_sources(train=tmp_path / "trajectories.json")).trajectories["train"]
    assert [one.steps for one in again] == [
        [type(again[0].steps[0])(**step) for step in row["steps"]] for row in lines_in_order(tmp_path)
    ]
    assert {one.response for one in again} == {"It is so."}


def lines_in_order(folder: Path) -> list[dict]:
    place = {task.id: i for i, task in enumerate(read_tasks("sample").tasks)}
    return sorted(lines(folder), key=lambda row: place[row["id"]])


def test_a_limit_can_be_raised_and_nothing_is_repeated(tmp_path: Path) -> None:
    first = ScriptedBackend(first_function)
    assert run("sample", first, tmp_path, limit=3, progress=False)["rollouts"] == 3
    kept = (tmp_path / "rollouts.jsonl").read_bytes()
    raw = json.loads((tmp_path / "trajectories.json").read_text(encoding="utf-8"))
    assert raw[0]["Instances"][3] == {"input": raw[0]["Instructions"][3], "error": "not run"}
    second = ScriptedBackend(first_function)
    assert run("sample", second, tmp_path, limit=5, progress=False)["rollouts"] == 5
    assert (tmp_path / "rollouts.jsonl").read_bytes().startswith(kept)
    assert len(first.shown) == 6 and len(second.shown) == 4
    third = ScriptedBackend(first_function)
    run("sample", third, tmp_path, limit=5, progress=False)
    assert not third.shown


def test_what_is_finished_is_looked_up_once_and_not_for_each_task(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 200,000 rollouts, going on with the last tenth took over ten minutes."""
    asked, finished = [], RunFolder.finished.fget
    assert finished is not None
    monkeypatch.setattr(RunFolder, "finished", property(lambda self: asked.append(1) or finished(self)))
    run("sample", ScriptedBackend(first_function), tmp_path, limit=9, progress=False)
    assert 0 < len(asked) < 5


def test_the_files_of_a_run_are_written_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("sample", ScriptedBackend(first_function), tmp_path / "whole", progress=False)
    monkeypatch.setattr("toolalpaca_hf.agent.run_folder.GROUP", 3)
    run("sample", ScriptedBackend(first_function), tmp_path / "parts", progress=False)
    whole, parts = (pq.ParquetFile(tmp_path / name / "trajectories.parquet") for name in ("whole", "parts"))
    assert parts.num_row_groups > whole.num_row_groups == 1
    without = ("seconds",)
    assert whole.read().drop_columns(without).equals(parts.read().drop_columns(without))


def test_what_failed_is_tried_again(tmp_path: Path) -> None:
    gone = ScriptedBackend(lambda instruction, turn: ToolAlpacaError("the server is gone"))
    with pytest.raises(RolloutsFailedError, match="the server is gone"):
        run("sample", gone, tmp_path, limit=4, progress=False)
    note = run("sample", ScriptedBackend(first_function), tmp_path, limit=4, progress=False)
    assert note["ended"] == {"answered": 4} and len(lines(tmp_path)) == 8


def test_an_interrupted_run_has_no_file_that_looks_whole(tmp_path: Path) -> None:
    run("sample", ScriptedBackend(first_function), tmp_path, limit=4, progress=False)
    assert (tmp_path / "trajectories.parquet").is_file()
    asked = 0

    def stopped(instruction: str, turn: int) -> Reply:
        nonlocal asked
        asked += 1
        if asked > 8:
            raise KeyboardInterrupt
        return first_function(instruction, turn)

    with pytest.raises(KeyboardInterrupt):
        run("sample", ScriptedBackend(stopped), tmp_path, limit=12, progress=False)
    names = {path.name for path in tmp_path.iterdir()}
    assert not names & {"trajectories.parquet", "trajectories.json"} and len(lines(tmp_path)) >= 4
    assert kept_rollouts(tmp_path).startswith(f"{len(lines(tmp_path))} rollouts")
    again = ScriptedBackend(first_function)
    assert run("sample", again, tmp_path, limit=12, progress=False)["rollouts"] == 12
    assert (tmp_path / "trajectories.parquet").is_file()


def test_a_model_is_loaded_last(tmp_path: Path) -> None:
    def load() -> ScriptedBackend:
        pytest.fail("the model was loaded")

    (tmp_path / "keys.env").write_text("no pair")
    (tmp_path / "raw.json").write_text("[")
    run("sample", ScriptedBackend(first_function), tmp_path / "out", limit=1, progress=False)
    wrong: list[dict] = [
        {"apis": tmp_path / "none.json"},
        {"apis": tmp_path / "raw.json"},
        {"tools": ["no such tool"]},
        {"real": True, "credentials": tmp_path / "keys.env"},
        {"max_steps": 3},
        {"seed": 7},
        *({"real": True} | unused for unused in ({"store": "s"}, {"responder": "llm"}, {"simulator": "http://x"})),
        {"simulator": "http://x", "faults": "0.2"},
    ]
    for one in wrong:
        given = {"apis": "sample", "backend": load, "out": tmp_path / "out", "progress": False} | one
        with pytest.raises(ToolAlpacaError):
            run(**given)
    backend = ScriptedBackend(first_function)
    assert run("sample", lambda: backend, tmp_path / "out", limit=2, progress=False)["rollouts"] == 2


def test_other_settings_are_another_run(tmp_path: Path) -> None:
    run("sample", ScriptedBackend(first_function), tmp_path, limit=2, progress=False)
    with pytest.raises(ToolAlpacaError, match="model 'scripted', now 'another'"):
        run("sample", ScriptedBackend(first_function, name="another"), tmp_path, limit=2, progress=False)
    with pytest.raises(ToolAlpacaError, match="limits"):
        run("sample", ScriptedBackend(first_function), tmp_path, max_steps=1, progress=False)


def test_a_line_cut_off_is_made_again(tmp_path: Path) -> None:
    run("sample", ScriptedBackend(first_function), tmp_path, limit=3, progress=False)
    path = tmp_path / "rollouts.jsonl"
    path.write_bytes(path.read_bytes()[:-40])
    second = ScriptedBackend(first_function)
    assert run("sample", second, tmp_path, limit=3, progress=False)["rollouts"] == 3
    assert len(second.shown) == 2 and len(lines(tmp_path)) == 3


def test_a_line_that_is_damaged_is_named(tmp_path: Path) -> None:
    run("sample", ScriptedBackend(first_function), tmp_path, limit=3, progress=False)
    path = tmp_path / "rollouts.jsonl"
    damaged = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join([damaged[0], "{oh\n", damaged[2]]), encoding="utf-8")
    with pytest.raises(InputError):
        run("sample", ScriptedBackend(first_function), tmp_path, limit=3, progress=False)


def test_a_line_that_is_no_rollout_is_named_and_no_trace(tmp_path: Path) -> None:
    run("sample", ScriptedBackend(first_function), tmp_path, limit=1, progress=False)
    path = tmp_path / "rollouts.jsonl"
    whole, (row,) = path.read_text(encoding="utf-8"), lines(tmp_path)
    steps: list[Any] = [None, 1, {}, [1], [{"action": "findTide"}], [row["steps"][0] | {"observation": 1}]]
    damaged = [{"ended": "answered"}, *(row | {"steps": value} for value in steps), row | {"tokens": "9", "ended": []}]
    for values in damaged:
        path.write_text(whole + json.dumps(values | {"id": "mine"}) + "\n", encoding="utf-8")
        with pytest.raises(InputError) as refused:
            run("sample", ScriptedBackend(first_function), tmp_path, limit=1, progress=False)
        assert refused.value.row == "mine"
        assert write_traces(tmp_path, tmp_path / "out") == 1 and kept_rollouts(tmp_path).startswith("1 ")


def test_what_a_later_version_adds_to_a_step_is_passed_over(tmp_path: Path) -> None:
    run("sample", ScriptedBackend(first_function), tmp_path, limit=1, progress=False)
    (row,) = lines(tmp_path)
    row["steps"] = [step | {"took": 0.5} for step in row["steps"]]
    (tmp_path / "rollouts.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    assert run("sample", ScriptedBackend(first_function), tmp_path, limit=1, progress=False)["rollouts"] == 1
    assert write_traces(tmp_path, tmp_path / "out") == 1


def test_two_runs_do_not_share_a_folder(tmp_path: Path) -> None:
    def reply(instruction: str, turn: int) -> Reply:
        with pytest.raises(FileInUseError):
            run("sample", ScriptedBackend(first_function), tmp_path, limit=1, progress=False)
        return ANSWER

    assert run("sample", ScriptedBackend(reply), tmp_path, limit=1, progress=False)["ended"] == {"answered": 1}


SLOW_RUN = r"""
import sys, time
sys.path.insert(0, sys.argv[1])
from agent.scripted import ScriptedBackend
from agent.test_run import first_function
from toolalpaca_hf.agent import run

def reply(instruction, turn):
    time.sleep(0.04)
    sys.stdout.write(f"{instruction} {turn}\n")  # one write: threads do not mix inside it
    sys.stdout.flush()
    return first_function(instruction, turn)

run("sample", ScriptedBackend(reply, continuous=sys.argv[3] == "continuous", width=2), sys.argv[2], progress=False)
"""


@pytest.mark.parametrize("mode", ["continuous", "side by side"])
def test_a_kill_loses_only_what_was_under_way(tmp_path: Path, mode: str) -> None:
    command = [sys.executable, "-c", SLOW_RUN, str(Path(__file__).parents[1]), str(tmp_path / "run"), mode]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    written = tmp_path / "run" / "rollouts.jsonl"
    until = time.monotonic() + 60
    while not (written.exists() and written.read_bytes().count(b"\n") >= 5):
        assert time.monotonic() < until and process.poll() is None
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    finished = {row["id"] for row in lines(tmp_path / "run")}
    assert 5 <= len(finished) < 40
    asked = set()

    def reply(instruction: str, turn: int) -> Reply:
        asked.add(instruction)
        return first_function(instruction, turn)

    tasks, rest = read_tasks("sample").tasks, ScriptedBackend(reply, continuous=mode == "continuous", width=2)
    run("sample", rest, tmp_path / "run", progress=False)
    again = {task.id for task in tasks if task.instruction in asked}
    assert again == {task.id for task in tasks} - finished
    assert len(lines(tmp_path / "run")) == len(tasks) == len({row["id"] for row in lines(tmp_path / "run")})
    assert (tmp_path / "run" / "trajectories.parquet").exists()


def test_a_full_disk_is_one_sentence_and_loses_nothing(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource", reason="limits on the size of files are a thing of Unix")
    run("sample", ScriptedBackend(first_function), tmp_path, limit=4, progress=False)
    kept = (tmp_path / "rollouts.jsonl").read_bytes()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(kept) + 10, before[1]))
    try:
        with pytest.raises(StorageError):
            run("sample", ScriptedBackend(first_function), tmp_path, limit=5, progress=False)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert run("sample", ScriptedBackend(first_function), tmp_path, limit=5, progress=False)["rollouts"] == 5
    assert (tmp_path / "rollouts.jsonl").read_bytes().startswith(kept)


@pytest.mark.parametrize(
    ("file", "kind"), [("absent.json", NotFoundError), ("broken.json", InputError), ("list.json", InputError)]
)
def test_a_bad_file_is_an_error_with_its_name_and_no_folder(
    tmp_path: Path, file: str, kind: type[ToolAlpacaError]
) -> None:
    (tmp_path / "broken.json").write_text('[{"Name": ')
    (tmp_path / "list.json").write_text("[1, 2]")
    with pytest.raises(kind) as caught:
        run(tmp_path / file, ScriptedBackend(first_function), tmp_path / "out")
    assert str(caught.value.file) == str(tmp_path / file)
    assert not (tmp_path / "out").exists()


def test_a_simulator_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ToolAlpacaError, match=r"no simulator at http://127\.0\.0\.1:9 "):
        run("sample", ScriptedBackend(first_function), tmp_path, simulator="http://127.0.0.1:9")


@pytest.mark.parametrize("name", ["eval_simulated", "eval_real"])
def test_every_published_instruction_can_be_begun(tmp_path: Path, real_data: Path, name: str) -> None:
    source = read_tasks(real_data / f"{name}.json")

    def reply(instruction: str, turn: int) -> Reply:
        if turn:
            return ANSWER
        asked = [task for task in source.tasks if task.instruction.split("\n")[0] == instruction]
        return f" I look.\nAction: {asked[0].api.functions[-1].name}\nAction Input: {{}}"

    note = run(real_data / f"{name}.json", ScriptedBackend(reply, width=16), tmp_path, progress=False)
    assert note["ended"] == {"answered": {"eval_simulated": 100, "eval_real": 114}[name]}
    assert source.tasks[0].id.startswith(f"{name}/")
    rows = lines(tmp_path)
    assert not [
        row for row in rows if "no operation for" in row["steps"][0]["observation"] and name == "eval_simulated"
    ]
    assert sum("Status Code: 200" in row["steps"][0]["observation"] for row in rows) > 5


def test_instructions_of_ones_own_for_any_documented_api(tmp_path: Path) -> None:
    served = read_tasks("sample").apis
    function = served[0].functions[0].name

    def reply(instruction: str, turn: int) -> Reply:
        return ANSWER if turn else f" I look.\nAction: {function}\nAction Input: {{}}"

    with running(served) as url:
        place = httpx.get(f"{url}/health").json()["apis"][0]["path"]
        host = url.removeprefix("http://")
        note = run(
            f"{url}{place}",  # the plugin manifest, which names the document, which names the server
            ScriptedBackend(reply),
            tmp_path,
            real=True,
            allow_private=[host],
            instructions=["What is there?", "And then?"],
            progress=False,
        )
    assert note["ended"] == {"answered": 2}
    first, second = sorted(lines(tmp_path), key=lambda row: row["id"])
    assert (first["instruction"], second["instruction"]) == ("What is there?", "And then?")
    assert first["steps"][0]["observation"].startswith(("Status Code: ", "Missing required "))
    with pytest.raises(OptionError):
        run(tmp_path / "other.json", ScriptedBackend(reply), tmp_path / "x", instructions=["Hi", " "])
    with pytest.raises(ToolAlpacaError, match="is neither an OpenAPI document"):
        (tmp_path / "other.json").write_text("{}")
        run(tmp_path / "other.json", ScriptedBackend(reply), tmp_path / "x", instructions=["x"])
