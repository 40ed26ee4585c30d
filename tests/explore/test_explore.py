"""What the app shows: rows, trajectories and rollouts, from folders as the commands write them."""

import json
import socket
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset
from tiny_models import save_tiny_llama

from toolalpaca_hf.data import make_prompt, read_corpus, resolve_sources, trajectory_of, write_repo
from toolalpaca_hf.errors import InputError, NotFoundError, OptionError
from toolalpaca_hf.explore import DatasetView, Playground, RunView, find_targets, row_page, targets, trajectory_page
from toolalpaca_hf.explore.app import framed
from toolalpaca_hf.features import ROLLOUT_FEATURES
from toolalpaca_hf.schema import Trajectory

HOSTILE = "</pre><script>alert(1)</script>"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("built") / "sample"
    write_repo(resolve_sources("sample"), folder, make_prompt("react"))
    return folder


@pytest.fixture
def run(tmp_path: Path) -> Path:
    step = {"thought": "I look.", "action": "findTide", "action_input": "{}", "observation": HOSTILE, "log": None}
    rows = [
        {"id": f"e/tides/{i}", "api": "e/tides", "instruction": f"Tide {i}?", "hint": "", "steps": [step]}
        | {"final_thought": None, "response": "At noon.", "ended": ended, "error": "", "tokens": 9, "seconds": 1.0}
        for i, ended in enumerate(("answered", "steps"))
    ]
    folder = tmp_path / "run"
    (folder / "rollouts").mkdir(parents=True)
    Dataset.from_list(rows, features=ROLLOUT_FEATURES).to_parquet(folder / "rollouts" / "trajectories.parquet")
    records = [
        {"id": row["id"], "api": "Tides", "index": i, "instruction": row["instruction"], "ended": row["ended"]}
        | {"golden_calls": [{"action": "findTide", "action_input": "{}"}], "process_verdict": verdict, "reason": "why"}
        for i, (row, verdict) in enumerate(zip(rows, ("Yes", "No"), strict=True))
    ]
    (folder / "instructions.json").write_text(json.dumps(records))
    return folder


