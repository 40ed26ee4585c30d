"""A whole run: files in every form, tasks, a kill, and what is left behind."""

import gzip
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from proposing import SENTENCES
from typer.testing import CliRunner

from toolalpaca_hf.cli import app
from toolalpaca_hf.errors import NotFoundError, OptionError, SettingsMismatchError, ToolAlpacaError
from toolalpaca_hf.storage import FileInUseError, JsonlLog
from toolalpaca_hf.toolformer import (
    AnnotationConfig,
    AnnotationSettings,
    ApiSource,
    ResultCache,
    Tool,
    ToolCall,
    ToolSettings,
    annotate,
    read_candidates,
    tools_named,
)
from toolalpaca_hf.toolformer.annotation import pipeline
from toolalpaca_hf.toolformer.annotation.pipeline import (
    AnnotateStep,
    executor_of,
    read_texts,
    write_report,
)
from toolalpaca_hf.toolformer.rows import hub_rows

SETTINGS = AnnotationSettings({"Calculator": ToolSettings(0.0, 4, 3, -50.0)}, all_losses=True, call_tokens=24)


def write_texts(path: Path, count: int) -> Path:
    rows = [{"text": f"{SENTENCES[n % 4]} Number {n}.", "url": f"https://example.org/{n}"} for n in range(count)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def rows_of(out: Path, kind: str = "annotated") -> list[dict[str, Any]]:
    lines = [
        line for path in sorted(out.glob(f"{kind}-*.jsonl")) for line in path.read_text(encoding="utf-8").splitlines()
    ]
    return sorted((json.loads(line) for line in lines), key=lambda row: row["id"])


def without_losses(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Losses are computed together with others, so their last digits are not the same."""
    return [{**row, "calls": [(c["input"], c["result"], c["position"]) for c in row["calls"]]} for row in rows]


def config_of(source: Path, out: Path, model: Path, **options: Any) -> AnnotationConfig:
    fixed = {"threads": 1, "progress": False}
    return AnnotationConfig(str(source), str(out), str(model), ("calculator",), SETTINGS, **(fixed | options))


def test_tasks_do_not_change_the_result(proposer_folder: Path, tmp_path: Path) -> None:
    source = write_texts(tmp_path / "texts.jsonl", 20)
    one = annotate(config_of(source, tmp_path / "one", proposer_folder))
    three = annotate(config_of(source, tmp_path / "three", proposer_folder, tasks=3, workers=1))
    rows = rows_of(tmp_path / "one")
    assert without_losses(rows) == without_losses(rows_of(tmp_path / "three")) and len(rows) == 20
    assert one["outcomes"] == three["outcomes"] and one["outcomes"]["annotated"] > 0
    assert {row["id"] for row in rows} == {f"toolformer/texts/{n}" for n in range(20)}
    assert len(list((tmp_path / "three").glob("annotated-*.jsonl"))) == 3


def test_what_is_finished_is_not_made_again_after_a_kill(proposer_folder: Path, tmp_path: Path) -> None:
    source, out = write_texts(tmp_path / "texts.jsonl", 48), tmp_path / "killed"
    code = (
        "import sys, toolalpaca_hf.toolformer as tf;"
        "tools = {'Calculator': tf.ToolSettings(0.0, 4, 3, -50.0)};"
        "settings = tf.AnnotationSettings(tools, all_losses=True, call_tokens=24);"
        "options = {'candidates': True, 'threads': 1, 'progress': False};"
        "tf.annotate(tf.AnnotationConfig(*sys.argv[1:], ('calculator',), settings, **options))"
    )
    killed = subprocess.Popen(
        [sys.executable, "-c", code, str(source), str(out), str(proposer_folder)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"},
    )
    path = out / "annotated-00000.jsonl"
    for _ in range(6000):
        if path.is_file() and path.read_bytes().count(b"\n") >= 8:
            break
        assert killed.poll() is None
        time.sleep(0.1)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    before = path.read_bytes()
    done = before.count(b"\n")
    assert 8 <= done < 48
    with path.open("ab") as file:
        file.write(b'{"id": "toolformer/te')  # as a full disk, or a kill in the middle of a line, leaves it
    report = annotate(config_of(source, out, proposer_folder, candidates=True))
    after = path.read_bytes()
    assert after.startswith(before) and report["texts"] == 48
    rows = [json.loads(line) for line in after.splitlines()]
    assert [row["id"] for row in rows] == [f"toolformer/texts/{n}" for n in range(48)]
    beside = [json.loads(line)["id"] for line in (out / "candidates-00000.jsonl").read_text().splitlines()]
    assert beside == [row["id"] for row in rows]


def test_a_folder_of_other_settings_is_refused(proposer_folder: Path, tmp_path: Path) -> None:
    source = write_texts(tmp_path / "texts.jsonl", 2)
    annotate(config_of(source, tmp_path / "out", proposer_folder))
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").glob("*.json*")}
    with pytest.raises(SettingsMismatchError) as error:
        annotate(config_of(source, tmp_path / "out", proposer_folder, dtype="bfloat16"))
    assert error.value.differences == {"dtype": ("float32", "bfloat16")}
    write_texts(source, 3)  # other texts under the name of those that were annotated
    with pytest.raises(SettingsMismatchError) as error:
        annotate(config_of(source, tmp_path / "out", proposer_folder))
    assert list(error.value.differences) == ["texts"]
    assert before == {path.name: path.read_bytes() for path in (tmp_path / "out").glob("*.json*")}


def test_a_key_in_an_endpoints_address_is_written_nowhere(proposer_folder: Path, tmp_path: Path) -> None:
    source = write_texts(tmp_path / "texts.jsonl", 1)
    run = config_of(source, tmp_path / "out", proposer_folder, endpoint="http://me:secret-key@127.0.0.1:9/v1")
    with pytest.raises(ToolAlpacaError) as error:
        annotate(run)
    assert "secret-key" not in str(error.value) and not (tmp_path / "out").exists()


def test_the_pipeline_loads_no_torch_before_its_tasks_run() -> None:
    code = "import sys, toolalpaca_hf.toolformer.annotation.pipeline, toolalpaca_hf.cli; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


class Sums(Tool):
    """A tool of one's own, under the name that the model was taught."""

    name, prompt = "Calculator", "calculator.txt"

    def __call__(self, text: str) -> str | None:
        return f"the sum of {text}"


def own_tools() -> list[Tool]:
    return [Sums()]


def test_a_tool_of_ones_own_is_called(proposer_folder: Path, tmp_path: Path) -> None:
    source = write_texts(tmp_path / "texts.jsonl", 4)
    run = replace(config_of(source, tmp_path / "out", proposer_folder), tools=(), own=own_tools)
    assert annotate(run)["outcomes"]["annotated"] > 0
    calls = [call for row in rows_of(tmp_path / "out") for call in row["calls"]]
    assert {call["result"] == f"the sum of {call['input']}" for call in calls} == {True}
    assert json.loads((tmp_path / "out" / "config.json").read_text())["own"].endswith("own_tools")
    with pytest.raises(OptionError):  # two tools of one name
        annotate(replace(run, tools=("calculator",), out=str(tmp_path / "twice")))


def test_a_function_of_an_api_is_called(proposer_folder: Path, tmp_path: Path) -> None:
    document = {
        "openapi": "3.0.0",
        "info": {"title": "Sums", "version": "1"},
        "servers": [{"url": "https://sums.example.com"}],
        "paths": {
            "/sum": {
                "get": {
                    "operationId": "Calculator",
                    "description": "Computes.",
                    "parameters": [{"name": "of", "in": "query", "required": True, "schema": {"type": "string"}}],
                    "responses": {
                        "200": {
                            "description": "ok",
                            "content": {"application/json": {"schema": {"type": "integer", "enum": [9]}}},
                        }
                    },
                }
            }
        },
    }
    path = tmp_path / "sums.json"
    path.write_text(json.dumps(document))
    source = write_texts(tmp_path / "texts.jsonl", 4)
    run = replace(config_of(source, tmp_path / "out", proposer_folder), tools=(), api=ApiSource(str(path)))
    assert annotate(run)["outcomes"]["annotated"] > 0
    assert {call["result"] for row in rows_of(tmp_path / "out") for call in row["calls"]} == {"9"}


def test_a_key_in_the_address_of_an_api_is_written_nowhere(tmp_path: Path) -> None:
    source = ApiSource("https://me:secret@a.example/api?key=hush", "http://me:secret@127.0.0.1:80/x")
    noted = AnnotationConfig("texts.jsonl", "out", "smollm2", (), api=source).deciding()["api"]
    assert (noted["document"], noted["simulator"]) == ("https://a.example/api", "http://127.0.0.1:80/x")


def test_the_report_counts_what_the_files_say(proposer_folder: Path, tmp_path: Path) -> None:
    source = write_texts(tmp_path / "texts.jsonl", 12)
    report = annotate(config_of(source, tmp_path / "out", proposer_folder, candidates=True))
    rows, candidates = rows_of(tmp_path / "out"), list(read_candidates(tmp_path / "out"))
    of = report["tools"]["Calculator"]
    assert of["calls"] == sum(len(row["calls"]) for row in rows) > 0
    assert of["candidates"] == len(candidates) and of["executed"] == sum(c["result"] is not None for c in candidates)
    for threshold in ("0.5", "1.0", "2.0"):
        kept = [c for c in candidates if c["gain"] is not None and c["gain"] >= float(threshold)]
        assert of["kept"][threshold] == {"calls": len(kept), "texts": len({c["id"] for c in kept})}
    assert write_report(tmp_path / "out") == report


def test_each_document_has_its_own_day(tmp_path: Path) -> None:
    metas = [
        {"date": "2019-04-25", "url": "https://example.org/2012/07/01/a"},
        {"date": "2019-04-25", "url": "https://example.org/2013/07/01/a"},
        {"date": "2019-04-25", "url": "https://example.org/a"},
        {"date": "2018-04-25", "url": "https://example.org/a"},
    ]
    run = AnnotationConfig("texts.jsonl", str(tmp_path), "smollm2", ("calendar",))
    execute_all = executor_of(tools_named("calendar"), ResultCache(tmp_path / "results.sqlite"), run)
    found = execute_all([ToolCall("Calendar", "")] * 4, metas=metas)
    assert [answer.result and answer.result[-5:-1] for answer in found] == ["2012", "2013", "2019", "2018"]


def test_calls_of_all_documents_are_executed_together_and_equal_ones_once(tmp_path: Path) -> None:
    together, asked = threading.Barrier(2, timeout=20), []

    class Waits(Tool):
        name = key = "Waits"

        def __call__(self, text: str) -> str | None:
            asked.append(text)
            together.wait()
            return text

    run = AnnotationConfig("texts.jsonl", str(tmp_path), "smollm2", ())
    execute_all = executor_of({"Waits": Waits()}, ResultCache(tmp_path / "results.sqlite"), run)
    metas = [{"url": f"https://example.org/{n}"} for n in range(4)]
    found = execute_all([ToolCall("Waits", text) for text in "abab"], metas=metas)
    assert [answer.result for answer in found] == ["a", "b", "a", "b"] and sorted(asked) == ["a", "b"]


def test_a_shard_has_one_writer(proposer_folder: Path, tmp_path: Path) -> None:
    source, out = write_texts(tmp_path / "texts.jsonl", 3), tmp_path / "out"
    step = AnnotateStep(config_of(source, out, proposer_folder, candidates=True))
    list(step())
    path = out / "annotated-00000.jsonl"
    whole = path.read_bytes()
    with JsonlLog(path, key=None):
        with path.open("ab") as file:
            file.write(b'{"id": "under wa')
        with pytest.raises(FileInUseError):
            list(step())
        assert path.read_bytes() == whole + b'{"id": "under wa'  # which may be on its way
    # A kill between the two files leaves candidates of a text whose row is not there.
    path.write_bytes(whole[: whole.index(b"\n") + 1])
    list(step())
    ids = [f"toolformer/texts/{n}" for n in range(3)]
    assert [row["id"] for row in rows_of(out)] == [row["id"] for row in rows_of(out, "candidates")] == ids
    assert path.read_bytes().startswith(whole[: whole.index(b"\n") + 1])


@pytest.mark.parametrize("false", ["False", "false"])
def test_the_command_hands_a_cluster_what_its_options_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, false: str
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    source, out = write_texts(tmp_path / "texts.jsonl", 4), tmp_path / "out"
    settings = (
        "gpus_per_task=1",
        f"requeue={false}",
        "tasks_per_job=2",
        "time=01:00:00",
        "env_command=module load x=1",
    )
    command = ["toolformer", "annotate", "--input", str(source), "--out", str(out), "--tools", "qa"]
    command += ["--qa-model", "gpt-9", "--qa-endpoint", "http://127.0.0.1:9/v1", "--qa-chat"]
    command += ["--executor", "slurm", "--tasks", "4", *(part for one in settings for part in ("--slurm", one))]
    result = CliRunner().invoke(app, command)
    assert isinstance(result.exception, ToolAlpacaError)  # there is no sbatch
    script = (out / "logs" / "launch_script.slurm").read_text().splitlines()
    assert {"#SBATCH --gpus=1", "#SBATCH --array=0-1%4", "#SBATCH --time=01:00:00", "module load x=1"} <= set(script)
    assert not any("requeue" in line for line in script)
    config = json.loads((out / "config.json").read_text())
    assert config["context"]["qa_chat"] is True and config["settings"]["tools"] == {}  # no other than the paper's


@pytest.mark.parametrize(("executor", "threads"), [("local", 1), ("slurm", None), ("ray", None)])
def test_other_machines_take_their_own_threads(
    proposer_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, executor: Any, threads: int | None
) -> None:
    handed: list[AnnotateStep] = []
    monkeypatch.setattr(pipeline, "run_pipeline", lambda steps, **_: handed.extend(steps))
    source, cores = write_texts(tmp_path / "texts.jsonl", 4), len(os.sched_getaffinity(0))
    config = config_of(source, tmp_path / "out", proposer_folder, threads=None)
    assert annotate(replace(config, executor=executor, tasks=cores, workers=cores + 1)) == {}
    assert handed[0]._config.threads == (threads if cores > 1 else None)


def test_a_worker_in_another_folder_finds_what_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("texts", "model", "corpus", "smollm2", "gpt-9"):
        (tmp_path / folder).mkdir()
    context = {"corpus": "corpus", "qa_model": "gpt-9"}
    run = AnnotationConfig("texts", "out", "model", (), context=context, api=ApiSource("https://a.example/x.json"))
    placed = run.absolute()
    assert (placed.source, placed.out, placed.model) == tuple(str(tmp_path / one) for one in ("texts", "out", "model"))
    assert placed.context == {name: str(tmp_path / value) for name, value in context.items()}
    assert placed.served_model == "model" and placed.api == run.api
    # What is no path stays as it is, whatever folders there are.
    named = replace(
        run, model="smollm2", context={"qa_model": "gpt-9", "qa_endpoint": "http://127.0.0.1:9/v1"}
    ).absolute()
    assert named.model == "smollm2" and named.context["qa_model"] == "gpt-9"
    assert AnnotateStep(run)._config == placed


def test_the_report_adds_up_what_failed(tmp_path: Path) -> None:
    settings = {"tools": {}, "seed": 0}
    (tmp_path / "config.json").write_text(json.dumps({"candidates": False, "model": "m", "settings": settings}))
    counts = [{"away": 2, "a | b": 1}, {"away": 3, **{f"no {n}": 1 for n in range(10)}}, None]
    for rank, of in enumerate(counts):
        sampled = {"candidates": 20, "executed": 1, **({} if of is None else {"errors": of})}
        row = {"id": str(rank), "outcome": "no call kept", "calls": [], "sampled": {"QA": sampled}}
        (tmp_path / f"annotated-{rank:05d}.jsonl").write_text(json.dumps(row) + "\n")
    of = write_report(tmp_path)["tools"]["QA"]
    assert (of["candidates"], of["executed"]) == (60, 3)
    assert of["errors"] == {"away": 5, "a | b": 1, "no 0": 1, "no 1": 1, "no 2": 1, "other errors": 7}
    lines = (tmp_path / "report.md").read_text().splitlines()
    assert "| QA | away | 5 |" in lines and "| QA | a &#124; b | 1 |" in lines


def test_a_report_of_no_text(tmp_path: Path) -> None:
    settings = {"tools": {}, "seed": 0}
    (tmp_path / "config.json").write_text(json.dumps({"candidates": True, "model": "m", "settings": settings}))
    assert write_report(tmp_path)["texts"] == 0
    assert "0 texts, model `m`." in (tmp_path / "report.md").read_text()


def test_every_kind_of_file_is_read(tmp_path: Path) -> None:
    rows = [
        {"raw_content": "One.", "url": "https://a.org/1", "date_download": "2019-01-02T03:04:05Z"},  # CCNet
        {"text": "Two.", "url": "https://a.org/2", "timestamp": "2019-04-25T12:57:54Z"},  # C4
    ]
    lines = "".join(json.dumps(row) + "\n" for row in rows).encode()
    (tmp_path / "a.jsonl").write_bytes(lines)
    (tmp_path / "b.json.gz").write_bytes(gzip.compress(lines))
    (tmp_path / "c.jsonl.zst").write_bytes(zstandard.compress(lines))
    (tmp_path / "sub").mkdir()
    pq.write_table(pa.Table.from_pylist([{"text": "Two.", "id": 7}]), tmp_path / "sub" / "d.parquet")
    found = list(read_texts(str(tmp_path)))
    assert [(text.id, text.text) for text in found] == [
        ("toolformer/a/0", "One."),
        ("toolformer/a/1", "Two."),
        ("toolformer/b/0", "One."),
        ("toolformer/b/1", "Two."),
        ("toolformer/c/0", "One."),
        ("toolformer/c/1", "Two."),
        ("toolformer/sub/d/0", "Two."),
    ]
    assert found[0].meta == {"url": "https://a.org/1", "date": "2019-01-02T03:04:05Z"}
    assert found[1].meta["date"] == "2019-04-25T12:57:54Z" and found[-1].meta == {"source_id": "7"}


@pytest.mark.parametrize("kind", ["json", "jsonl", "json.gz", "json.zst"])
def test_a_json_list_is_read(tmp_path: Path, kind: str) -> None:
    rows = [{"text": "One."}, {"text": 2}, "Three."]
    pack = {"gz": gzip.compress, "zst": zstandard.compress}.get(kind.split(".")[-1], bytes)
    path = tmp_path / f"a.{kind}"
    for indent, mark in ((None, ""), (2, ""), (None, "\ufeff")):
        path.write_bytes(pack((mark + json.dumps(rows, indent=indent)).encode()))
        assert [(text.id, text.text) for text in read_texts(str(path))] == [
            ("toolformer/a/0", "One."),
            ("toolformer/a/1", ""),
            ("toolformer/a/2", "Three."),
        ]
    # Lines, the first of which is a list.
    path.write_bytes(pack(b'[1]\n{"text": "Two."}\n'))
    assert [text.problem for text in read_texts(str(path))] == ["no JSON object", None]


def test_files_of_one_name_have_ids_of_their_own(tmp_path: Path) -> None:
    for name in ("x.json", "x.jsonl", "y.jsonl", "sub/x.jsonl", "x.jsonl.jsonl"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text('{"text": "One."}\n')
    found = [text.id for text in read_texts(str(tmp_path))]
    names = ("sub/x", "x.json", "x.jsonl", "x.jsonl.jsonl", "y")
    assert sorted(found) == sorted(f"toolformer/{name}/0" for name in names)
    # Where nothing coincides, the name alone is used.
    assert [text.id for text in read_texts(str(tmp_path / "x.json"))] == ["toolformer/x/0"]


def test_datasets_are_read_as_files_are(tmp_path: Path) -> None:
    rows = [
        {"raw_content": "One.", "url": "https://a.org/1", "date_download": "2019-01-02T03:04:05Z"},
        {"raw_content": "Two.", "url": "https://a.org/2", "date_download": "2020-01-02T03:04:05Z"},
    ]
    (tmp_path / "set").mkdir()
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "set" / "train-0.parquet")
    assert (
        list(hub_rows(str(tmp_path / "set"), None, "train", "", streaming=True)) == rows
    )  # `load_dataset` opens folders as it does repos
    with pytest.raises(NotFoundError):
        list(hub_rows(str(tmp_path / "set"), None, "test", "", streaming=True))


@pytest.mark.parametrize("tasks", [1, 2, 3, 5])
def test_shares_are_all_texts_once(tmp_path: Path, tasks: int) -> None:
    for name, count in (("a", 5), ("b", 1), ("c", 7)):
        write_texts(tmp_path / f"{name}.jsonl", count)
    whole = [text.id for text in read_texts(str(tmp_path))]
    shards = [[text.id for text in read_texts(str(tmp_path), rank, tasks)] for rank in range(tasks)]
    assert sorted(id for shard in shards for id in shard) == sorted(whole) and all(shards)
    # Going on within a shard is the shard without its beginning.
    assert [[t.id for t in read_texts(str(tmp_path), r, tasks, skip=2)] for r in range(tasks)] == [
        s[2:] for s in shards
    ]


def test_rows_that_can_not_be_read_say_why(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(
        b'{"text": "Good."}\nnot json\n[1]\n\n{"text": 5}\n{"text": "\xff"}\n"Text alone."\n'
    )
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(os.urandom(100).hex().encode() * 9000)[:2000])
    (tmp_path / "c.parquet").write_bytes(b"PAR1 but not really")
    found = {text.id: (text.text, text.problem) for text in read_texts(str(tmp_path))}
    assert found == {
        "toolformer/a/0": ("Good.", None),
        "toolformer/a/1": ("", "no JSON"),
        "toolformer/a/2": ("", "no JSON object"),
        "toolformer/a/3": ("", "no text in text or raw_content or content"),
        "toolformer/a/4": ("", "no valid UTF-8"),
        "toolformer/a/5": ("Text alone.", None),
        "toolformer/b/0": ("", "b.jsonl.gz cannot be read from here on: EOFError"),
        "toolformer/c/0": ("", "c.parquet cannot be read from here on: ArrowInvalid"),
    }


def test_what_is_written_is_no_input(tmp_path: Path) -> None:
    write_texts(tmp_path / "texts.jsonl", 2)
    for out in (tmp_path / "annotated", tmp_path):
        with pytest.raises(OptionError) as error:
            annotate(config_of(tmp_path, out, tmp_path))
        assert error.value.option == "--out" and [path.name for path in tmp_path.iterdir()] == ["texts.jsonl"]


@pytest.mark.parametrize("source", ["nowhere.jsonl", "./nowhere", "/no/such/folder"])
def test_an_input_that_is_not_there_is_named(source: str) -> None:
    with pytest.raises(NotFoundError) as error:
        list(read_texts(source))
    assert error.value.file == source


def test_the_command(proposer_folder: Path, tmp_path: Path) -> None:
    source, out = write_texts(tmp_path / "texts.jsonl", 3), tmp_path / "out"
    with source.open("a") as file:
        file.write("not json\n")
    command = ["toolformer", "annotate", "--model", str(proposer_folder), "--tools", "calculator"]
    command += [
        "--input",
        str(source),
        "--out",
        str(out),
        "--executor",
        "local",
        "--k",
        "2",
        "--m",
        "2",
        "--tau-f=-50",
    ]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    report = json.loads((out / "report.json").read_text())
    assert report["outcomes"]["no JSON"] == 1 and "no JSON" in result.output and "Calculator" in result.output
    counts = report["tools"]["Calculator"]
    assert 0 < counts["calls"] <= counts["executed"] <= counts["candidates"] <= 3 * 2 * 2
    assert counts["calls"] == sum(len(row["calls"]) for row in rows_of(out))
    assert [row["id"] for row in rows_of(out)] == [f"toolformer/texts/{n}" for n in range(4)]
    config = json.loads((out / "config.json").read_text())
    assert config["markers"] == {"start": "[", "end": "]", "arrow": "->"}
    assert config["settings"]["tools"]["Calculator"] == {"tau_s": 0.0, "k": 2, "m": 2, "tau_f": -50.0}


def test_a_tool_that_does_not_exist_is_named(proposer_folder: Path, tmp_path: Path) -> None:
    source = write_texts(tmp_path / "texts.jsonl", 1)
    run = AnnotationConfig(str(source), str(tmp_path / "out"), str(proposer_folder), ("abacus",))
    with pytest.raises(OptionError) as error:
        annotate(run)
    assert error.value.option == "--tools"
    assert not (tmp_path / "out").exists()
