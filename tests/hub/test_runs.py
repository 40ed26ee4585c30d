"""An evaluation's folder as it is read before a push."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hub.evaluated import write_run

from toolalpaca_hf.errors import ToolAlpacaError
from toolalpaca_hf.hub import read_run
from toolalpaca_hf.report import markdown_text


def rewrite(path: Path, change: Callable[[Any], Any]) -> None:
    value = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(change(value)), encoding="utf-8")


def test_a_run_has_its_files_and_results(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path, "real", 0.63, exact_set=0.5))
    assert run.files == {name: (tmp_path / name).read_bytes() for name in ("metrics.json", "report.md", "report.html")}
    assert [(one.metric_type, one.metric_config, one.metric_value) for one in run.results] == [
        ("process_verdict", "process_verdict", 63.0),
        ("tool_call_match", "exact_set", 50.0),
    ]
    assert run.results[0].dataset_split == "eval_real"


def test_servers_and_folders_of_whoever_ran_it_stay_there(tmp_path: Path) -> None:
    folder, server = write_run(tmp_path, "real"), "http://gpu-7.lan:8000/v1"
    settings = {"endpoint": server, "model": "/home/ada/outputs/mine", "calls": "simulator http://sim.lan:5678"}
    told = {"settings": settings, "judge_settings": {"endpoint": "https://judge.lan/v1", "model": "j"}}
    rewrite(folder / "metrics.json", lambda m: m | told | {"model": settings["model"]})
    words = f"{server} cannot be reached, nor https://judge.lan/v1"
    (folder / "report.md").write_text(markdown_text(words))
    (folder / "report.html").write_text(f"<h1>/home/ada/outputs/mine</h1>{words}")
    run = read_run(folder)
    assert run.model == "/home/ada/outputs/mine" and json.loads(run.files["metrics.json"])["model"] == "mine"
    assert not any(word in content for content in run.files.values() for word in (b"lan", b"ada"))


def test_a_folder_of_recorded_verdicts_has_metrics_alone(tmp_path: Path) -> None:
    rates = {"process": {"value": 0.77, "low": 0.7, "high": 0.8, "n": 100}, "both": {"value": None}}
    metrics = {"suite": "real", "n": 100, "judge": {"num": 100}, "judge_rates": rates}
    (tmp_path / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
    run = read_run(tmp_path)
    assert list(run.files) == ["metrics.json"]
    assert [(one.metric_type, one.metric_config, one.metric_value) for one in run.results] == [
        ("llm_judge", "process", 77.0)
    ]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m: [m], "no object"),
        (lambda m: m | {"suite": "", "judge": {"num": 3}}, "names no suite; score the recorded file"),
        (lambda m: m | {"n": 0}, "has no number of instructions `n`"),
        (lambda m: m | {"n": True}, "has no number of instructions `n`"),
        (lambda m: {"suite": "real", "n": 4}, "holds no figure"),
        (
            lambda m: m | {"calls": {"exact_set": {"value": 63}}},
            "has .63, None, None. for exact set",
        ),
        (lambda m: m | {"calls": {"exact_set": {"value": "0.6"}}}, "has .'0.6', None, None. for exact set"),
        (lambda m: m | {"process_verdict": {"value": float("nan")}}, "has .nan, None, None. for process verdict"),
        (lambda m: m | {"calls": [1]}, "unknown layout"),
        (lambda m: m | {"calls": {"exact_set": 0.5}}, "unknown layout"),
    ],
)
def test_metrics_that_are_none(tmp_path: Path, change: Callable[[Any], Any], words: str) -> None:
    rewrite(write_run(tmp_path, "real") / "metrics.json", change)
    with pytest.raises(ToolAlpacaError, match=words) as caught:
        read_run(tmp_path)
    assert str(tmp_path / "metrics.json") in str(caught.value)


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(ToolAlpacaError, match=r"metrics\.json: no such file"):
        read_run(tmp_path)
    (tmp_path / "metrics.json").write_bytes(b'{"n": "\xff"}')
    with pytest.raises(ToolAlpacaError, match="is not UTF-8 text"):
        read_run(tmp_path)


@pytest.mark.parametrize(
    ("suite", "folder"), [("my eval", "my-eval"), ("../a/b", "a-b"), (".hidden", "hidden"), ("v1.2_x", "v1.2_x")]
)
def test_a_suite_becomes_a_folders_name(tmp_path: Path, suite: str, folder: str) -> None:
    assert read_run(write_run(tmp_path, suite)).suite == folder


@pytest.mark.parametrize("suite", ["..", "/", "\N{HIRAGANA LETTER A}"])
def test_a_suite_without_a_name(tmp_path: Path, suite: str) -> None:
    with pytest.raises(ToolAlpacaError, match="is no name for a suite"):
        read_run(write_run(tmp_path, suite))
