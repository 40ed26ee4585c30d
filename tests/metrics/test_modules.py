"""Metrics as modules of `evaluate`: by path and by name, in new processes, offline, from a read-only folder."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import evaluate
import pytest

import toolalpaca_hf
from toolalpaca_hf import metrics
from toolalpaca_hf.errors import OptionError, ToolAlpacaError
from toolalpaca_hf.metrics import call_validity, match_calls
from toolalpaca_hf.metrics.modules import metric_names
from toolalpaca_hf.schema import Api, Call, Function, Step

PACKAGE = Path(toolalpaca_hf.__file__).parent
GOLDEN = [{"action": "findTide", "action_input": '{"port": "Brest", "day": 3}'}]
MADE = [{"action": "findTide", "action_input": '{"port": "brest", "day": "3"}'}]
OWN = ("lama", "math_answer", "question_answering", "token_perplexity", "tool_call_match", "tool_call_validity")

# Loads every metric by its path and by its name, and refuses every connection meanwhile.
PROBE = """
import json, socket, sys
from pathlib import Path

def refuse(*arguments, **settings):
    raise AssertionError(f"a metric asks the network: {arguments}")

socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse

import evaluate
import toolalpaca_hf
from toolalpaca_hf import metrics

folder = Path(toolalpaca_hf.__file__).parent / "metrics"
found = {}
for name in sys.argv[1:]:
    for metric in (evaluate.load(str(folder / name)), metrics.load(name)):
        assert metric.description and metric.citation and metric.inputs_description and metric.features, name
        found[name] = type(metric).__name__
score = metrics.load("math_answer").compute(predictions=["12"], references=["12"])
print(json.dumps({"where": str(folder), "found": found, "score": score}))
"""


def start(home: Path, source: Path = PACKAGE.parent) -> subprocess.Popen:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "PYTHONPATH"))}
    offline = {"HF_HOME": str(home), "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(source)}
    return subprocess.Popen(
        [sys.executable, "-c", PROBE, *OWN],
        env=kept | offline,
        cwd=home,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen) -> dict[str, Any]:
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return json.loads(out)


@pytest.mark.slow
def test_two_processes_load_every_metric_at_once_offline(tmp_path: Path) -> None:
    """From a copy of the package that is read-only, as an installed one may be, sharing an empty cache."""
    installed = tmp_path / "site-packages"
    shutil.copytree(PACKAGE, installed / "toolalpaca_hf", ignore=shutil.ignore_patterns("__pycache__"))
    for path in [*installed.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = {path for path in installed.rglob("*") if "__pycache__" not in str(path)}
    home = tmp_path / "home"
    home.mkdir()
    both = [start(home, installed) for _ in range(2)]
    for found in map(finish, both):
        assert found["where"] == str(installed / "toolalpaca_hf" / "metrics")
        assert set(found["found"]) == set(OWN) and len(set(found["found"].values())) == len(OWN)
        assert found["score"] == {"accuracy": 1.0, "n": 1}
    assert {path for path in installed.rglob("*") if "__pycache__" not in str(path)} == before
    for path in installed.rglob("*"):
        path.chmod(0o755)


def test_every_metric_has_a_name() -> None:
    assert set(OWN) <= set(metric_names())
    folders = {path.name for path in (PACKAGE / "metrics").iterdir() if (path / f"{path.name}.py").exists()}
    assert folders - {"prompts"} == set(metric_names())


@pytest.mark.parametrize("name", ["accuracy", "../values", "", "tool_call_match/tool_call_match", "/etc"])
def test_a_name_that_is_none_is_refused_without_a_look_at_the_hub(name: str) -> None:
    with pytest.raises(OptionError, match="tool_call_match"):
        metrics.load(name)


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows on their way are written here."""
    monkeypatch.setattr("evaluate.config.HF_METRICS_CACHE", tmp_path / "metrics")


def test_rows_may_come_at_once_in_batches_or_one_by_one() -> None:
    at_once = metrics.load("tool_call_match").compute(predictions=[MADE, []], references=[GOLDEN, GOLDEN])
    batches = evaluate.load(str(PACKAGE / "metrics" / "tool_call_match"))
    batches.add_batch(predictions=[MADE], references=[GOLDEN])
    batches.add_batch(predictions=[[]], references=[GOLDEN])
    single = metrics.load("tool_call_match", keep_in_memory=True)
    single.add(prediction=MADE, reference=GOLDEN)
    single.add(prediction=[], reference=GOLDEN)
    assert at_once == batches.compute() == single.compute()
    assert at_once["n"] == 2 and at_once["arguments"] == 0.5 and at_once["argument_f1"] == 0.5


def test_it_says_what_the_rules_say() -> None:
    day = {"name": "days", "in": "query", "schema": {"type": "array", "items": {"type": "integer"}}}
    document = {"openapi": "3.0.0", "paths": {"/tide": {"get": {"operationId": "findTide", "parameters": [day]}}}}
    api = Api("a/b", "B", documentation=document, functions=[Function("findTide", "/tide", "get", "")])
    golden, made = ('{"days": [1, 2]}', '{"days": "1,2", "unit": "ft"}')
    asked = "Tides on days 1 and 2?"
    rules = match_calls([Call("findTide", golden)], [Step("", "findTide", made, "")], api, asked, True)
    settings = {"apis": [api], "instructions": [asked], "exempt_undetermined": True}
    module = metrics.load("tool_call_match").compute(
        predictions=[[{"action": "findTide", "action_input": made}]],
        references=[[{"action": "findTide", "action_input": golden}]],
        **settings,
    )
    assert module == {**rules, "n": 1} and module["arguments"] == 1

    steps = [Step("", "findTide", made, "Status Code: 500. Response: "), Step("", "findTides", made, "No tool.")]
    rows = [{name: getattr(step, name) for name in ("action", "action_input", "observation")} for step in steps]
    found = metrics.load("tool_call_validity").compute(predictions=[rows, []], apis=[api, api])
    alone = call_validity(api, steps)
    assert found["n"] == 2 and found["known_function"] == alone["known_function"] / 2 == 0.5
    assert found["error_kinds"] == alone["error_kinds"] and found["hallucinated"] == ["findTides"]


@pytest.mark.parametrize(
    ("name", "given", "reason"),
    [
        ("tool_call_match", {"predictions": [MADE], "references": [GOLDEN], "apis": []}, "apis has 0 values for 1"),
        ("tool_call_validity", {"predictions": [[]]}, "apis"),
        ("token_perplexity", {"predictions": [[0.5]]}, "0.5 is no natural logarithm"),
    ],
)
def test_what_does_not_fit_is_named(name: str, given: dict, reason: str) -> None:
    with pytest.raises(ToolAlpacaError, match=reason):
        metrics.load(name).compute(**given)


def test_golden_answers_may_be_one_or_several() -> None:
    for name in ("lama", "question_answering"):
        metric = metrics.load(name)
        assert metric.compute(predictions=["Ulm.", "Bonn."], references=["ulm", "Ulm"]) == {"accuracy": 0.5, "n": 2}
        assert metric.compute(predictions=["Ulm.", "Bonn."], references=[["Ulm", "Bonn"]] * 2)["accuracy"] == 1
    numbers = metrics.load("math_answer").compute(predictions=["It is 2.", "3"], references=[["1", "2"], ["1", "2"]])
    assert numbers["accuracy"] == 0.5


def test_the_room_opens_without_heavy_libraries() -> None:
    heavy = ("torch", "transformers", "evaluate", "openai", "matplotlib", "scipy")
    code = f"import sys, toolalpaca_hf.metrics; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
