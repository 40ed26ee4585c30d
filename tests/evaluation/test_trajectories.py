"""Trajectories in every layout, whole and broken, become one attempt an instruction."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from toolalpaca_hf.data import raw_api, raw_instance
from toolalpaca_hf.errors import InputError, NotFoundError, ToolAlpacaError
from toolalpaca_hf.evaluation import model_index
from toolalpaca_hf.evaluation.scores import score
from toolalpaca_hf.evaluation.suite import Suite, read_suite, read_trajectories
from toolalpaca_hf.experimental.recorded_runs import read_run
from toolalpaca_hf.features import ROLLOUT_FEATURES
from toolalpaca_hf.schema import Step, Trajectory


@pytest.fixture(scope="module")
def suite() -> Suite:
    return read_suite("sample")


def played(suite: Suite) -> list[Trajectory]:
    """The golden calls of each instruction, as a model that knows them would make them."""
    return [
        Trajectory(
            one.id,
            one.api,
            one.instruction,
            "",
            [
                Step("So.", call.action, call.action_input, "Status Code: 200. Response: {}")
                for call in one.golden_calls
            ],
            "I know it.",
            "Here it is.",
        )
        for one in suite.instructions
    ]


def rows_of(trajectories: list[Trajectory]) -> list[dict[str, Any]]:
    cost = {"ended": "answered", "error": "", "tokens": 5, "seconds": 0.5}
    return [{**vars(one), "steps": [vars(step) for step in one.steps]} | cost for one in trajectories]


def raw_of(suite: Suite, trajectories: list[Trajectory]) -> list[dict[str, Any]]:
    return [
        raw_api(api, [raw_instance(one) for one in trajectories if one.api == api.id])
        | {"Instructions": [one.instruction for one in suite.instructions if one.api == api.id]}
        for api in suite.apis
    ]


def written(path: Path, suite: Suite, trajectories: list[Trajectory]) -> Path:
    """The trajectories in the layout that the file's name asks for."""
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows_of(trajectories), schema=ROLLOUT_FEATURES.arrow_schema), path)
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows_of(trajectories)), encoding="utf-8")
    else:
        path.write_text(json.dumps(raw_of(suite, trajectories)), encoding="utf-8")
    return path


@pytest.mark.parametrize("name", ["trajectories.parquet", "rollouts.jsonl", "api_data.json"])
def test_every_layout_says_the_same(suite: Suite, tmp_path: Path, name: str) -> None:
    attempts, notes = read_trajectories(written(tmp_path / name, suite, played(suite)), suite)
    assert notes == [] and [one.instruction for one in attempts] == suite.instructions
    assert [one.trajectory.steps for one in attempts] == [one.steps for one in played(suite)]
    assert {(one.ended, one.failed, one.trajectory.response) for one in attempts} == {
        ("answered", False, "Here it is.")
    }
    assert [one.index for one in attempts[:3]] == [0, 1, 2]


def test_a_folder_is_read_by_its_lines(suite: Suite, tmp_path: Path) -> None:
    written(tmp_path / "rollouts.jsonl", suite, played(suite))
    written(tmp_path / "trajectories.parquet", suite, played(suite)[:1])
    assert not any(one.failed for one in read_trajectories(tmp_path, suite)[0])


def test_a_row_without_an_instruction_costs_itself_only(suite: Suite, tmp_path: Path) -> None:
    path = written(tmp_path / "rollouts.jsonl", suite, played(suite))
    bad = {"id": "other/x/0", "steps": [], "response": "x"}
    path.write_text(json.dumps(bad) + "\n" + path.read_text(encoding="utf-8"), encoding="utf-8")
    attempts, notes = read_trajectories(path, suite)
    assert not any(one.failed for one in attempts) and len(notes) == 1 and "is no trajectory" in notes[0]


