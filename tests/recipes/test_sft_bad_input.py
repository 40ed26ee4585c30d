"""What the user can fix is an error with a type, the file or option it is about, and no folder left behind."""

import json
import runpy
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import RECIPES, written_yaml
from datasets import Dataset
from safetensors.torch import load_file
from tiny_models import save_tiny_llama, tiny_tokenizer

from toolalpaca_hf.errors import InputError, NotFoundError, OptionError, ToolAlpacaError, UnsupportedModelError
from toolalpaca_hf.inference import load_model
from toolalpaca_hf.training import SegmentSFTConfig, parse_arguments
from toolalpaca_hf.training.dataset import hold_out
from toolalpaca_hf.training.loading import load_tokenizer

Fails = Callable[..., None]
PLAIN = {"augment_copies": 0, "tool_hints": 0, "prefix_packing": "false"}


@pytest.fixture
def fails(train: Callable[..., None], arguments: list[str], tmp_path: Path) -> Fails:
    """Runs the recipe and expects an error of a type about a file or an option."""

    def fails(
        kind: type[ToolAlpacaError], about: object = None, argv: list[str] | None = None, **fields: object
    ) -> None:
        with pytest.raises(kind) as caught:
            train(arguments if argv is None else argv, **fields)
        assert about is None or str(about) in (str(caught.value.file), caught.value.option)
        assert not (tmp_path / "run").exists()

    return fails


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)


def test_the_command_itself(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    command = [str(RECIPES / "sft.py"), "--config", str(tmp_path / "none.yaml")]
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as end:
        runpy.run_path(command[0], run_name="__main__")
    [line] = capsys.readouterr().err.splitlines()
    assert end.value.code == 2 and str(tmp_path / "none.yaml") in line


def test_config_files(fails: Fails, tmp_path: Path) -> None:
    fails(OptionError, "--config", argv=["--config"])
    broken = tmp_path / "broken.yaml"
    broken.write_text("- a\n- list\n")
    fails(OptionError, broken, argv=["--config", str(broken)])
    broken.write_text("model_name_or_path: [unclosed\n")
    fails(InputError, broken, argv=["--config", str(broken)])
    unknown = written_yaml(tmp_path, learning_rat=1.0e-3)
    fails(OptionError, unknown, argv=["--config", str(unknown)])
    wrong = written_yaml(tmp_path, max_steps="two")
    fails(OptionError, argv=["--config", str(wrong)])


def test_arguments(fails: Fails) -> None:
    fails(OptionError, learning_rat=1)
    fails(OptionError, max_steps="two")
    fails(OptionError, overlong="keep")
    fails(OptionError, "trust_remote_code", trust_remote_code="true")
    fails(OptionError, "trust_remote_code", model_init_kwargs='{"trust_remote_code": true}')
    fails(OptionError, load_in_4bit="true", load_in_8bit="true")
    fails(OptionError, "prefix_packing", packing="true")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("prefix_packing_attention", "nods"), ("overlong", "cutt"), ("freeze_layers", -1), ("augment_copies", 1.5),
        ("augment_copies", -1), ("augment_mask_names", 3), ("eval_fraction", -0.5), ("tool_hints", None),
        ("max_length", 0), ("trust_remote_code", True),
    ],
)  # fmt: skip
def test_a_value_that_a_field_cannot_have_is_refused_from_a_file_too(
    field: str, value: object, tmp_path: Path
) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(json.dumps({field: value, "use_cpu": True, "bf16": False}), encoding="utf-8")
    with pytest.raises(OptionError) as caught:
        parse_arguments([f"--config={path}"])
    assert caught.value.option == field


def test_models(fails: Fails, llama: Path, tmp_path: Path) -> None:
    fails(NotFoundError, "no/such-model", model_name_or_path="no/such-model")
    fails(ToolAlpacaError, model_name_or_path=tmp_path / "nothing")
    without_eos = save_tiny_llama(tmp_path / "without-eos", tiny_tokenizer(pad_token="<|endoftext|>"))
    fails(UnsupportedModelError, without_eos, model_name_or_path=without_eos)
    fails(OptionError, "eos_token", eos_token="<|nothing|>")
    (broken := tmp_path / "broken").mkdir()
    for file in llama.iterdir():
        (broken / file.name).write_bytes(b'{"a": 1}' if file.name == "tokenizer.json" else file.read_bytes())
    fails(NotFoundError, broken, model_name_or_path=broken)
    (without_weights := tmp_path / "without-weights").mkdir()
    for file in llama.glob("*.json"):
        (without_weights / file.name).write_bytes(file.read_bytes())
    fails(UnsupportedModelError, without_weights, model_name_or_path=without_weights)
    # Pickled weights are no weights, unless one insists.
    torch.save(load_file(llama / "model.safetensors"), without_weights / "pytorch_model.bin")
    fails(UnsupportedModelError, without_weights, model_name_or_path=without_weights)
    with pytest.raises(NotFoundError, match="--allow-bin"):
        load_model(str(without_weights))


