"""A suite rolled out, scored and reported, in one folder; every stage is kept."""

import json
from pathlib import Path

import pytest
from agent.scripted import Reply, ScriptedBackend

from toolalpaca_hf.agent import RolloutsFailedError, run
from toolalpaca_hf.errors import OptionError, ToolAlpacaError
from toolalpaca_hf.evaluation.evaluate import EvaluationConfig, evaluate_model, evaluate_trajectories
from toolalpaca_hf.evaluation.suite import Suite, read_suite
from toolalpaca_hf.experimental.recorded_runs import evaluate_judged
from toolalpaca_hf.formats import react_prompt
from toolalpaca_hf.storage import StorageError

FILES = {"metrics.json", "instructions.json", "report.html", "report.md", "model_index.json"}


@pytest.fixture(scope="module")
def suite() -> Suite:
    return read_suite("sample")


def knows_all(suite: Suite) -> ScriptedBackend:
    """A model that makes the golden calls of every instruction, then answers."""
    golden = {one.instruction: one.golden_calls for one in suite.instructions}

    def reply(instruction: str, turn: int) -> Reply:
        if turn == len(golden[instruction]):
            return " I know it.\nResponse: It is so."
        call = golden[instruction][turn]
        return f" I look.\nAction: {call.action}\nAction Input: {call.action_input}"

    return ScriptedBackend(reply)


def read(folder: Path, name: str) -> dict:
    return json.loads((folder / name).read_text(encoding="utf-8"))


def test_a_model_that_knows_all_is_right_in_all(suite: Suite, tmp_path: Path) -> None:
    metrics = evaluate_model(suite, knows_all(suite), tmp_path, progress=False)
    assert FILES | {"rollouts"} == {path.name for path in tmp_path.iterdir()}
    assert read(tmp_path, "metrics.json") == metrics
    assert (metrics["n"], metrics["failed"], metrics["missing"]) == (40, 0, 0)
    for name in ("all_functions", "exact_set", "in_order", "arguments"):
        rate = metrics["calls"][name]
        assert rate["value"] == 1.0 and 0.8 < rate["low"] < 1.0 and rate["high"] == 1.0, name
    assert metrics["settings"]["responder"] == "schema" and metrics["settings"]["instructions"] == "sample"

    records = read(tmp_path, "instructions.json")
    assert [(one["api"], one["index"]) for one in records[:2]] == [("Orchard Lane", 0), ("Orchard Lane", 1)]
    # Where the simulator answers a golden call with an error (it knows no such id), the process is not right.
    refused = [one for one in records if one["process_verdict"] == "No"]
    assert len(refused) < 10
    assert all("status" in one["reason"].lower() or "answer" in one["reason"].lower() for one in refused), refused[0][
        "reason"
    ]


def test_a_second_call_asks_the_model_nothing(suite: Suite, tmp_path: Path) -> None:
    first = evaluate_model(suite, knows_all(suite), tmp_path, progress=False)

    def refuse(instruction: str, turn: int) -> Reply:
        raise AssertionError("asked again")

    again = ScriptedBackend(refuse)
    assert evaluate_model(suite, again, tmp_path, progress=False) == first and again.shown == []


def test_a_prompt_is_that_of_the_run(suite: Suite, tmp_path: Path) -> None:
    metrics = evaluate_model(suite, knows_all(suite), tmp_path, limit=2, prompt=react_prompt(2), progress=False)
    assert metrics["n"] == 2 and read(tmp_path / "rollouts", "run.json")["settings"]["tool_hints"] == 2


def test_a_limit_is_the_first_so_many(suite: Suite, tmp_path: Path) -> None:
    assert evaluate_model(suite, knows_all(suite), tmp_path, limit=7, progress=False)["n"] == 7
    assert len(read(tmp_path, "instructions.json")) == 7


def test_failed_rollouts_count_as_wrong(suite: Suite, tmp_path: Path) -> None:
    golden = knows_all(suite)
    unlucky = {one.instruction for one in suite.instructions[:10]}

    def reply(instruction: str, turn: int) -> Reply:
        return ToolAlpacaError("the server is away") if instruction in unlucky else golden.reply(instruction, turn)

    metrics = evaluate_model(suite, ScriptedBackend(reply), tmp_path, progress=False)
    assert (metrics["n"], metrics["failed"]) == (40, 10) and metrics["calls"]["arguments"]["value"] == 0.75
    record = read(tmp_path, "instructions.json")[0]
    assert (record["process_verdict"], record["reason"]) == ("No", "failed: the server is away")


