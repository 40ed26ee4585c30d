"""The recipe end to end with a tiny model: what a run leaves, and each way of training."""

import json
import math
import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import trl
import yaml
from huggingface_hub import ModelCard
from peft import AutoPeftModelForCausalLM
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from toolalpaca_hf.errors import UnsupportedModelError
from toolalpaca_hf.formats import build_chat_template, react_prompt
from toolalpaca_hf.training import SegmentSFTTrainer, parse_arguments, resolved

SECRET = "hf_aSecretThatNoFileMayHold"


def metrics_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "metrics.json").read_text(encoding="utf-8"))


def logged(folder: Path, name: str = "loss") -> list[float]:
    history = json.loads((folder / "log_history.json").read_text(encoding="utf-8"))
    return [entry[name] for entry in history if name in entry]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def test_accelerate_launch_leaves_a_complete_checkpoint(
    launch: Callable[..., Any], arguments: list[str], llama: Path, tmp_path: Path
) -> None:
    """The command of the README; it is also given a token in both places a user has for it."""
    done = launch([*arguments, "--hub_token", SECRET, "--learning_rate", "1e-3"], HF_TOKEN=SECRET + "2")
    assert done.returncode == 0, done.stderr[-3000:]
    assert "134 rows: 134 kept" in done.stdout
    folder = tmp_path / "run"

    config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    # The command line wins over the YAML, the YAML over the defaults.
    assert (config["learning_rate"], config["max_steps"], config["gradient_accumulation_steps"]) == (1e-3, 2, 1)
    assert config["augment_max_functions"] == 4
    metrics, losses = metrics_of(folder), logged(folder)
    assert metrics["steps"] == len(losses) == 2
    assert (metrics["first_loss"], metrics["final_loss"]) == (losses[0], losses[-1])
    # A random model knows nothing: uniform over its vocabulary.
    assert losses[0] == pytest.approx(math.log(1500), abs=0.5)
    card = ModelCard.load(folder / "README.md")
    assert card.data.base_model == str(llama)
    assert {"tool-use", "sft"} <= set(card.data.tags)
    assert f"| final_loss | {metrics['final_loss']} |" in card.content

    model = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = tokenizer("Thought:", return_tensors="pt")
    made = model.generate(**ids, max_new_tokens=2, do_sample=False, tokenizer=tokenizer)
    assert made.shape[1] == ids["input_ids"].shape[1] + 2
    assert "over 32 random conversations" in done.stdout
    hinted = build_chat_template(react_prompt(config["tool_hints"]))
    assert tokenizer.response_template is not None and tokenizer.chat_template == hinted
    assert model.generation_config.stop_strings == ["\nObservation:"]
    before = weights(llama)
    assert any(not torch.equal(before[name], tensor) for name, tensor in weights(folder).items())

    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 10
    assert "training_args.bin" not in {path.name for path in files}  # a pickle, which nobody should have to open
    assert not [path for path in files if SECRET.encode() in path.read_bytes()]
    assert SECRET not in done.stdout + done.stderr


def test_the_written_config_is_itself_a_recipe(
    train: Callable[..., None], arguments: list[str], tmp_path: Path
) -> None:
    train(arguments, max_steps=1, eos_token="<|endoftext|>")
    written = tmp_path / "run" / "config.yaml"
    values = yaml.safe_load(written.read_text(encoding="utf-8"))
    assert values["eos_token"] == "<|endoftext|>"
    again = resolved(*parse_arguments(["--config", str(written)]))
    assert again == values


@pytest.mark.slow
def test_packing(train: Callable[..., None], arguments: list[str], tmp_path: Path) -> None:
    train(
        arguments,
        packing="true",
        prefix_packing="false",
        max_length=2048,
        gradient_accumulation_steps=2,
        eval_fraction=0.2,
        max_steps=20,
    )
    metrics = metrics_of(tmp_path / "run")
    # Twenty times two packs, filled by rows of some 650 tokens; two by themselves may leave more room by chance.
    assert 0.8 < metrics["num_tokens"] / (20 * 2 * 2048) <= 1
    assert metrics["eval_loss"] == pytest.approx(math.log(1500), abs=0.5)


@pytest.mark.parametrize("packed", ["false", "true"])
def test_chat_trains_only_the_assistants_turns(
    packed: str,
    train: Callable[..., None],
    arguments: list[str],
    qwen3: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = []
    compute = SegmentSFTTrainer.compute_loss

    def spy(self: SegmentSFTTrainer, model: Any, inputs: dict[str, Any], *rest: Any, **more: Any) -> Any:
        seen.append(
            {
                name: tensor.as_subclass(torch.Tensor).clone()
                for name, tensor in inputs.items()
                if torch.is_tensor(tensor)
            }
        )
        return compute(self, model, inputs, *rest, **more)

    monkeypatch.setattr(SegmentSFTTrainer, "compute_loss", spy)
    train(
        arguments,
        model_name_or_path=qwen3,
        dataset_config="chat",
        augment_copies=0,
        tool_hints=0,
        prefix_packing=packed,
        max_length=2048,
        eval_fraction=0.2,
    )
    metrics = metrics_of(tmp_path / "run")
    assert metrics["steps"] == 2 and metrics["eval_perplexity"] == pytest.approx(math.exp(metrics["eval_loss"]))
    tokenizer = AutoTokenizer.from_pretrained(qwen3)
    trained = tokenizer.decode([int(i) for i in seen[0]["labels"].flatten() if i != -100])
    assert "<tool_call>" in trained and "<tool_response>" not in trained and "# Tools" not in trained
    whole = tokenizer.decode(seen[0]["input_ids"][0])
    assert "# Tools" in whole and "<tool_response>" in whole


def test_a_template_that_trains_what_is_not_generated_stops_the_run(
    train: Callable[..., None], arguments: list[str], qwen3: Path, tmp_path: Path
) -> None:
    """Qwen2.5's trains a line break that a server gives; it is the user who may say that it does no harm."""
    folder = tmp_path / "qwen25"
    shutil.copytree(qwen3, folder)
    templates = Path(trl.__file__).parent / "chat_templates"
    shutil.copy(templates / "qwen2_5.jinja", folder / "chat_template.jinja")
    options: dict[str, Any] = {"model_name_or_path": folder, "dataset_config": "chat", "augment_copies": 0}
    options |= {"tool_hints": 0, "prefix_packing": False, "max_steps": 1, "max_length": 2048}
    with pytest.raises(UnsupportedModelError):
        train(arguments, **options, prove_template=True)
    assert not (tmp_path / "run" / "model.safetensors").exists()
    train(arguments, **options)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "run")
    # What was trained is what is served, and calls are read back.
    assert tokenizer.chat_template == (templates / "qwen2_5_training.jinja").read_text(encoding="utf-8")
    assert "tool_calls" in tokenizer.response_template["fields"]