def test_a_model_without_chat_template(fails: Fails) -> None:
    fails(UnsupportedModelError, dataset_config="chat", assistant_only_loss="true", **PLAIN)


def test_what_would_be_ignored_is_refused(fails: Fails) -> None:
    fails(OptionError, "augment_copies", dataset_config="chat", tool_hints=0)
    fails(OptionError, "tool_hints", dataset_config="chat", augment_copies=0)
    fails(OptionError, "augment_descriptions", **PLAIN, augment_descriptions=2)


def test_datasets(fails: Fails, built: Path, tmp_path: Path) -> None:
    fails(NotFoundError, "no/such-folder", dataset_name="no/such-folder")
    fails(NotFoundError, tmp_path / "missing", dataset_name=tmp_path / "missing")
    fails(NotFoundError, "dataset_config", dataset_config="sftt")
    fails(NotFoundError, "dataset_config", dataset_name=built, dataset_config="sftt")
    fails(NotFoundError, "dataset_train_split", dataset_train_split="dev")
    fails(NotFoundError, "dataset_train_split", dataset_name=built, dataset_train_split="dev")
    fails(InputError, "sample", dataset_config="trajectories")
    fails(OptionError, "eval_fraction", eval_fraction=1.0)
    fails(OptionError, "dataset_test_split", eval_fraction=0.1, dataset_test_split="train")

    other = tmp_path / "other"
    (other / "sft").mkdir(parents=True)
    Dataset.from_dict({"id": ["a"], "api": ["b"], "text": ["c"]}).to_parquet(other / "sft" / "train.parquet")
    (other / "README.md").write_text("---\nconfigs:\n- config_name: sft\n  data_dir: sft\n---\n")
    for streaming in ("false", "true"):
        fails(InputError, other, dataset_name=other, dataset_streaming=streaming, **PLAIN)


@pytest.mark.parametrize("streaming", ["false", "true"])
def test_nothing_is_left_to_train_on(fails: Fails, built: Path, streaming: str) -> None:
    fails(InputError, dataset_name=built, dataset_streaming=streaming, **PLAIN, max_length=10, overlong="drop")


def test_streams(fails: Fails, built: Path) -> None:
    stream = {"dataset_name": built, "dataset_streaming": "true"}
    fails(OptionError, "dataset_streaming", **stream, prefix_packing="false")
    fails(OptionError, "dataset_streaming", **stream, augment_copies=0, tool_hints=0)
    fails(OptionError, "dataset_streaming", **stream, **PLAIN, packing="true")
    fails(OptionError, "max_steps", **stream, **PLAIN, max_steps=-1)
    fails(OptionError, "eval_strategy", **stream, **PLAIN, eval_fraction=0.1)


def test_an_output_folder_that_is_a_file(fails: Fails, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    fails(ToolAlpacaError, output_dir=tmp_path / "file")


def test_a_damaged_dataset_folder(fails: Fails, built: Path, tmp_path: Path) -> None:
    for name, keep in (("half", 0.5), ("none", 0)):
        shutil.copytree(built, tmp_path / name)
        [file] = (tmp_path / name / "sft").glob("*.parquet")
        file.write_bytes(file.read_bytes()[: int(file.stat().st_size * keep)])
        fails(InputError, tmp_path / name, dataset_name=tmp_path / name)
        file.unlink()
        fails(InputError, tmp_path / name, dataset_name=tmp_path / name)
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "sft.jsonl").write_text(json.dumps({"segments": 1}) + "\n{")
    fails(NotFoundError, "dataset_config", dataset_name=tmp_path / "damaged")


def test_rows_of_ones_own_are_held_out_without_naming_an_api() -> None:
    rows = Dataset.from_list([{"messages": [{"role": "user", "content": str(i)}]} for i in range(10)])
    kept, held_out = hold_out(rows, 0.2, seed=0)
    assert len(kept) == 8 and len(held_out) == 2


def test_the_unknown_token_may_end_or_pad_a_row(tmp_path: Path) -> None:
    token = "<|endoftext|>"
    tiny_tokenizer(eos_token=token, unk_token=token).save_pretrained(tmp_path)
    config = SegmentSFTConfig("run", use_cpu=True, bf16=False, eos_token=token, pad_token=token)
    assert load_tokenizer(str(tmp_path), config).pad_token == token