def test_a_model_that_only_fails_is_scored_and_said(suite: Suite, tmp_path: Path) -> None:
    broken = ScriptedBackend(lambda instruction, turn: ToolAlpacaError("the server is away"))
    with pytest.raises(RolloutsFailedError, match="the server is away"):
        evaluate_model(suite, broken, tmp_path, progress=False)
    metrics = read(tmp_path, "metrics.json")
    assert metrics["failed"] == 40 and metrics["process_verdict"]["value"] == 0.0


def test_shares_of_several_processes_are_taken_over(suite: Suite, tmp_path: Path) -> None:
    whole = evaluate_model(suite, knows_all(suite), tmp_path / "whole", progress=False)
    for rank in range(3):
        note = run("sample", knows_all(suite), tmp_path / "split" / "rollouts", progress=False, share=(rank, 3))
        assert note["rollouts"] in (13, 14)
    # One process of three did not come to its end.
    lines = tmp_path / "split" / "rollouts" / "part-1" / "rollouts.jsonl"
    lines.write_bytes(lines.read_bytes()[:-30])
    backend = knows_all(suite)
    split = evaluate_model(suite, backend, tmp_path / "split", progress=False)
    assert len({text.split("\nUSER: ")[1].split("\n")[0] for text in backend.shown}) == 1  # the one that was lost
    for name in ("n", "failed", "calls", "validity", "by", "errors"):
        assert split[name] == whole[name], name
    # A later start with another number of processes repeats nothing.
    backend = knows_all(suite)
    run("sample", backend, tmp_path / "split" / "rollouts", progress=False, share=(0, 2))
    assert backend.shown == []


def test_trajectories_are_scored_without_their_model(suite: Suite, tmp_path: Path) -> None:
    made = evaluate_model(suite, knows_all(suite), tmp_path / "a", progress=False)
    assert made["model"] == "scripted"
    for number, name in enumerate((".", "", "rollouts.jsonl", "trajectories.parquet", "trajectories.json")):
        out, folder = tmp_path / f"b{number}", tmp_path / "a" if name == "." else tmp_path / "a" / "rollouts"
        scored = evaluate_trajectories(suite, folder / name, out)
        assert scored["model"] == "scripted" and scored["settings"]["responder"] == "schema"
        assert {key: scored[key] for key in ("calls", "validity", "by")} == {
            key: made[key] for key in ("calls", "validity", "by")
        }, name
        assert read(out, "instructions.json") == read(tmp_path / "a", "instructions.json"), name


def test_recorded_verdicts_are_counted_as_recorded(real_data: Path, tmp_path: Path) -> None:
    for file in sorted((real_data / "judged").glob("*.verdicts.json")):
        recorded = json.loads(file.read_text(encoding="utf-8"))["statistics"]
        metrics = evaluate_judged(file, tmp_path / file.stem)
        assert metrics["judge"] == recorded and metrics["notes"] == []
        records = read(tmp_path / file.stem, "instructions.json")
        assert len(records) == recorded["num"] == metrics["n"]


def test_verdicts_are_compared_with_peoples(suite: Suite, tmp_path: Path) -> None:
    evaluate_model(suite, knows_all(suite), tmp_path / "a", limit=4, progress=False)
    by_rule = [one["process_verdict"] for one in read(tmp_path / "a", "instructions.json")]
    name = suite.apis[0].name
    people = [*by_rule[:3], "No" if by_rule[3] == "Yes" else "Yes"]
    rows = [f"{name},{index},{said}" for index, said in enumerate(people)]
    (tmp_path / "labels.csv").write_text(
        "\n".join(["api,index,process", *rows, f"{name},nine,Yes", "Other,0,Yes"]), encoding="utf-8"
    )
    config = EvaluationConfig(labels=str(tmp_path / "labels.csv"))
    metrics = evaluate_trajectories(suite.first(4), tmp_path / "a" / "rollouts", tmp_path / "b", config=config)
    found = metrics["agreement_with_labels"]["process_verdict"]["process"]
    assert (found["n"], found["agreement"]) == (4, 0.75)
    assert metrics["agreement_with_labels"]["judge"]["process"]["n"] == 0  # there was none
    first, stranger, wrong = metrics["notes"]
    assert first.startswith("1 row is left out") and "Other 0" in stranger and "line 6" in wrong
    with pytest.raises(OptionError):
        EvaluationConfig(judge_repeats=2)
    with pytest.raises(OptionError) as caught:
        EvaluationConfig(judge_prompt="published")
    assert caught.value.option == "judge_prompt"


def test_a_folder_that_cannot_be_written(suite: Suite, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    evaluate_model(suite, knows_all(suite), tmp_path / "a", limit=1, progress=False)
    with pytest.raises(StorageError):
        evaluate_trajectories(suite, tmp_path / "a" / "rollouts", tmp_path / "file" / "out")
