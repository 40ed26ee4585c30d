"""Every YAML file under recipes/ means what it says."""

import re
import warnings
from pathlib import Path

import pytest
import yaml
from accelerate.commands.config.config_args import load_config_from_file
from conftest import RECIPES

from toolalpaca_hf.errors import OptionError
from toolalpaca_hf.training import parse_arguments

ACCELERATE = sorted((RECIPES / "accelerate_configs").glob("*.yaml"))
# Those of recipes/evaluate.py have other fields, and a test of their own.
MODELS = sorted(
    path
    for path in RECIPES.rglob("*.yaml")
    if path not in ACCELERATE and path.stem not in ("evaluate", "grpo") and path.parent.name != "corpus"
)
# This machine may have no GPU: what asks for one is looked at on a CPU.
ON_CPU = ["--use_cpu", "true", "--tf32", "false"]


@pytest.fixture(autouse=True)
def _fast_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the files say is looked at, not what this machine makes of it."""
    speeds = {"float32": 1.0, "bfloat16": 10.0, "float16": 10.0}
    monkeypatch.setattr("toolalpaca_hf.training.config.gflops", lambda kind: speeds)


def name(path: Path) -> str:
    return str(path.relative_to(RECIPES))


@pytest.mark.parametrize("path", MODELS, ids=name)
def test_a_recipe_has_only_known_fields(path: Path, tmp_path: Path) -> None:
    data, training, model = parse_arguments(["--config", str(path), *ON_CPU])
    assert model.model_name_or_path and data.dataset_name and training.output_dir.startswith("outputs/")
    assert not training.trust_remote_code and not training.push_to_hub
    # What the file says is what is parsed, numbers written as text (YAML reads 2e-5 so) included.
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    parsed = vars(data) | vars(training) | vars(model)
    for field in ("learning_rate", "warmup_steps", "max_length", "dataset_config", "lora_r"):
        if field in values:
            assert parsed[field] == values[field]
    assert isinstance(training.learning_rate, float)
    changed = tmp_path / path.name
    changed.write_text(path.read_text(encoding="utf-8") + "no_such_field: 1\n", encoding="utf-8")
    with pytest.raises(OptionError):
        parse_arguments(["--config", str(changed), *ON_CPU])


@pytest.mark.parametrize("path", MODELS, ids=name)
def test_a_recipe_says_its_hardware_and_how_that_was_worked_out(path: Path) -> None:
    first, second, *_ = path.read_text(encoding="utf-8").splitlines()
    assert first.startswith("# Hardware: ") and second.startswith("# Worked out")
    for config in re.findall(r"(\w+)\.yaml", first):
        assert (RECIPES / "accelerate_configs" / f"{config}.yaml").exists()


@pytest.mark.parametrize("size", ["7b", "13b"])
@pytest.mark.parametrize("file", ["sft", "qlora"])
def test_toolalpaca_has_the_published_settings(size: str, file: str) -> None:
    data, training, model = parse_arguments(
        ["--config", str(RECIPES / f"toolalpaca-{size}" / f"{file}.yaml"), *ON_CPU]
    )
    configs = {"sft": ["fsdp2", "zero3"], "qlora": ["single_gpu"]}[file]
    for config in configs:
        settings = yaml.safe_load((RECIPES / "accelerate_configs" / f"{config}.yaml").read_text(encoding="utf-8"))
        batch = training.per_device_train_batch_size * training.gradient_accumulation_steps * settings["num_processes"]
        assert batch == 128
    assert (training.num_train_epochs, training.max_length, training.weight_decay) == (3, 2048, 0)
    assert (training.lr_scheduler_type.value, training.warmup_steps) == ("cosine", 0.03)
    assert (training.save_strategy.value, training.save_total_limit) == ("epoch", 10)
    assert training.bf16 and training.gradient_checkpointing and data.dataset_config == "sft"
    assert model.load_in_4bit == model.use_peft == (file == "qlora")
    assert training.learning_rate == (2e-4 if file == "qlora" else 2e-5)
    # tf32 exists only on GPUs, so the file itself is read.
    values = yaml.safe_load((RECIPES / f"toolalpaca-{size}" / f"{file}.yaml").read_text(encoding="utf-8"))
    assert values["tf32"] is True


@pytest.mark.parametrize("path", ACCELERATE, ids=name)
def test_accelerate_reads_its_configs(path: Path) -> None:
    """Accelerate refuses unknown keys itself."""
    config = load_config_from_file(str(path))
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert config.distributed_type == values["distributed_type"] and config.num_processes == values["num_processes"]


def test_a_recipe_warns_of_no_field_of_its_own() -> None:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        parse_arguments(["--config", str(RECIPES / "quickstart" / "sft.yaml"), *ON_CPU])
    assert not [one for one in said if "gradient_checkpointing" in str(one.message)]
