"""What the user can mend is one sentence that starts with `error:`, an exit status, and no folder left behind."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import RECIPES, written_yaml
from datasets import Dataset
from tiny_models import save_tiny_llama, tiny_tokenizer

Fails = Callable[..., None]


@pytest.fixture
def fails(
    train: Callable[..., None], arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Fails:
    """Runs the recipe and looks for its sentence, all of whose `parts` are in it."""

    def fails(*parts: str, argv: list[str] | None = None, **fields: object) -> None:
        with pytest.raises(SystemExit) as exit_:
            train(arguments if argv is None else argv, **fields)
        assert exit_.value.code == 2
        captured = capsys.readouterr()
        *_, last = captured.err.strip().splitlines()
        assert last.startswith("error: ")
        assert "Traceback" not in captured.err
        for part in parts:
            assert part in last
        assert not (tmp_path / "run").exists()

    return fails


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)


def test_the_command_itself(environment: dict[str, str], tmp_path: Path) -> None:
    command = [sys.executable, str(RECIPES / "sft.py"), "--config", str(tmp_path / "none.yaml")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert (
        done.stderr.strip()
        .splitlines()[-1]
        .startswith(f"error: {tmp_path / 'none.yaml'} can not be read (No such file")
    )
    assert "Traceback" not in done.stderr


def test_config_files(fails: Fails, tmp_path: Path) -> None:
    fails("names no file", argv=["--config"])
    broken = tmp_path / "broken.yaml"
    broken.write_text("- a\n- list\n")
    fails(str(broken), "mapping", argv=["--config", str(broken)])
    broken.write_text("model_name_or_path: [unclosed\n")
    fails(str(broken), "not YAML", argv=["--config", str(broken)])
    unknown = written_yaml(tmp_path, learning_rat=1.0e-3)
    fails(str(unknown), "--learning_rat", argv=["--config", str(unknown)])
    wrong = written_yaml(tmp_path, max_steps="two")
    fails("max_steps", "two", argv=["--config", str(wrong)])


def test_arguments(fails: Fails) -> None:
    fails("--learning_rat", learning_rat=1)
    fails("max_steps", "two", max_steps="two")
    fails("overlong", "'keep'", overlong="keep")
    fails("trust_remote_code is not supported", trust_remote_code="true")
    fails("trust_remote_code is not supported", model_init_kwargs='{"trust_remote_code": true}')
    fails("8 bit and 4 bit", load_in_4bit="true", load_in_8bit="true")


def test_models(fails: Fails, llama: Path, tmp_path: Path) -> None:
    fails("no tokenizer at no/such-model", "--model_name_or_path", model_name_or_path="no/such-model")
    fails("no model", str(tmp_path / "nothing"), model_name_or_path=tmp_path / "nothing")
    without_eos = save_tiny_llama(tmp_path / "without-eos", tiny_tokenizer(pad_token="<|endoftext|>"))
    fails("has no end-of-sequence token; pass --eos_token", model_name_or_path=without_eos)
    fails("eos_token '<|nothing|>' is not in the vocabulary", eos_token="<|nothing|>")
    (without_weights := tmp_path / "without-weights").mkdir()
    for file in llama.glob("*.json"):
        (without_weights / file.name).write_bytes(file.read_bytes())
    fails(str(without_weights), "safetensors", model_name_or_path=without_weights)


def test_a_model_without_chat_template(fails: Fails) -> None:
    fails(
        "has none; choose a chat model",
        dataset_config="chat",
        assistant_only_loss="true",
        augment_copies=0,
        tool_hints=0,
        prefix_packing="false",
    )


def test_datasets(fails: Fails, built: Path, tmp_path: Path) -> None:
    scripts = ("dataset_scripts/toolalpaca.py", "dataset_scripts/toolformer.py")
    fails("no/such-folder", "neither a folder nor", *scripts, dataset_name="no/such-folder")
    fails("missing", "neither a folder nor", dataset_name=tmp_path / "missing")
    fails("no config 'sftt'", "sft", dataset_config="sftt")
    fails("no config 'sftt'", "sft", "chat", *scripts, dataset_name=built, dataset_config="sftt")
    fails("no split 'dev'", dataset_train_split="dev")
    fails("no split 'dev'", dataset_name=built, dataset_train_split="dev")
    fails("no column", "segments", dataset_config="trajectories")
    fails("leaves none to train on", eval_fraction=1.0)

    other = tmp_path / "other"
    (other / "sft").mkdir(parents=True)
    Dataset.from_dict({"id": ["a"], "api": ["b"], "text": ["c"]}).to_parquet(other / "sft" / "train.parquet")
    (other / "README.md").write_text("---\nconfigs:\n- config_name: sft\n  data_dir: sft\n---\n")
    for streaming in ("false", "true"):
        fails(
            "no column segments",
            dataset_name=other,
            dataset_streaming=streaming,
            augment_copies=0,
            tool_hints=0,
            prefix_packing="false",
        )


@pytest.mark.parametrize("streaming", ["false", "true"])
def test_nothing_is_left_to_train_on(fails: Fails, built: Path, streaming: str) -> None:
    fields = {
        "dataset_name": built,
        "dataset_streaming": streaming,
        "augment_copies": 0,
        "tool_hints": 0,
        "prefix_packing": "false",
    }
    fails("no row is left to train on", "max_length", **fields, max_length=10, overlong="drop")


def test_streams(fails: Fails, built: Path) -> None:
    stream = {"dataset_name": built, "dataset_streaming": "true"}
    fails("neither packed nor augmented", **stream, prefix_packing="false")
    fails("neither packed nor augmented", **stream, augment_copies=0, tool_hints=0)
    fails(
        "neither packed nor augmented",
        **stream,
        augment_copies=0,
        tool_hints=0,
        prefix_packing="false",
        packing="true",
    )
    fails("set max_steps", **stream, augment_copies=0, tool_hints=0, prefix_packing="false", max_steps=-1)
    fails("can not be split", **stream, augment_copies=0, tool_hints=0, prefix_packing="false", eval_fraction=0.1)


def test_an_output_folder_that_is_a_file(fails: Fails, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    fails(str(tmp_path / "file"), output_dir=tmp_path / "file")


def test_a_damaged_dataset_folder(fails: Fails, tmp_path: Path) -> None:
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "sft.jsonl").write_text(json.dumps({"segments": 1}) + "\n{")
    fails("damaged", "no config 'sft', only default", dataset_name=tmp_path / "damaged")
