"""BFCL's layout read from a folder, verdicts by its acceptable answers, and an evaluation of such rows."""

import json
from pathlib import Path
from typing import Any

import pytest
from agent.scripted import ScriptedBackend

from toolalpaca_hf.errors import InputError, MissingDependencyError, OptionError
from toolalpaca_hf.evaluation import ast_verdict, evaluate_model, lint, read_suite
from toolalpaca_hf.evaluation import bfcl as module
from toolalpaca_hf.schema import Step

PROPERTIES = {
    "port": {"type": "string", "description": "Name."},
    "day": {"type": "integer", "description": "Of the month."},
    "height": {"type": "float", "description": "In metres."},
    "units": {"type": "array", "items": {"type": "string"}, "description": "Of the answer."},
    "boat": {"type": "dict", "properties": {"name": {"type": "string"}, "crew": {"type": "integer"}}},
    "night": {"type": "boolean", "description": "Whether by night."},
}
TIDE = {
    "name": "tide.get",
    "description": "High tide at a port.",
    "parameters": {"type": "dict", "properties": PROPERTIES, "required": ["port"]},
}
ACCEPTED = {
    "port": ["Brest", "Brest, France"],
    "day": [3, ""],
    "height": [2.0, ""],
    "units": [["metre", "foot"], ""],
    "boat": [{"name": ["Ada"], "crew": [2, ""]}, ""],
    "night": [True, ""],
}
PORT = {"name": "port.find", "description": "Find a port.", "parameters": TIDE["parameters"]}


def verdict(*calls: tuple[str, Any], answers: list[Any] | None = None) -> str:
    steps = [Step("", name, json.dumps(arguments), "") for name, arguments in calls]
    return ast_verdict(steps, answers or [{"tide.get": ACCEPTED}], [TIDE, PORT])


@pytest.mark.parametrize(
    "arguments",
    [
        {"port": "Brest"},
        {"port": "brest france", "day": 3},
        {"port": "Brest", "height": 2},
        {"port": "Brest", "units": ["METRE", "foot."]},
        {"port": "Brest", "boat": {"name": "ada"}},
        {"port": "Brest", "boat": {"name": "Ada", "crew": 2}, "night": True},
    ],
)
def test_acceptable_calls(arguments: dict[str, Any]) -> None:
    assert verdict(("tide.get", arguments)) == "" == verdict(("tide_get", arguments))


@pytest.mark.parametrize(
    "arguments, word",
    [
        ({}, "port"),
        ({"port": "Nantes"}, "Nantes"),
        ({"port": "Brest", "day": "3"}, "day"),
        ({"port": "Brest", "day": 3.0}, "day"),
        ({"port": "Brest", "day": True}, "day"),
        ({"port": "Brest", "height": 2.5}, "height"),
        ({"port": "Brest", "units": ["foot", "metre"]}, "units"),
        ({"port": "Brest", "units": [1, 2]}, "units"),
        ({"port": "Brest", "boat": {"crew": 2}}, "boat"),
        ({"port": "Brest", "boat": {"name": "Ada", "flag": "x"}}, "boat"),
        ({"port": "Brest", "night": 1}, "night"),
        ({"port": "Brest", "tide": "high"}, "tide"),
    ],
)
def test_other_calls_are_told_why(arguments: dict[str, Any], word: str) -> None:
    assert word in verdict(("tide.get", arguments))


def test_names_numbers_of_calls_and_order() -> None:
    assert "port.find" in verdict(("port.find", {"port": "Brest"}))
    assert "0 calls" in verdict() and "0 calls" in verdict(("getDetails", {}))
    two = [{"tide.get": {"port": ["Brest"]}}, {"tide.get": {"port": ["Nantes"]}}]
    brest, nantes = ("tide.get", {"port": "Brest"}), ("tide.get", {"port": "Nantes"})
    assert verdict(nantes, brest, answers=two) == "" == verdict(brest, nantes, answers=two)
    for calls in ((brest, brest), (brest,), (brest, nantes, brest)):
        assert verdict(*calls, answers=two)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in BFCL's layout, of rows of our own."""
    monkeypatch.setattr(module, "cache_folder", lambda: tmp_path / "cache")
    folder = tmp_path / "data"
    (folder / "possible_answer").mkdir(parents=True)
    for category, count in (("simple_python", 3), ("multiple", 2)):
        rows, answers = [], []
        for number in range(count):
            said = {"system": "Be brief.", "user": f"Tide {number} at Brest?"}
            asked = [[{"role": role, "content": content} for role, content in said.items()]]
            functions = [TIDE] if category == "simple_python" else [PORT, TIDE]
            rows.append({"id": f"{category}_{number}", "question": asked, "function": functions})
            accepted = [{"tide.get": {"port": ["Brest", "brest"]}}]
            answers.append({"id": f"{category}_{number}", "ground_truth": accepted})
        name = f"BFCL_v4_{category}.json"
        (folder / name).write_text("\n".join(map(json.dumps, rows)))
        (folder / "possible_answer" / name).write_text("\n".join(map(json.dumps, answers)))
    return folder


def test_rows_become_a_suite_that_alternates_categories(folder: Path) -> None:
    suite = read_suite("bfcl:simple_python,multiple", folder)
    assert suite.name == "bfcl" and [api.name for api in suite.apis] == [
        *("simple_python_0", "multiple_0", "simple_python_1", "multiple_1", "simple_python_2"),
    ]
    assert suite.instructions[0].instruction == "Be brief.\nTide 0 at Brest?"
    assert json.loads(suite.instructions[1].golden_calls[0].action_input) == {"port": "Brest"}
    assert [function.name for function in suite.apis[1].functions] == ["port.find", "tide.get"]
    kinds = {finding.kind for finding in lint(suite)}
    assert kinds == {"repeated instruction"}  # as the rows are made


def test_rows_are_evaluated_by_their_first_call(folder: Path, tmp_path: Path) -> None:
    suite = read_suite("bfcl:simple_python,multiple", folder)

    def reply(instruction: str, turn: int) -> str:
        port = "Nantes" if "Tide 1" in instruction else "BREST"
        return f' I look.\nAction: tide.get\nAction Input: {{"port": "{port}"}}'

    backend = ScriptedBackend(reply)
    # The scripted backend finds the instruction by its line.
    backend.reply = lambda line, turn: reply(next(s for s in backend.shown[-1].split("\n") if "Tide" in s), turn)
    metrics = evaluate_model(suite, backend, tmp_path / "out", progress=False)
    assert metrics["suite"] == "bfcl" and metrics["n"] == 5 and metrics["calls"]["ast"]["value"] == 0.6
    records = json.loads((tmp_path / "out" / "instructions.json").read_text())
    assert [record["ast"] for record in records] == [True, True, False, False, True]
    assert "Nantes" in records[2]["ast_reason"] and metrics["settings"]["limits"]["steps"] == 1
    assert "Calls as BFCL" in (tmp_path / "out" / "report.md").read_text()


def test_errors(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError):
        read_suite("bfcl:simple_java", folder)
    with pytest.raises(MissingDependencyError):
        read_suite("bfcl:simple_python", tmp_path / "cache")
    (tmp_path / "bfcl_eval-1.whl").write_bytes(b"PK broken")
    with pytest.raises(InputError):
        read_suite("bfcl:simple_python", tmp_path)
    (folder / "possible_answer" / "BFCL_v4_simple_python.json").write_text("")
    with pytest.raises(InputError):
        read_suite("bfcl:simple_python", folder)
    (folder / "BFCL_v4_multiple.json").write_text("{")
    with pytest.raises(InputError):
        read_suite("bfcl:multiple", folder)
