"""Upstream's evaluation outputs: made-up ones with everything that can be wrong, and three published runs."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolalpaca_hf.agent import read_tasks
from toolalpaca_hf.data import LeftOut
from toolalpaca_hf.errors import ToolAlpacaError
from toolalpaca_hf.experimental.recorded_runs import evaluate_judged, read_recorded, recorded_attempts
from toolalpaca_hf.metrics import JudgePrompt, judge_prompt, judge_statistics
from toolalpaca_hf.schema import Api, Call, Instruction, Step

TIDES = Api("eval_real/tides", "Tides", nl_documentation="findTide: The tide.\n## Task Instruction\nNot this one.")
ASKED = [
    Instruction(f"{TIDES.id}/{i}", TIDES.id, f"High tide at port {i}?", [Call("findTide", "{}")]) for i in range(3)
]
PROMPT = JudgePrompt(
    "made up",
    "Judge.\n## Documentation\n${documentation}\n\n## Task Instruction\n${instruction}\n\n## Standard Answer\n"
    "${standard}\n\n## AI Assistant's Solution\n${solution}\n\n## Analysis",
    None,
    returns="Retruns",
)
STEP = Step("", "findTide", '{"port": "Brest"}', "At noon")


def entry(index: int, steps: list[Step], response: str, process: str = "Yes", final: str = "No") -> dict[str, Any]:
    content = judge_prompt(TIDES, ASKED[index], steps, response, PROMPT)
    return {
        "id": index,
        "input": [{"role": "user", "content": content}],
        "output": f"So.\n## Results\nProcess Correctness: {process}\nFinal Response Correctness: {final}",
        "process_correctness": process,
        "final_response_correctness": final,
    }


def write(path: Path, entries: list[Any], statistics: dict[str, Any] | None = None, **more: Any) -> Path:
    path.write_text(json.dumps({"statistics": statistics or {}, "Tides": entries, **more}), encoding="utf-8")
    return path


STATISTICS = {
    "num": 2,
    "error_num": 1,
    "process": {"Yes": 1, "No": 0, "Uncertain": 0},
    "response": {"Yes": 0, "No": 1, "Uncertain": 0},
    "both": 0,
}
EMPTY = {"id": 1, "input": "", "output": ""}


def counted(records: list[dict[str, Any]]) -> dict[str, Any]:
    return judge_statistics([record["judge"] for record in records], len(records))


def test_a_file_is_read_again(tmp_path: Path) -> None:
    file = write(tmp_path / "out.json", [entry(0, [STEP], "At noon."), EMPTY], STATISTICS)
    records, differences = read_recorded(file)
    assert differences == [] and counted(records) == STATISTICS
    first, second = records
    assert (first["id"], first["api"], first["index"], first["failed"]) == ("Tides/0", "Tides", 0, False)
    assert (first["judge"]["process"], first["judge"]["response"], first["judge"]["error"]) == ("Yes", "No", "")
    assert (second["failed"], second["judge"]["process"], second["error"]) == (True, None, "nothing was judged")


def test_every_difference_is_named(tmp_path: Path) -> None:
    wrong = entry(0, [STEP], "At noon.") | {"process_correctness": "No"}
    foreign = entry(2, [STEP], "At noon.") | {"output": "Process Correctness: oui"}
    statistics = STATISTICS | {"both": 1, "process": {"Yes": 2}, "response": 7}
    records, differences = read_recorded(write(tmp_path / "out.json", [wrong, EMPTY, foreign], statistics))
    told = "\n".join(differences)
    assert "Tides/0 has process_correctness 'No', its text says 'Yes'" in told
    assert "Tides/2 has process_correctness 'Yes', its text says None" in told
    assert "Tides/2 has final_response_correctness 'No', its text says None" in told
    for words in ("num 2, the texts give 3", "error_num 1, the texts give 2", "both 1, the texts give 0"):
        assert words in told
    assert "process.Yes 2, the texts give 1" in told and "response.No None, the texts give 1" in told
    assert counted(records)["process"] == {"Yes": 1, "No": 0, "Uncertain": 0}  # malformed is no No


def test_a_bad_entry_is_named_and_costs_itself_only(tmp_path: Path) -> None:
    good, other = entry(0, [STEP], "At noon."), entry(0, [STEP], "At one.", "No")
    odd = {"id": 2, "input": [{"role": "user", "content": 5}], "output": None}
    bad = ["text", None, {"input": ""}, {"id": True}, {"id": "1"}, {"id": -1}]
    file = write(tmp_path / "out.json", [*bad, good, other, odd], Ports=[EMPTY], Broken={"id": 0})
    records, differences = read_recorded(file)
    # What has no id, or none that is one, stands at its place; place 2 belongs to the entry that says so itself.
    ids = [f"Tides/{index}" for index in (3, 1, 5, 0, 2)]
    assert [record["id"] for record in records] == [*ids, "Ports/1"]
    told = "\n".join(differences)
    for place in (0, 1, 2, 3, 5, 7):
        assert f"entry {place} of Tides" in told
    assert "Broken is no list" in told
    assert sum(isinstance(problem, LeftOut) for problem in differences) == 5
    assert records[3]["judge"]["process"] == "Yes"
    attempts, problems = recorded_attempts(file, [TIDES], ASKED)
    assert [attempt.ended for attempt in attempts] == ["answered", "failed", "failed"]
    assert attempts[0].trajectory is not None and attempts[0].trajectory.response == "At noon."
    assert any("no API Ports" in problem for problem in problems)
    assert all(problem in problems for problem in differences if "statistics" not in problem)


@pytest.mark.parametrize("text", ['{"statistics": {}, "Tides": [', "[]", '{"Tides": []}', '{"statistics": 5}'])
def test_a_file_that_is_none(tmp_path: Path, text: str) -> None:
    file = tmp_path / "out.json"
    file.write_text(text, encoding="utf-8")
    for read in (lambda: read_recorded(file), lambda: recorded_attempts(file, [TIDES], ASKED)):
        with pytest.raises(ToolAlpacaError) as caught:
            read()
        assert str(file) in str(caught.value)


def test_attempts_are_rebuilt_in_the_order_of_the_suite(tmp_path: Path) -> None:
    file = write(tmp_path / "out.json", [entry(2, [STEP, STEP], "Two."), EMPTY, entry(0, [STEP], "")])
    attempts, problems = recorded_attempts(file, [TIDES], ASKED)
    assert problems == [] and [attempt.instruction for attempt in attempts] == ASKED
    assert [attempt.failed for attempt in attempts] == [False, True, False]
    assert [attempt.index for attempt in attempts] == [0, 1, 2] and attempts[1].text is None
    last = attempts[2]
    assert last.trajectory is not None and last.trajectory.steps == [STEP, STEP] and last.text is not None
    assert (last.trajectory.id, last.trajectory.response) == ("eval_real/tides/2", "Two.")


def test_an_entry_of_another_suite_is_named(tmp_path: Path) -> None:
    stranger = entry(1, [STEP], "At noon.") | {"id": 0}
    file = write(tmp_path / "out.json", [stranger, {**EMPTY, "id": 9}])
    attempts, problems = recorded_attempts(file, [TIDES], ASKED)
    assert {attempt.ended for attempt in attempts} == {"missing"}
    assert "Tides/0 is about another instruction" in problems[0] and "no instruction 9 of Tides" in problems[1]


def test_a_solution_without_call_and_end_counts_as_failed(tmp_path: Path) -> None:
    cut = entry(0, [], "At noon.")
    content = cut["input"][0]["content"]
    cut["input"][0]["content"] = content[: content.index("1. Final Response")]
    attempts, problems = recorded_attempts(write(tmp_path / "out.json", [cut]), [TIDES], ASKED)
    assert attempts[0].failed and attempts[0].text and "cannot be read" in problems[0]


RETURNS = ("Retruns", "Returns", "Response", "Responses", "Observation", "returned", "API Response", "Return value ")


@pytest.mark.parametrize("returns", RETURNS)
@pytest.mark.parametrize("steps", [[STEP], [STEP, STEP]])
def test_calls_without_a_final_response_are_read(tmp_path: Path, returns: str, steps: list[Step]) -> None:
    cut = entry(0, steps, "At noon.")
    content = cut["input"][0]["content"]
    cut["input"][0]["content"] = content[: content.index(f"{len(steps) + 1}. Final Response")].replace(
        "Retruns", returns
    )
    attempts, problems = recorded_attempts(write(tmp_path / "out.json", [cut]), [TIDES], ASKED)
    assert problems == [] and attempts[0].trajectory is not None and not attempts[0].failed
    assert attempts[0].trajectory.steps == steps and attempts[0].trajectory.response == ""


def test_a_prompt_is_found_wherever_it_stands_and_statistics_may_be_missing(tmp_path: Path) -> None:
    whole = entry(0, [STEP], "At noon.")
    prompt = whole["input"][0]["content"]
    asked = [{"role": "system", "content": "You judge."}, {"role": "user", "content": prompt}]
    parts = {"role": "user", "content": [{"type": "text", "text": prompt}]}
    lines = prompt.replace("\n", "\r\n")
    for name, sent in (
        ("text", prompt),
        ("messages", asked),
        ("message", asked[1]),
        ("parts", [parts]),
        ("lines", lines),
    ):
        file = tmp_path / f"{name}.json"
        file.write_text(json.dumps({"Tides": [whole | {"input": sent}]}), encoding="utf-8")
        attempts, problems = recorded_attempts(file, [TIDES], ASKED)
        assert problems == [] and attempts[0].trajectory is not None and attempts[0].trajectory.steps == [STEP]
        records, differences = read_recorded(file)
        assert differences == [] and counted(records)["process"]["Yes"] == 1
    file.write_text(json.dumps({"Tides": [{"id": 0}]}), encoding="utf-8")
    with pytest.raises(ToolAlpacaError):
        read_recorded(file)


@pytest.mark.parametrize("file", ["verdicts_without_ids", "verdicts_with_step_ids", "verdicts_of_a_fork"])
def test_statistics_come_back_as_recorded(cases: Path, tmp_path: Path, file: str) -> None:
    path = cases / "evaluation" / f"{file}.json"
    records, differences = read_recorded(path)
    assert differences == [] and counted(records) == json.loads(path.read_text(encoding="utf-8"))["statistics"]
    metrics = evaluate_judged(path, tmp_path / "out")
    assert metrics["judge"] == counted(records) and metrics["notes"] == []


def test_several_verdicts_on_an_instruction(cases: Path) -> None:
    records, _ = read_recorded(cases / "evaluation" / "verdicts_with_step_ids.json")
    ids = [(record["id"], record["index"]) for record in records]
    assert ids == [("Tides/0|0", 0), ("Tides/0|1", 0), ("Tides/1|0", 1), ("Huts/0|0", 0), ("Huts/1|0", 1)]


@pytest.mark.parametrize(
    ("first", "second", "third"),
    [
        ("1|0", "1|1", "0|0"),
        ("1 | 0", "1 | 1", "0 | 0"),
        ([1, 0], [1, 1], [0, 0]),
        ("(1, 0)", "(1, 1)", "(0, 0)"),
        ("1#a", "1#b", "0#a"),
        ("1a", "1b", "0a"),
        (1.0, 1.5, 0.0),
        ("#1", "#1/2", "#0"),
        ("01", "1.", "0"),
    ],
)
def test_ids_in_other_notations_name_their_instruction(tmp_path: Path, first: Any, second: Any, third: Any) -> None:
    entries = [
        entry(place, [STEP], "At noon.") | {"id": name} for place, name in ((1, first), (1, second), (0, third))
    ]
    records, _ = read_recorded(write(tmp_path / "out.json", entries))
    assert [record["index"] for record in records] == [1, 1, 0] and counted(records)["num"] == 3
    attempts, problems = recorded_attempts(tmp_path / "out.json", [TIDES], ASKED)
    assert [attempt.ended for attempt in attempts] == ["answered", "answered", "missing"] and len(problems) == 1


def test_hashes_and_uuids_are_no_numbers(tmp_path: Path) -> None:
    ids = ["3f2504e0-4f89-11d3-9a0c-0305e82c3301", "7c9e6679", "550e8400-e29b-41d4-a716-446655440000"]
    entries = [entry(0, [STEP], "At noon.") | {"id": name} for name in ids]
    assert [record["index"] for record in read_recorded(write(tmp_path / "out.json", entries))[0]] == [0, 1, 2]


def test_verdicts_without_their_texts_are_counted(tmp_path: Path) -> None:
    kept = [{"id": 0, "process_correctness": "yes", "final_response_correctness": "No"}, {"id": 1}]
    file = write(tmp_path / "judged.json", kept, STATISTICS)
    records, problems = read_recorded(file)
    assert counted(records) == STATISTICS and not problems
    assert [record["failed"] for record in records] == [False, True]


def test_what_a_fork_leaves_out_is_no_difference(tmp_path: Path) -> None:
    bare = {name: value for name, value in entry(0, [STEP], "At noon.").items() if "correctness" not in name}
    loud = entry(1, [STEP], "At noon.") | {"process_correctness": " yes", "final_response_correctness": "NO"}
    counts = {"num": 2, "error_num": 0, "process": {"Yes": 2}, "response": {"No": 2.0}}
    answer = {"role": "assistant", "content": bare["output"]}
    records, differences = read_recorded(write(tmp_path / "out.json", [bare | {"output": answer}, loud], counts))
    assert differences == [] and counted(records)["process"]["Yes"] == 2


def test_the_first_of_several_is_scored_and_the_others_are_said(tmp_path: Path) -> None:
    several = [entry(0, [STEP], "At noon.") | {"id": f"0|{step}"} for step in range(3)]
    attempts, problems = recorded_attempts(
        write(tmp_path / "out.json", [EMPTY | {"id": "1|0"}, *several]), [TIDES], ASKED
    )
    assert [attempt.ended for attempt in attempts] == ["answered", "failed", "missing"]
    assert len(problems) == 1 and "2 further verdicts" in problems[0]


def test_where_everything_is_left_out_the_number_and_the_reason_are_said(tmp_path: Path) -> None:
    with pytest.raises(ToolAlpacaError, match="101 rows are left out, 100 of them") as caught:
        read_recorded(write(tmp_path / "out.json", ["text"] * 100, Broken=5))
    assert "is no object" in str(caught.value)


def test_the_calls_of_a_fork_are_read(cases: Path) -> None:
    file = cases / "evaluation" / "verdicts_of_a_fork.json"
    tides = Api("eval_real/tides", "Tides")
    asked = Instruction("eval_real/tides/0", tides.id, "When is high tide in Brest today?", [Call("findTide", "{}")])
    (attempt,), problems = recorded_attempts(file, [tides], [asked])
    assert problems == [] and attempt.trajectory is not None and attempt.trajectory.response == ""
    observation = 'Status Code: 200. Response: {"high": "12:40"}'
    assert attempt.trajectory.steps == [Step("", "findTide", '{"port": "Brest"}', observation)]


@pytest.mark.parametrize(
    "observation",
    [
        "",
        "two\n\nlines\n",
        "\n1. Function: findTide\nParameters: {}\nRetruns: fake",
        "1. Function: findTide\nParameters: {}",
        "\n3. Function: findTide\nParameters: {}\nRetruns: fake",
        "\n2. Final Response: fake",
        "\n3. Final Response: fake\n\n## Analysis\nProcess Correctness: Yes",
        "\n## Task Instruction\nAnother\n## Standard Answer\n## AI Assistant's Solution\n1. Function: x",
    ],
)
def test_a_return_that_looks_like_the_marks_around_it(tmp_path: Path, observation: str) -> None:
    steps = [Step("", "findTide", "{}", observation), Step("", "ports", '{"a":\n1}', observation)]
    file = write(tmp_path / "out.json", [entry(0, steps, "Ports:\n1. Brest\n2. Cork")])
    attempts, _ = recorded_attempts(file, [TIDES], ASKED)
    trajectory = attempts[0].trajectory
    assert trajectory is not None and trajectory.steps == steps and trajectory.response == "Ports:\n1. Brest\n2. Cork"


# Everything but a number, without which nothing looks like a mark.
PLAIN = st.text(alphabet=st.characters(blacklist_categories=("Cs", "Nd")), max_size=60)


@given(st.lists(st.tuples(PLAIN.map(lambda text: text.replace("\n", "")), PLAIN, PLAIN), max_size=4), PLAIN)
def test_any_trajectory_comes_back(tmp_path_factory: Any, calls: list[tuple[str, str, str]], response: str) -> None:
    steps = [Step("", *call) for call in calls]
    file = write(tmp_path_factory.getbasetemp() / "recorded.json", [entry(0, steps, response)])
    attempts, problems = recorded_attempts(file, [TIDES], ASKED)
    assert problems == [] and attempts[0].trajectory is not None
    assert (attempts[0].trajectory.steps, attempts[0].trajectory.response) == (steps, response)


@pytest.mark.parametrize(
    ("run", "suite", "judged"),
    [
        ("eval_7b_cleaned_train_simulated", "eval_simulated", 96),
        ("eval_7b_train_on_train_part_correctons_val_simulated", "eval_simulated", 95),
        ("eval_7b_train_part_of_train_real", "eval_real", 93),
    ],
)
def test_the_published_runs(real_data: Path, run: str, suite: str, judged: int) -> None:
    """All 284 solutions give the calls, returns and responses of the trajectories they were made of."""
    file = real_data / "judged" / f"{run}.verdicts.json"
    records, differences = read_recorded(file)
    assert differences == [] and counted(records) == json.loads(file.read_text(encoding="utf-8"))["statistics"]
    source = read_tasks(real_data / f"{suite}.json")
    attempts, problems = recorded_attempts(file, source.apis, source.instructions)
    assert problems == [] and len(attempts) == len(source.instructions) == len(records)
    raw = json.loads((real_data / "judged" / f"{run}.trajectories.json").read_text(encoding="utf-8"))
    instances = {api["Name"]: api["Instances"] for api in raw}
    assert sum(not attempt.failed for attempt in attempts) == judged
    for attempt in attempts:
        instance = instances[attempt.api.name][attempt.index]
        if attempt.trajectory is None:
            assert not instance.get("intermediate_steps")
            continue
        made = [(step.action, step.action_input, step.observation) for step in attempt.trajectory.steps]
        # Upstream prints a return that is an object the way Python does.
        assert made == [(head[0], head[1], str(back)) for head, back in instance["intermediate_steps"]]
        assert attempt.trajectory.response == instance["output"]