def test_a_row_with_values_that_are_no_texts_is_scored_and_costs_no_other(suite: Suite, tmp_path: Path) -> None:
    rows = rows_of(played(suite))
    rows[0] |= {"response": {"high": 9}, "ended": None, "error": None}
    rows[0]["steps"] = [step | {"observation": None, "thought": None} for step in rows[0]["steps"]]
    rows[1]["steps"] = [step | {"observation": {"high": 9}} for step in rows[1]["steps"]]
    lines = ["[" * 100_000, "", *map(json.dumps, rows)]
    (tmp_path / "x.JSONL").write_text("\r\n".join(lines), encoding="utf-8-sig")
    attempts, notes = read_trajectories(tmp_path / "x.JSONL", suite)
    assert [one.ended for one in attempts] == ["answered"] * len(rows)
    assert attempts[0].trajectory.response == '{"high":9}' and len(score(attempts)) == len(rows)
    assert [note.split(" is ")[0] for note in notes] == ["x.JSONL, line 1"]


@pytest.mark.parametrize("name", ["trajectories.parquet", "rollouts.jsonl"])
def test_others_and_duplicates_are_named_and_cost_nothing(suite: Suite, tmp_path: Path, name: str) -> None:
    trajectories = played(suite)
    stranger = replace(trajectories[0], id="eval_simulated/nowhere/0")
    other = replace(trajectories[1], instruction="Something else?")
    second = replace(trajectories[2], response="Again.")
    rest = trajectories[2:]
    attempts, notes = read_trajectories(written(tmp_path / name, suite, [stranger, other, *rest, second]), suite)
    assert [one.ended for one in attempts[:2]] == ["missing", "missing"]
    assert not any(one.failed for one in attempts[2:])
    assert "is for no instruction of sample" in notes[0] and "answers another instruction" in notes[1]
    if name == "rollouts.jsonl":  # a later line of a run is the rollout made again
        assert len(notes) == 2 and attempts[2].trajectory.response == "Again."
    else:
        assert "is a second one for" in notes[2] and attempts[2].trajectory.response == "Here it is."


def test_ids_of_a_copy_under_another_name_are_found(suite: Suite, tmp_path: Path) -> None:
    renamed = [replace(one, id=one.id.replace("eval_simulated", "eval_real")) for one in played(suite)]
    attempts, notes = read_trajectories(written(tmp_path / "rollouts.jsonl", suite, renamed), suite)
    assert notes == [] and not any(one.failed for one in attempts)


def test_half_a_file_is_half_a_suite(suite: Suite, tmp_path: Path) -> None:
    path = written(tmp_path / "api_data.json", suite, played(suite))
    raw = json.loads(path.read_text(encoding="utf-8"))
    text = json.dumps(raw, indent=1)
    path.write_text(text[: text.rindex('"Instances"')], encoding="utf-8")
    attempts, notes = read_trajectories(path, suite)
    whole = [one for one in suite.instructions if one.api != suite.apis[-1].id]
    assert [one.instruction for one in attempts if not one.failed] == whole and len(attempts) == len(
        suite.instructions
    )
    assert notes == ["api_data.json breaks off: 3 APIs of it are whole and are scored, the rest is missing"]

    lines = written(tmp_path / "rollouts.jsonl", suite, played(suite))
    lines.write_bytes(lines.read_bytes()[:-20])
    attempts, notes = read_trajectories(lines, suite)
    assert [one.failed for one in attempts] == [False] * (len(attempts) - 1) + [True]
    assert notes == [f"rollouts.jsonl, line {len(attempts)} is cut off or no trajectory, and is left out"]


