"""The GRPO recipe with a tiny model, its YAML files, and the cut behind a call that ends in text."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import RECIPES, launch_command
from tiny_models import tiny_tokenizer
from trl import GRPOConfig, ModelConfig

from toolalpaca_hf.environments import EnvironmentGRPOTrainer
from toolalpaca_hf.errors import OptionError
from toolalpaca_hf.training import parse_fields

FILES = sorted(RECIPES.glob("*/grpo.yaml"))


def script_arguments() -> Any:
    sys.path.append(str(RECIPES))
    import grpo

    return grpo.EnvironmentArguments


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.parent.name)
def test_a_recipe_has_only_known_fields(path: Path) -> None:
    arguments = ["--config", str(path), "--use_cpu", "true", "--bf16", "false", "--report_to", "none"]
    data, training, model = parse_fields(arguments, script_arguments(), GRPOConfig, ModelConfig)
    assert training.output_dir.startswith("outputs/") and model.model_name_or_path and data.split == "train"
    first, second, *_ = path.read_text(encoding="utf-8").splitlines()
    assert first.startswith("# Hardware: ") and second.startswith("# Worked out")


@pytest.mark.parametrize(
    "given", [["--trust_remote_code", "true"], ["--model_init_kwargs", '{"trust_remote_code": true}']]
)
def test_code_of_others_is_not_run(given: list[str]) -> None:
    with pytest.raises(OptionError) as caught:
        parse_fields(["--use_cpu", "true", "--bf16", "false", *given], script_arguments(), GRPOConfig, ModelConfig)
    assert caught.value.option == "trust_remote_code"


def test_weights_of_the_reward_are_refused_before_a_run_is_set_aside(tmp_path: Path) -> None:
    script_arguments()
    import grpo

    given: Any = SimpleNamespace(output_dir=tmp_path / "run", reward_weights=[1.0])
    with pytest.raises(OptionError, match="reward_weights"):
        grpo.main(grpo.EnvironmentArguments(), given, ModelConfig())
    assert not (tmp_path / "run").exists()


def test_a_turn_is_cut_behind_its_label() -> None:
    trainer = EnvironmentGRPOTrainer.__new__(EnvironmentGRPOTrainer)
    trainer._reader = tokenizer = tiny_tokenizer(eos_token="<|im_end|>", pad_token="<|endoftext|>")
    call = " I look.\nAction: find\nAction Input: {}\nObservation:"
    ids = tokenizer(call + " Paris\nThought: so", add_special_tokens=False)["input_ids"]
    assert tokenizer.decode(ids[: trainer._turn_length(ids)]) == call
    answer = tokenizer(" Fine.\nResponse: Paris", add_special_tokens=False)["input_ids"]
    assert trainer._turn_length(answer) == len(answer)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["llama", "qwen3"])
def test_two_steps_with_a_tiny_model(
    kind: str, request: pytest.FixtureRequest, environment: dict[str, str], tmp_path: Path
) -> None:
    model, folder = request.getfixturevalue(kind), {"llama": "quickstart", "qwen3": "qwen3-chat"}[kind]
    values = {"model_name_or_path": model, "source": "sample", "max_steps": 2, "output_dir": tmp_path / "run"}
    values |= {"use_cpu": True, "bf16": False, "report_to": "none", "max_completion_length": 16}
    values |= {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 1, "num_generations": 2}
    values |= {"freeze_layers": 1, "save_steps": 1}
    arguments = ["--config", str(RECIPES / folder / "grpo.yaml")]
    arguments += [part for name, value in values.items() for part in (f"--{name}", str(value))]
    command = [part.replace("sft.py", "grpo.py") for part in launch_command(arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "run" / "chat_template.jinja").is_file() and "Environment/mean" in done.stdout
    assert not list((tmp_path / "run").rglob("training_args.bin"))  # a pickle, which nobody should have to open
    rewards = json.loads((tmp_path / "run" / "rewards.json").read_text(encoding="utf-8"))
    assert len(rewards) == 2
    # What is finished is not trained again, and a run that was cut off goes on.
    again = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=400)
    assert again.returncode == 0 and "Resuming from" in again.stdout, again.stderr[-2000:]
    assert json.loads((tmp_path / "run" / "rewards.json").read_text(encoding="utf-8")) == rewards
