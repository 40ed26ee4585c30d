"""What a run leaves in its folder, and with which settings it goes on."""

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from huggingface_hub import ModelCard

from toolalpaca_hf.errors import InputError
from toolalpaca_hf.training import start_or_resume
from toolalpaca_hf.training.results import training_card, write_results


def test_where_a_run_is_and_is_pushed_is_no_other_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, settings = tmp_path / "run", {"seed": 1, "output_dir": "a", "hub_revision": None, "hub_strategy": "end"}
    start_or_resume(folder, settings, "rows")
    (folder / "checkpoint-1").mkdir()
    (folder / "checkpoint-1" / "trainer_state.json").write_text('{"global_step": 1}', encoding="utf-8")
    moved = settings | {"output_dir": "b", "hub_revision": "v1", "hub_strategy": "checkpoint", "push_to_hub": True}
    assert start_or_resume(folder, moved, "rows")[0] == folder / "checkpoint-1"
    assert start_or_resume(folder, moved, "other rows")[0] is None
    monkeypatch.setenv("WORLD_SIZE", "1")
    (folder / "_superseded" / "checkpoint-1").rename(folder / "checkpoint-1")
    assert start_or_resume(folder, moved, "other rows")[0] == folder / "checkpoint-1"
    monkeypatch.setenv("WORLD_SIZE", "2")
    (folder / "data_fingerprint").write_text("other rows\n", encoding="utf-8")  # of an earlier version
    assert start_or_resume(folder, moved, "other rows")[0] == folder / "checkpoint-1"
    monkeypatch.setenv("WORLD_SIZE", "1")  # a step is another
    resumed, sentence = start_or_resume(folder, moved, "other rows")
    assert resumed is None and "number of processes" in sentence
    for damaged in (b"seed: \xff", b"seed: 1\nbf16"):
        (folder / "config.yaml").write_bytes(damaged)
        with pytest.raises(InputError) as caught:
            start_or_resume(folder, moved, "rows")
        assert caught.value.file == folder / "config.yaml"


def trainer(folder: Path, history: list[dict[str, Any]], evaluated: dict[str, float]) -> Any:
    state = SimpleNamespace(global_step=2, epoch=1.0, log_history=history)
    args, evaluate, first = SimpleNamespace(output_dir=folder), lambda: evaluated, lambda: True
    return SimpleNamespace(state=state, args=args, eval_dataset=[], evaluate=evaluate, is_world_process_zero=first)


def test_figures_of_a_run_that_diverged_are_json(tmp_path: Path) -> None:
    history = [{"loss": 2.0, "grad_norm": math.inf}, {"loss": math.nan}]
    write_results(trainer(tmp_path, history, {"eval_loss": 1e6}), {"model_name_or_path": "outputs/a: b #2"})
    written = [(tmp_path / name).read_text(encoding="utf-8") for name in ("metrics.json", "log_history.json")]
    metrics, logged = (json.loads(text, parse_constant=lambda name: 1 / 0) for text in written)
    assert (metrics["first_loss"], metrics["final_loss"], metrics["eval_perplexity"]) == (2.0, None, None)
    assert logged == [{"loss": 2.0, "grad_norm": None}, {"loss": None}]
    assert ModelCard.load(tmp_path / "README.md").data.base_model == "outputs/a: b #2"


def test_each_of_several_held_out_datasets_has_its_loss(tmp_path: Path) -> None:
    metrics = write_results(trainer(tmp_path, [], {"eval_a_loss": 0.0, "eval_b_loss": 1.0, "eval_runtime": 3.0}), {})
    assert {name: value for name, value in metrics.items() if "eval" in name} == {
        "eval_a_loss": 0.0, "eval_a_perplexity": 1.0, "eval_b_loss": 1.0, "eval_b_perplexity": math.e
    }  # fmt: skip


def test_a_card_names_any_base() -> None:
    for base in ("org/model", "outputs/5", "C:\\models", "a: b #2", "模型"):
        card = ModelCard(training_card({"model_name_or_path": base}, {}))
        assert card.data.base_model == base and f"Base model `{base}`" in card.content