def test_instances_that_failed_are_failed_attempts(suite: Suite, tmp_path: Path) -> None:
    raw = raw_of(suite, played(suite))
    raw[0]["Instances"][0] = {"error": "Could not parse"}
    raw[0]["Instances"][1] = {"input": raw[0]["Instructions"][1], "error": "not run"}
    raw[0]["Instances"][2] = "a text"
    raw[0]["Instances"].append(raw[0]["Instances"][3])
    raw[1]["Instances"] = None
    raw[2]["Name"] = "Another"
    raw.append("no API")
    (tmp_path / "x.json").write_text(json.dumps(raw), encoding="utf-8")
    attempts, notes = read_trajectories(tmp_path / "x.json", suite)
    assert [(one.ended, one.error) for one in attempts[:4]] == [
        ("failed", "Could not parse"),
        ("missing", "there is none"),
        ("failed", "the instance is a bare text: 'a text'"),
        ("answered", ""),
    ]
    count = len(raw[0]["Instructions"])
    name = suite.apis[0].name
    assert [note.split(", ", 1)[1] for note in notes] == [
        f"API 0 ({name}), instance {count} is for no instruction of sample, and is left out",
        f"API 1 ({suite.apis[1].name}) has no list of Instances, and is left out",
        "API 2 (Another) is not in sample, and is left out",
        "API 4 (None) has no list of Instances, and is left out",
    ]


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("x.json", "[", InputError),
        ("x.json", "{}", InputError),
        ("x.json", '[{"Name": "Tides"}]', InputError),
        ("x.json", b"\xff\xfe", InputError),
        ("x.parquet", "PAR1", InputError),
        ("x.jsonl", '{"id": 3}\n[]\n', InputError),
        ("x.jsonl", "", InputError),
        ("none.json", None, NotFoundError),
    ],
)
def test_a_file_of_something_else(
    suite: Suite, tmp_path: Path, name: str, content: Any, kind: type[ToolAlpacaError]
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(kind) as caught:
        read_trajectories(tmp_path / name, suite)
    assert caught.value.file == tmp_path / name


def test_a_file_of_ones_own_has_not_the_name_of_a_suite(suite: Suite, tmp_path: Path) -> None:
    for name, own in (("real.json", "real.json"), ("bfcl.json", "bfcl.json"), ("mine.json", "mine")):
        golden = [vars(call) for call in suite.instructions[0].golden_calls]
        golden = [{"Action": call["action"], "Action_Input": call["action_input"]} for call in golden]
        raw = raw_api(suite.apis[0], []) | {"Instructions": ["Which?"], "Golden_Answers": [golden]}
        (tmp_path / name).write_text(json.dumps([raw]), encoding="utf-8")
        assert read_suite(tmp_path / name).name == own
        (result, *_) = model_index({"suite": own, "process_verdict": {"value": 0.5, "low": 0.4, "high": 0.6, "n": 9}})
        assert result["dataset_type"] == own and "ToolAlpaca" not in result["dataset_name"]


def test_two_apis_of_one_name_are_told_apart_by_their_order(suite: Suite, tmp_path: Path) -> None:
    twin = replace(suite.apis[0], id="eval_simulated/twin", name=suite.apis[1].name)
    first = suite.apis[0].id
    asked = [
        replace(one, id=one.id.replace(first, twin.id), api=twin.id) if one.api == first else one
        for one in suite.instructions
    ]
    both = replace(suite, apis=[twin, *suite.apis[1:]], instructions=asked)
    attempts, notes = read_trajectories(written(tmp_path / "x.json", both, played(both)), both)
    assert notes == [] and [one.trajectory.steps for one in attempts] == [one.steps for one in played(both)]


def test_credentials_are_taken_out(suite: Suite, tmp_path: Path) -> None:
    raw = raw_of(suite, played(suite))
    raw[0]["Authentication"] = {"access_key": "k3yk3yk3yk3y"}
    raw[0]["Instances"][0]["output"] = "The key is k3yk3yk3yk3y."
    (tmp_path / "x.json").write_text(json.dumps(raw), encoding="utf-8")
    attempts, _ = read_trajectories(tmp_path / "x.json", suite)
    assert attempts[0].trajectory.response == "The key is ***."


@pytest.mark.parametrize("run", ["eval_7b_cleaned_train_simulated", "eval_7b_train_part_of_train_real"])
def test_recorded_runs_in_both_upstream_layouts(real_data: Path, run: str) -> None:
    suite = read_suite(real_data / ("eval_real.json" if run.endswith("real") else "eval_simulated.json"))
    of_instances, notes = read_trajectories(real_data / "judged" / f"{run}.trajectories.json", suite)
    assert notes == []
    of_prompts, notes = read_run(real_data / "judged" / f"{run}.verdicts.json", suite)
    assert notes == [] and [one.failed for one in of_prompts] == [one.failed for one in of_instances]

    def calls(attempt: Any) -> list[tuple[str, str]]:
        return [(step.action, step.action_input) for step in attempt.trajectory.steps] if attempt.trajectory else []

    same = sum(calls(a) == calls(b) for a, b in zip(of_instances, of_prompts, strict=True))
    assert same == len(suite.instructions)
    assert sum(one.text is not None for one in of_prompts) == len(suite.instructions) - sum(
        one.failed for one in of_prompts
    )