def test_folders_are_known_by_what_they_hold(built: Path, run: Path, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text('{"model_type": "llama"}')
    kinds = [t.kind for t in find_targets([str(built), str(run), str(run / "rollouts"), str(tmp_path / "model")])]
    assert kinds == ["dataset", "run", "run", "model"]
    (tmp_path / "made" / "dataset").mkdir(parents=True)
    (tmp_path / "made" / "create.json").write_text("{}")
    run.rename(tmp_path / "made" / "after")
    assert [t.path.name for t in find_targets([str(tmp_path / "made")])] == ["after"]
    with pytest.raises(NotFoundError):
        find_targets(["nowhere"])
    (tmp_path / "annotation").mkdir()
    for text in ('{"markers": {}}', "[]", "{"):  # that of no model
        (tmp_path / "annotation" / "config.json").write_text(text)
        with pytest.raises(InputError):
            find_targets([str(tmp_path / "annotation")])
    with pytest.raises(InputError):
        find_targets([str(tmp_path / "made" / "dataset")])


def test_a_line_without_an_instruction_is_shown(tmp_path: Path) -> None:
    (tmp_path / "rollouts.jsonl").write_text('{"id": "x"}\n{"id": "y", "instruction": "Go."}\n')
    view = RunView(tmp_path)
    assert view.choose() == [("None: ", "x"), ("None: Go.", "y")] and view.trajectory("x") is None
    assert "There is none." in trajectory_page(view, "x")


def test_what_is_trained_on_is_marked(built: Path) -> None:
    view = DatasetView(built)
    segments = view.segments(view.ids[0])
    page = row_page(view.ids[0], segments)
    assert page.count("<mark>") == 1 + sum(segment["trainable"] for segment in segments)
    assert "<script>" not in row_page("x", [{"text": HOSTILE, "trainable": True}])


def test_filters_leave_what_they_say(run: Path) -> None:
    view = RunView(run)
    assert view.values("process_verdict") == ["all", "No", "Yes"] and len(view.choose()) == 2
    for wanted in (("all", "No"), ("Tides", "all", "steps")):
        assert [name for _, name in view.choose(*wanted)] == ["e/tides/1"]
    assert view.choose("Other") == []


def test_a_trajectory_stands_beside_its_golden_calls_and_runs_nothing(run: Path) -> None:
    page = trajectory_page(RunView(run), "e/tides/0")
    assert "Golden calls" in page and "findTide" in page and "At noon." in page and "<script>" not in page
    assert " open>" in page and "no such row" in trajectory_page(RunView(run), "other")
    assert "<script" not in framed(page, "x") and framed(page, "x").startswith("<iframe sandbox ")
    unscored = RunView(run / "rollouts")
    assert len(unscored.records) == 2 and "Golden" not in trajectory_page(unscored, "e/tides/0")


def test_a_run_that_is_not_finished_is_shown(run: Path) -> None:
    file = run / "rollouts" / "trajectories.parquet"
    *rows, last = pq.read_table(file).to_pylist()
    failed = last | {"ended": "failed", "error": "gone"}
    lines = [json.dumps(row) for row in (failed, *rows, last)]
    (run / "rollouts" / "rollouts.jsonl").write_text("\n".join([*lines, lines[0][:40]]))
    file.unlink()
    (run / "instructions.json").unlink()
    (target,) = find_targets([str(run)])
    view = RunView(target.path)
    assert [record["ended"] for record in view.records.values()] == ["steps", "answered"]
    assert "At noon." in trajectory_page(view, "e/tides/1")


def test_verdicts_that_were_counted_alone_are_shown(tmp_path: Path) -> None:
    record = {"id": "Tides/14|1", "api": "Tides", "index": 14, "failed": False, "ended": "answered", "error": ""}
    judge = {"process": "Yes", "response": "No", "text": "The calls are right.", "error": ""}
    (tmp_path / "instructions.json").write_text(json.dumps([record | {"judge": judge}]))
    view = RunView(tmp_path)
    assert [name for _, name in view.choose()] == ["Tides/14|1"]
    assert "The calls are right." in trajectory_page(view, "Tides/14|1")


@pytest.mark.parametrize("note", ["{", "[]", "{}", '{"settings": 5}', '{"settings": {"responder": "schema"}}'])
def test_a_damaged_note_of_a_run_costs_no_page(run: Path, note: str) -> None:
    for name, text in (("run.json", note), ("trajectories.json", "[]")):
        (run / "rollouts" / name).write_text(text)
    assert "At noon." in trajectory_page(RunView(run), "e/tides/0")


@pytest.mark.parametrize("rows", [{"id": ["b"]}, {"id": ["b"], "segments": ["a text"]}])
def test_a_dataset_whose_files_do_not_fit_is_named(tmp_path: Path, rows: dict[str, Any]) -> None:
    (tmp_path / "sft").mkdir()
    for name, content in (("a", rows), ("b", {"id": ["c"], "segments": [[{"text": "x", "trainable": True}]]})):
        pq.write_table(pa.table(content), tmp_path / "sft" / f"{name}.parquet")
    with pytest.raises(InputError) as raised:
        DatasetView(tmp_path)
    assert raised.value.file == tmp_path / "sft"


@pytest.mark.parametrize("content", [b"PAR1", pq.write_table])
def test_a_run_that_cannot_be_read_is_named(run: Path, content: Any) -> None:
    file = run / "rollouts" / "trajectories.parquet"
    content(pa.table({"id": ["a"]}), file) if callable(content) else file.write_bytes(content)
    with pytest.raises(InputError) as raised:
        RunView(run)
    assert raised.value.file == file


def test_of_many_rollouts_only_the_one_that_is_looked_at_is_read(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = run / "rollouts" / "trajectories.parquet"
    rows = Dataset.from_parquet(str(file)).to_list() * 500
    Dataset.from_list([row | {"id": f"e/tides/{n}"} for n, row in enumerate(rows)], ROLLOUT_FEATURES).to_parquet(file)
    made: list[Trajectory] = []
    monkeypatch.setattr(targets, "trajectory_of", lambda row: made.append(trajectory_of(row)) or made[-1])
    view = RunView(run / "rollouts")
    assert len(view.choose()) == 1000 and not made
    assert "At noon." in trajectory_page(view, "e/tides/999") and len(made) == 1


@pytest.mark.slow
def test_the_app_serves_and_the_playground_answers(built: Path, run: Path, tmp_path: Path) -> None:
    pytest.importorskip("gradio")
    from toolalpaca_hf.agent import load_backend
    from toolalpaca_hf.explore import build_app
    from toolalpaca_hf.explore.app import launch

    model = save_tiny_llama(tmp_path / "model")
    apis = read_corpus(resolve_sources("sample")).apis["eval_simulated"]
    app = build_app(find_targets([str(built), str(run), str(run / "rollouts"), str(model)]), apis)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    try:
        url = launch(app, port, block=False)
        text = httpx.get(url).text
        assert all(tab in text for tab in ("Data", "Trajectories", "Side by side", "Playground"))
        with pytest.raises(OptionError):  # by now the port is in use
            launch(build_app(find_targets([str(run)])), port, block=False)
    finally:
        app.close()
    pages = list(Playground(lambda: load_backend(str(model)), apis).ask(apis[0].name, "Which fruit is in season?"))
    assert len(pages) >= 2 and "Which fruit is in season?" in str(pages[-1][0])
    assert pages[0][1].startswith("<pre") and len({writing for _, writing in pages}) > 3  # while it is written
