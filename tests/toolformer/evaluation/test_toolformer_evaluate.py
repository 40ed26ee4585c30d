"""Checkpoints on tasks: a tiny model, real tools, killed runs, figures worked out by hand."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tiny_models import save_tiny_llama
from typer.testing import CliRunner

from toolalpaca_hf.cli import app, main
from toolalpaca_hf.errors import OptionError, SettingsMismatchError, ToolAlpacaError
from toolalpaca_hf.toolformer import Tool, ToolformerEvaluationConfig, tools_named
from toolalpaca_hf.toolformer import evaluate as run
from toolalpaca_hf.toolformer.evaluation.evaluate import rate, summarize
from toolalpaca_hf.toolformer.evaluation.report import report_markdown

ROWS = [{"question": f"What is {i} and {i}", "answer": 2 * i} for i in range(1, 8)]
# A prompt that ends inside a call has it made, whatever the model is.
FORCED = [{"question": f"What is {i} and {i}? [Calculator({i} + {i}) ->", "answer": 2 * i} for i in range(1, 8)]


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_tiny_llama(tmp_path_factory.mktemp("models") / "tiny-llama"))


def evaluate(
    models: list[str],
    tasks: Mapping[str, Path | None],
    out: Path,
    tools: Mapping[str, Tool] | None = None,
    **options: Any,
) -> dict[str, Any]:
    return run(ToolformerEvaluationConfig(models, tasks, out, **options), tools)


def written(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_run_with_tools_and_without(llama: str, tmp_path: Path) -> None:
    data = written(tmp_path / "svamp.jsonl", ROWS)
    metrics = evaluate([llama], {"svamp": data}, tmp_path / "out", tools_named("calculator"), batch_size=3)
    (result,) = metrics["results"]
    assert (result["task"], result["n"], result["data"]) == ("svamp", 7, "svamp.jsonl")
    folder = tmp_path / "out" / "svamp" / "tiny-llama"
    for way in ("calls", "without"):
        records = lines(folder / f"{way}.jsonl")
        assert {one["id"] for one in records} == {f"svamp/{i}" for i in range(7)}
        assert all(one["error"] is None and one["tokens"] for one in records)
        key = {"calls": "with_calls", "without": "without_calls"}[way]
        assert result[key]["value"] == sum(one["right"] for one in records) / 7
    assert all(one["calls"] == [] and one["text"] == one["plain"] for one in lines(folder / "without.jsonl"))
    assert result["parameters"] == json.loads((tmp_path / "out" / "models.json").read_text())[llama]
    assert json.loads((tmp_path / "out" / "metrics.json").read_text()) == json.loads(json.dumps(metrics))
    report = (tmp_path / "out" / "report.md").read_text(encoding="utf-8")
    assert "*published:* Toolformer" in report and "29.4" in report and "n = 7" in report


def test_what_is_answered_is_not_asked_again(llama: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = written(tmp_path / "svamp.jsonl", ROWS)
    evaluate([llama], {"svamp": data}, tmp_path / "out", limit=4)
    path = tmp_path / "out" / "svamp" / "tiny-llama" / "without.jsonl"
    first = path.read_bytes()
    path.write_bytes(first[:-20])  # a kill in the middle of a line
    metrics = evaluate([llama], {"svamp": data}, tmp_path / "out")
    records = lines(path)
    assert metrics["results"][0]["n"] == len(records) == 7 and path.read_bytes().startswith(first[:300])
    # All is there now: neither a model is loaded nor anything written.
    monkeypatch.setattr("toolalpaca_hf.toolformer.evaluation.evaluate.load", pytest.fail)
    before = path.stat().st_mtime_ns
    assert evaluate([llama], {"svamp": data}, tmp_path / "out")["results"] == metrics["results"]
    assert path.stat().st_mtime_ns == before


def test_questions_of_another_file_of_the_same_name_are_asked(llama: str, tmp_path: Path) -> None:
    for folder, rows in (("a", ROWS[:3]), ("b", [ROWS[0], ROWS[5], {**ROWS[2], "answer": 0}])):
        (tmp_path / folder).mkdir()
        evaluate([llama], {"svamp": written(tmp_path / folder / "svamp.jsonl", rows)}, tmp_path / "out")
    records = lines(tmp_path / "out" / "svamp" / "tiny-llama" / "without.jsonl")
    assert sorted(one["id"] for one in records[3:]) == ["svamp/1", "svamp/2"]  # the first is the same in both
    by_id = {one["id"]: one for one in records}
    assert ROWS[5]["question"] in by_id["svamp/1"]["prompt"] and by_id["svamp/2"]["answers"] == ["0"]


def test_a_failed_answer_is_asked_for_again(llama: str, tmp_path: Path) -> None:
    data, path = (
        written(tmp_path / "svamp.jsonl", ROWS[:3]),
        tmp_path / "out" / "svamp" / "tiny-llama" / "without.jsonl",
    )
    metrics = evaluate([llama], {"svamp": data}, tmp_path / "out")
    failed = {**lines(path)[0], "text": "", "plain": "", "right": False, "tokens": 0, "error": "out of memory"}
    with path.open("a") as file:
        file.write(json.dumps(failed) + "\n")
    assert evaluate([llama], {"svamp": data}, tmp_path / "out")["results"] == metrics["results"]
    records = lines(path)
    assert len(records) == 5 and records[4] == records[0]


def test_answers_of_other_settings_or_weights_are_not_taken(llama: str, tmp_path: Path) -> None:
    data = written(tmp_path / "svamp.jsonl", ROWS[:2])
    model = save_tiny_llama(tmp_path / "model")
    evaluate([str(model)], {"svamp": data}, tmp_path / "out")
    with pytest.raises(SettingsMismatchError) as error:
        evaluate([str(model)], {"svamp": data}, tmp_path / "out", solutions=True)
    assert error.value.differences["measure"] == ("first_number", "last_number")
    evaluate([str(model)], {"svamp": data}, tmp_path / "worked-out", solutions=True)
    report = (tmp_path / "worked-out" / "report.md").read_text(encoding="utf-8")
    assert "SVAMP, worked out" in report and "published" not in report  # the paper's figures are of another measure
    os.utime(model / "model.safetensors", ns=(1, 1))  # trained again, under the same name
    with pytest.raises(SettingsMismatchError) as error:
        evaluate([str(model)], {"svamp": data}, tmp_path / "out")
    assert list(error.value.differences) == ["weights"]


def test_a_killed_run_goes_on(llama: str, tmp_path: Path) -> None:
    rows = [{"question": f"What is {i} and {i}", "answer": 2 * i} for i in range(40)]
    data = written(tmp_path / "svamp.jsonl", rows)
    code = (
        "import sys; from toolalpaca_hf.toolformer import ToolformerEvaluationConfig, evaluate; "
        "evaluate(ToolformerEvaluationConfig([sys.argv[1]], {'svamp': sys.argv[2]}, sys.argv[3], batch_size=1))"
    )
    path = tmp_path / "out" / "svamp" / "tiny-llama" / "without.jsonl"
    process = subprocess.Popen(
        [sys.executable, "-c", code, llama, str(data), str(tmp_path / "out")], stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 600
    while not (path.exists() and path.read_bytes().count(b"\n") >= 2) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = lines(path) if path.read_bytes().endswith(b"\n") else lines(path)[:-1]
    assert 2 <= len(kept) < 40
    evaluate([llama], {"svamp": data}, tmp_path / "out", batch_size=8)
    records = lines(path)
    assert records[: len(kept)] == kept and len(records) == len({one["id"] for one in records}) == 40


def test_several_models_give_a_curve(llama: str, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, LlamaConfig

    small = tmp_path / "smaller" / "tiny-llama"
    save_tiny_llama(small)
    config = LlamaConfig.from_pretrained(small)
    config.num_hidden_layers = 1
    AutoModelForCausalLM.from_config(config).save_pretrained(small)
    data = written(tmp_path / "svamp.jsonl", ROWS[:2])
    metrics = evaluate([llama, str(small)], {"svamp": data}, tmp_path / "out")
    assert len({one["parameters"] for one in metrics["results"]}) == 2
    assert (tmp_path / "out" / "svamp" / "smaller-tiny-llama").is_dir()
    svg = (tmp_path / "out" / "curve.svg").read_text()
    assert svg.count("without calls") == 1 and "SVAMP" in svg
    assert "curve.svg" in (tmp_path / "out" / "report.md").read_text()


def test_calls_that_are_forced_are_made_counted_and_taken_out(llama: str, tmp_path: Path) -> None:
    data = written(tmp_path / "statements.jsonl", FORCED)
    metrics = evaluate([llama], {"lama-squad": data}, tmp_path / "out", tools_named("calculator"))
    (result,) = metrics["results"]
    assert (result["call_rate"]["value"], result["useful"]["n"]) == (1.0, 7)
    for one in lines(tmp_path / "out" / "lama-squad" / "tiny-llama" / "calls.jsonl"):
        assert [call["result"] for call in one["calls"]] == one["answers"]
        assert one["text"].startswith(f" {one['answers'][0]}]") and not one["plain"].startswith(one["text"][:3])


def test_the_calendar_says_the_day_of_each_question(llama: str, tmp_path: Path) -> None:
    asked = [
        {"question": "It is [Calendar() ->", "answer": "x", "date": day}
        for day in ("2015-03-02", "2011-11-11", "2015-03-02")
    ]
    data = written(tmp_path / "templama.jsonl", asked)
    evaluate([llama], {"templama": data}, tmp_path / "out", tools_named("calendar"))
    records = {one["id"]: one for one in lines(tmp_path / "out" / "templama" / "tiny-llama" / "calls.jsonl")}
    said = [records[f"templama/{i}"]["calls"][0]["result"] for i in range(3)]
    assert ["March 2, 2015" in text for text in said] == [True, False, True] and "November 11, 2011" in said[1]


def test_figures_by_hand() -> None:
    def record(right: bool, *results: str | None, error: str | None = None) -> dict[str, Any]:
        return {"right": right, "calls": [{"result": result} for result in results], "error": error}

    with_calls = [record(True, "2"), record(True, "2", None), record(False, "3"), record(True), record(False, None)]
    without = [record(False), record(True), record(True), record(True), record(False, error="out of memory")]
    figures = summarize(with_calls, without)
    assert figures["with_calls"]["value"] == 3 / 5 and figures["without_calls"]["value"] == 3 / 5
    # A call without a result is none: three items have one.
    assert (figures["call_rate"]["value"], figures["call_rate"]["n"]) == (3 / 5, 5)
    assert (figures["useful"]["value"], figures["harmful"]["value"], figures["useful"]["n"]) == (1 / 3, 1 / 3, 3)
    assert (figures["difference"]["difference"], figures["difference"]["wins"], figures["errors"]) == (0.0, 1, 1)
    assert summarize(None, without).keys() == {"n", "without_calls", "errors"}
    assert rate([]) == {"value": None, "low": None, "high": None, "n": 0}


def test_names_cannot_break_the_report() -> None:
    half = rate([True, False])
    result = {"task": "nq", "model": "a|b_<i>", "parameters": 1500, "data": "x|y", "title": "NQ", "section": "4.2.3"}
    result |= {"measure": "twenty_words", "n": 2, "without_calls": half, "errors": 0}
    metrics = {"results": [result], "tools": [], "k": 10, "limit": None, "notes": ["a [note](http://x)"]}
    report = report_markdown(metrics)
    assert "a&#124;b" in report and "<i>" not in report and "](http://x)" not in report
    assert "| 1.50k | 50.0 (9.5 to 90.5) | – | – |" in report


def test_nothing_to_do_and_what_is_missing(llama: str, tmp_path: Path) -> None:
    with pytest.raises(OptionError):
        evaluate([], {"svamp": None}, tmp_path / "out")
    with pytest.raises(OptionError):  # before a tool is opened
        ToolformerEvaluationConfig([llama], {"svmap": None}, tmp_path / "out")
    with pytest.raises(OptionError):  # named twice
        evaluate([llama, llama], {"dateset": None}, tmp_path / "out")
    data = written(tmp_path / "svamp.jsonl", ROWS[:1])
    with pytest.raises(ToolAlpacaError):
        evaluate([str(tmp_path / "no-model")], {"svamp": data}, tmp_path / "out")


def test_the_command(
    llama: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    written(tmp_path / "svamp.jsonl", ROWS[:2])
    written(tmp_path / "texts.jsonl", [{"text": "The tide is high."}])
    command = ["toolformer", "evaluate", "--model", llama, "--task", "svamp"]
    more = ["--task", "perplexity", "--tools", "calculator"]
    data = ["--data", "svamp=svamp.jsonl", "--data", "perplexity=texts.jsonl"]
    done = CliRunner().invoke(app, [*command, *more, *data])
    assert done.exit_code == 0, done.output
    folder = tmp_path / "outputs" / "toolformer-svamp-perplexity-tiny-llama"
    metrics = json.loads((folder / "metrics.json").read_text())
    assert [one["task"] for one in metrics["results"]] == ["svamp", "perplexity"]
    assert (
        f"{metrics['results'][1]['perplexity']['value']:.2f}" in done.stdout
        and str(folder.relative_to(tmp_path) / "report.md") in done.stdout
    )
    # What is wrong is one line.
    monkeypatch.setattr(sys, "argv", ["toolalpaca", *command, "--task", "nq", "--data", "svamp.jsonl"])
    with pytest.raises(SystemExit) as end:
        main()
    [line] = capsys.readouterr().err.splitlines()
    assert end.value.code == 2 and line.startswith("--data")
