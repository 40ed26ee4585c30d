"""The linter on rows with one fault each, on the embedded suite, and on the published files where they are at hand."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from toolalpaca_hf.cli import app
from toolalpaca_hf.data import SAMPLE
from toolalpaca_hf.errors import InputError
from toolalpaca_hf.evaluation import (
    EvaluationConfig,
    Finding,
    evaluate_trajectories,
    flagged,
    lint,
    read_suite,
    write_lint,
)
from toolalpaca_hf.openapi import describe_raw


def parameter(name: str, kind: str = "string", required: bool = True, **more: Any) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": required, "schema": {"type": kind, **more}}


def operation(name: str, summary: str, *parameters: dict[str, Any]) -> dict[str, Any]:
    item = {"type": "object", "properties": {"portId": {"type": "string"}, "height": {"type": "number"}}}
    answer = {"200": {"description": "OK", "content": {"application/json": {"schema": item}}}}
    return {"get": {"operationId": name, "summary": summary, "parameters": [*parameters], "responses": answer}}


PATHS = {
    "/ports": operation("findPort", "Find a port by its name.", parameter("name")),
    "/tides": operation(
        "getTide",
        "High tide at a port.",
        parameter("port"),
        parameter("day", "integer", False, default=1),
        parameter("unit", required=False, enum=["metre", "foot"]),
    ),
    "/tides/high": operation("getHighTide", "High tide at a harbour, in a port.", parameter("port")),
}


def lint_row(
    tmp_path: Path, instruction: str, *calls: tuple[str, Any], more: list[Any] | None = None
) -> list[Finding]:
    golden = [
        {"Action": name, "Action_Input": text if isinstance(text, str) else json.dumps(text)} for name, text in calls
    ]
    document = {"openapi": "3.0.0", "info": {"title": "Tides", "version": "1"}, "paths": PATHS}
    rows = [(instruction, golden), *(more or [])]
    api = {"Name": "Tides", "Documentation": json.dumps(document)}
    api = describe_raw(api) | {"Instructions": [row[0] for row in rows], "Golden_Answers": [row[1] for row in rows]}
    api["Documentation"] = json.dumps(document)
    path = tmp_path / "eval.json"
    path.write_text(json.dumps([api]))
    return lint(read_suite(path))


FAULTS: dict[str, tuple[str, list[tuple[str, Any]]]] = {
    "unknown function": ("Find the port Brest", [("findHarbour", {"name": "Brest"})]),
    "name spelt otherwise": ("Find the port Brest", [("find_port", {"name": "Brest"})]),
    "unreadable arguments": ("Find the port Brest", [("findPort", '{"name": "name": "Brest"}')]),
    "invalid arguments": ("Tide at Brest in inch", [("getTide", {"port": "Brest", "unit": "inch"})]),
    "unknown parameter": ("Find the port Brest on day 3", [("findPort", {"name": "Brest", "day": 3})]),
    "value not determined": ("Find a port", [("findPort", {"name": "Brest"})]),
    "optional value not determined": ("Tide at Brest?", [("getTide", {"port": "Brest", "day": 1})]),
    "needs a later answer": ("Tide at Brest?", [("getTide", '{"port": ${portId from findPort}}')]),
    "order is free": (
        "Find Brest and Nantes",
        [("findPort", {"name": "Brest"}), ("findPort", {"name": "Nantes"})],
    ),
    "another call as well": ("Tide at Brest?", [("getHighTide", {"port": "Brest"})]),
    "secret inside": ("Find the port at https://me:hush@ports.example", [("findPort", {"name": "ports"})]),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_each_fault_is_found(kind: str, tmp_path: Path) -> None:
    instruction, calls = FAULTS[kind]
    found = lint_row(tmp_path, instruction, *calls)
    assert kind in {finding.kind for finding in found}, found
    assert all(finding.evidence and finding.id.endswith("tides/0") for finding in found)


@pytest.mark.parametrize("text", ['{"name": ' + "[" * 900 + "]" * 900 + "}", '{"a":' * 900 + "1" + "}" * 900])
def test_a_call_that_is_nested_too_deep_costs_no_other(tmp_path: Path, text: str) -> None:
    more = [["Find a port", [{"Action": "findPort", "Action_Input": '{"name": "Brest"}'}]]]
    found = lint_row(tmp_path, f"Find {text}", ("findPort", text), more=more)
    # Python 3.12 and later read some of what 3.11 gives up; either way it is a finding of its own row.
    assert found[0].index == 0 and ("value not determined", 1) in [(f.kind, f.index) for f in found]
    assert found[0].kind in ("unreadable arguments", "invalid arguments", "unknown parameter")


def test_findings_come_in_the_order_of_what_is_written(tmp_path: Path) -> None:
    names = [f"p{number}" for number in range(9, 0, -1)]
    found = lint_row(tmp_path, "Find the port Brest", ("findPort", {"name": "Brest"} | dict.fromkeys(names, "Brest")))
    said = [finding.evidence.split()[3].rstrip(",") for finding in found if finding.kind == "unknown parameter"]
    assert said == names


def test_an_answer_with_quotes_feeds_the_next_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = 'Status Code: 200. Response: {"port": "Le \\"Petit\\" Port\\\\"}'
    monkeypatch.setattr("toolalpaca_hf.agent.ApiCalls.call", lambda *_: said)
    calls = [("findPort", {"name": "Brest"}), ("getTide", '{"port": ${port from findPort}}')]
    assert not [finding for finding in lint_row(tmp_path, "Tide at the port Brest", *calls) if finding.flags]


@pytest.mark.parametrize("value", ['"\\x41"', "007", "1\u0662", "9" * 5000, '"a\nb"'])
def test_an_answer_that_is_no_json_ends_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setattr(
        "toolalpaca_hf.agent.ApiCalls.call", lambda *_: f'Status Code: 200. Response: {{"port": {value}}}'
    )
    calls = [("findPort", {"name": "Brest"}), ("getTide", '{"port": ${port from findPort}}')]
    assert not [finding for finding in lint_row(tmp_path, "Tide at the port Brest", *calls) if finding.flags]


@pytest.mark.parametrize(
    "secret", ["sk-proj-" + "a1B2" * 10, "gho_" + "a1B2" * 9, "github_pat_" + "a1" * 15, "AKIA" + "A1" * 8]
)
def test_keys_of_known_services_are_noticed(tmp_path: Path, secret: str) -> None:
    found = lint_row(tmp_path, f"Find the port Brest with {secret}", ("findPort", {"name": "Brest"}))
    assert "secret inside" in {finding.kind for finding in found}


TIDE_OF_FOUND = ("getTide", '{"port": "${portId from findPort}"}')
TIDE_OF_ASKED = ("getTide", '{"port": ${port from getDetails}, "unit": ${unit from getDetails}}')


@pytest.mark.parametrize(
    "instruction, calls",
    [
        ("Find the port Brest", [("findPort", {"name": "brest"})]),
        ("Tide at Brest on day three, unit foot", [("getTide", {"port": "Brest", "day": 3, "unit": "foot"})]),
        ("Tide at the port of Brest?", [("findPort", {"name": "Brest"}), TIDE_OF_FOUND]),
        ("Tide somewhere, in a unit", [("getDetails", {"Question": "Where?"}), TIDE_OF_ASKED]),
    ],
)
def test_sound_rows_are_not_flagged(instruction: str, calls: list[tuple[str, Any]], tmp_path: Path) -> None:
    found = [finding for finding in lint_row(tmp_path, instruction, *calls) if finding.flags]
    assert [finding.kind for finding in found if finding.kind != "another call as well"] == [], found


def test_the_same_words_twice(tmp_path: Path) -> None:
    def other(name: str) -> list[Any]:
        return ["Find the ports, BREST!", [{"Action": "findPort", "Action_Input": json.dumps({"name": name})}]]

    kinds: Callable[[str], set[str]] = lambda name: {  # noqa: E731
        finding.kind
        for finding in lint_row(tmp_path, "Find the port Brest", ("findPort", {"name": "Brest"}), more=[other(name)])
    }
    assert "repeated instruction" in kinds("Brest") and "contradictory instructions" in kinds("brest")


def test_corrections_are_proposed_and_the_file_stays(tmp_path: Path) -> None:
    instruction, calls = FAULTS["unknown parameter"]
    (wrong,) = [f for f in lint_row(tmp_path, instruction, *calls) if f.kind == "unknown parameter"]
    assert wrong.correction == {"action": "findPort", "action_input": '{"name": "Brest"}'}
    before = (tmp_path / "eval.json").read_bytes()
    (optional,) = [f for f in lint(read_suite(tmp_path / "eval.json")) if f.kind == "unknown parameter"]
    assert optional.call == 0 and (tmp_path / "eval.json").read_bytes() == before


def test_the_embedded_suite_has_no_flag_and_says_what_it_knows(tmp_path: Path) -> None:
    suite = read_suite("sample")
    found = lint(suite)
    assert flagged(found) == set()
    recorded = {finding.id.partition("/")[2] for finding in found if finding.kind == "value of a recorded answer"}
    assert "orchard-lane/8" in recorded and len(recorded) == 8
    proposed = next(f.correction for f in found if f.id.endswith("orchard-lane/8"))
    assert proposed and "${stallId from findProduce}" in proposed["action_input"]
    write_lint(tmp_path, suite, found)
    content = json.loads((tmp_path / "lint.json").read_text())
    assert content["flagged"] == [] and len(content["findings"]) == len(found)
    assert "Value of a recorded answer" in (tmp_path / "lint.md").read_text()


def test_a_row_made_wrong_is_flagged_by_the_command(tmp_path: Path) -> None:
    rows = json.loads((SAMPLE / "eval.json").read_text())[:1]
    rows[0]["Golden_Answers"][2][0]["Action_Input"] = '{"crop": "leek"}'
    rows[0]["Golden_Answers"][3] = [{"Function": "findProduce"}]
    path = tmp_path / "eval.json"
    path.write_text(json.dumps(rows))
    result = CliRunner().invoke(app, ["lint", str(path), "--out", str(tmp_path / "out")])
    assert result.exit_code == 0 and "1 more with doubts" in result.output and "leek" in result.output
    assert "1 row is left out" in result.output
    assert json.loads((tmp_path / "out" / "lint.json").read_text())["flagged"] == ["eval_simulated/orchard-lane/2"]


def test_known_faults_of_the_published_rows_are_found(real_data: Path) -> None:
    found = lint(read_suite(real_data / "eval_simulated.json"))
    by_id = {finding.id: finding.kind for finding in found if finding.flags}
    # One instruction names an anime, its golden call another one.
    assert by_id["eval_simulated/aniapi/3"] == "value not determined"
    assert by_id["eval_simulated/auth0/10"] == "unreadable arguments"
    assert "eval_simulated/amethyste/0" not in by_id and len(by_id) < 20


def test_an_evaluation_shows_both_figures(tmp_path: Path) -> None:
    rows = json.loads((SAMPLE / "eval.json").read_text())[:1]
    rows[0]["Golden_Answers"][2][0]["Action_Input"] = '{"crop": "leek"}'
    path = tmp_path / "eval.json"
    path.write_text(json.dumps(rows))
    config = EvaluationConfig(exclude_flagged=True)
    metrics = evaluate_trajectories(read_suite(path), path, tmp_path / "out", config=config)
    left = metrics["without_flagged"]
    assert left["flagged"] == ["eval_simulated/orchard-lane/2"] and (metrics["n"], left["n"]) == (10, 9)
    # The reference trajectories make the golden calls but in the row that was made wrong.
    assert metrics["calls"]["arguments"]["value"] == 0.9 and left["calls"]["arguments"]["value"] == 1.0
    assert "1 instructions that the linter flags" in (tmp_path / "out" / "report.md").read_text()


def test_reference_trajectories_are_linted_where_there_are_no_golden_calls(tmp_path: Path) -> None:
    rows = json.loads((SAMPLE / "train.json").read_text())[:1]
    step = rows[0]["Instances"][0]["intermediate_steps"][0]
    (path := tmp_path / "train_data.json").write_text(json.dumps(rows))
    result = CliRunner().invoke(app, ["lint", str(path)])
    assert result.exit_code == 0 and f"{len(rows[0]['Instances'])} instructions: 0 with errors" in result.output, step
    with pytest.raises(InputError):  # scored against are golden calls only
        read_suite(path)