def test_streaming_from_a_built_folder(
    train: Callable[..., None], arguments: list[str], built: Path, tmp_path: Path
) -> None:
    fields = {
        "dataset_name": built,
        "augment_copies": 0,
        "tool_hints": 0,
        "prefix_packing": "false",
        "train_sampling_strategy": "sequential",
    }
    train(arguments, **fields, dataset_streaming="true")
    train(arguments, **fields, output_dir=tmp_path / "memory")
    # The stream comes in the order of the file, and so does the sequential sampler.
    assert logged(tmp_path / "run") == pytest.approx(logged(tmp_path / "memory"), abs=1e-5)


def test_lora_leaves_an_adapter(train: Callable[..., None], arguments: list[str], llama: Path, tmp_path: Path) -> None:
    train(arguments, use_peft="true", lora_r=4, lora_target_modules=["q_proj", "v_proj"], warmup_steps=0)
    folder = tmp_path / "run"
    adapter = load_file(folder / "adapter_model.safetensors")
    assert len(adapter) == 2 * 2 * 2  # A and B of two modules in two layers
    assert any(tensor.abs().max() > 0 for name, tensor in adapter.items() if "lora_B" in name)
    assert not (folder / "model.safetensors").exists()
    assert AutoPeftModelForCausalLM.from_pretrained(folder).peft_config["default"].base_model_name_or_path == str(
        llama
    )


def test_qlora_on_a_cpu(train: Callable[..., None], arguments: list[str], tmp_path: Path) -> None:
    """4-bit base weights and trained adapters; bitsandbytes has CPU kernels."""
    import bitsandbytes

    kinds = []
    original = SegmentSFTTrainer.train

    def spy(self: Any, *args: Any, **kwargs: Any) -> Any:
        kinds.extend(type(m) for m in self.model.modules() if isinstance(m, bitsandbytes.nn.Linear4bit))
        return original(self, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SegmentSFTTrainer, "train", spy)
        quantized = {"load_in_4bit": "true", "use_bnb_nested_quant": "true", "dtype": "bfloat16"}
        train(arguments, use_peft="true", **quantized, max_steps=1, warmup_steps=0)
    assert len(kinds) == 2 * 7
    adapter = load_file(tmp_path / "run" / "adapter_model.safetensors")
    assert any(tensor.abs().max() > 0 for name, tensor in adapter.items() if "lora_B" in name)


def test_evaluation_during_training_and_after_it(
    train: Callable[..., None], arguments: list[str], tmp_path: Path
) -> None:
    train(arguments, eval_strategy="steps", eval_steps=1, eval_fraction=0.2, learning_rate=5e-3)
    folder = tmp_path / "run"
    evaluated = logged(folder, "eval_loss")
    # After each step, and once more at the end, of the same weights as the last.
    assert len(evaluated) == 3 and evaluated[1] < evaluated[0]
    assert evaluated[2] == metrics_of(folder)["eval_loss"] == pytest.approx(evaluated[1], abs=1e-6)


def test_evaluation_only_after_training(train: Callable[..., None], arguments: list[str], tmp_path: Path) -> None:
    train(arguments, eval_strategy="no", eval_fraction=0.2)
    assert metrics_of(tmp_path / "run")["eval_perplexity"] == pytest.approx(1500, rel=0.5)


@pytest.mark.slow
def test_trackio(launch: Callable[..., Any], arguments: list[str], tmp_path: Path) -> None:
    done = launch(
        [*arguments, "--report_to", "trackio", "--project", "tiny", "--hub_token", SECRET],
        TRACKIO_DIR=str(tmp_path / "trackio"),
        HF_TOKEN=SECRET,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    files = [path for path in (tmp_path / "trackio").rglob("*") if path.is_file()]
    with sqlite3.connect(tmp_path / "trackio" / "tiny.db") as database:
        entries = [json.loads(entry) for (entry,) in database.execute("SELECT metrics FROM metrics ORDER BY id")]
    assert [entry["train/loss"] for entry in entries if "train/loss" in entry] == logged(tmp_path / "run")
    assert not [path for path in files if SECRET.encode() in path.read_bytes()]


def test_a_token_goes_to_the_environment_not_to_the_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    _, config, _ = parse_arguments(["--hub_token", SECRET, "--use_cpu", "true"])
    assert config.hub_token is None and os.environ.pop("HF_TOKEN") == SECRET
