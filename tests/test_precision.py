"""The choice of a dtype follows what was measured, and everything that computes follows the choice."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tiny_models import save_tiny_llama
from trl import ModelConfig, SFTConfig

from toolalpaca_hf import precision
from toolalpaca_hf.checkpoints import load_tokenizer
from toolalpaca_hf.errors import NotFoundError, ToolAlpacaError
from toolalpaca_hf.inference import load_model
from toolalpaca_hf.training import config, parse_arguments

SLOW = {"float32": 122.6, "bfloat16": 1.1, "float16": 1.2}
# Other sizes than the weights have, and small ones: without them it would be a model of 7 billion parameters.
TINY = b'{"model_type": "llama", "vocab_size": 7, "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1'
TINY += b', "num_attention_heads": 1, "num_key_value_heads": 1}'
FAST = {"float32": 250.0, "bfloat16": 700.0, "float16": 3.0}


@pytest.mark.parametrize(
    ("speeds", "device", "expected"),
    [
        (SLOW, "cpu", "float32"),
        (FAST, "cpu", "bfloat16"),
        # No float16 on a CPU, however fast; on an accelerator without fast bfloat16 it is taken.
        ({"float32": 100.0, "bfloat16": 90.0, "float16": 900.0}, "cpu", "float32"),
        ({"float32": 100.0, "bfloat16": 90.0, "float16": 900.0}, "cuda", "float16"),
        ({"float32": 100.0, "bfloat16": 0.0, "float16": 0.0}, "mps", "float32"),
        ({"float32": 0.0, "bfloat16": 0.0, "float16": 0.0}, "cuda", "float32"),
        # As fast as float32 is no reason to lose digits.
        ({"float32": 100.0, "bfloat16": 105.0, "float16": 0.0}, "cpu", "float32"),
    ],
)
def test_the_fastest(speeds: dict[str, float], device: str, expected: str) -> None:
    assert precision.fastest(speeds, device) == expected


@pytest.fixture(scope="module")
def tiny_llama(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_tiny_llama(tmp_path_factory.mktemp("tiny")))


def test_measured_once_and_left_as_it_was() -> None:
    threads = torch.get_num_threads()
    speeds = precision.gflops("cpu")
    assert speeds["float32"] > 0 and speeds.keys() == {"float32", "bfloat16", "float16"}
    assert torch.get_num_threads() == threads
    assert precision.gflops("cpu") is speeds


def test_an_accelerator_is_asked_for_more_work_than_it_needs_to_begin() -> None:
    m, k, n = precision._LARGE
    fastest, launch = 1e15, 10e-6  # FLOP/s of today's fastest, and seconds until a product begins
    assert 2 * m * k * n / fastest > launch


@pytest.mark.parametrize("speeds", [SLOW, FAST])
def test_a_checkpoint_loads_in_the_dtype_that_is_fast(
    speeds: dict[str, float], tiny_llama: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "gflops", lambda device=None: speeds)
    chosen = getattr(torch, precision.fastest(speeds, "cpu"))
    assert load_model(tiny_llama, "cpu")[0].dtype == chosen
    assert load_model(tiny_llama, "cpu", "bfloat16")[0].dtype == torch.bfloat16
    with pytest.raises(ToolAlpacaError):
        load_model(tiny_llama, "cpu", "int8")


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("model.safetensors", None),  # cut off
        ("config.json", b"[]"),
        ("config.json", TINY),
        ("tokenizer.json", b'{"x": 1}'),
        ("tokenizer_config.json", b"[]"),
    ],
)
def test_a_checkpoint_with_a_damaged_file_is_named(
    tiny_llama: str, tmp_path: Path, file: str, content: bytes | None
) -> None:
    folder = Path(shutil.copytree(tiny_llama, tmp_path / "damaged"))
    (folder / file).write_bytes((folder / file).read_bytes()[:1000] if content is None else content)
    with pytest.raises(NotFoundError) as caught:
        load_model(str(folder), "cpu", "float32")
    assert caught.value.file == str(folder)
    if file.startswith("tokenizer"):
        with pytest.raises(NotFoundError):
            load_tokenizer(str(folder), "fetch it again")


@pytest.mark.parametrize(
    ("speeds", "argv", "bf16", "dtype"),
    [
        (SLOW, ["--bf16", "true", "--dtype", "bfloat16"], True, "bfloat16"),  # insisted upon
        (FAST, [], True, "bfloat16"),
        (SLOW, [], False, "float32"),
        (SLOW, ["--bf16", "true"], True, "float32"),
    ],
)
def test_a_recipe_in_bfloat16(
    speeds: dict[str, float], argv: list[str], bf16: bool, dtype: str, tmp_path, monkeypatch, capsys
) -> None:
    monkeypatch.setattr(config, "gflops", lambda kind: speeds)
    recipe = tmp_path / "sft.yaml"
    recipe.write_text(
        f"bf16: true\ndtype: bfloat16\nuse_cpu: true\noutput_dir: {tmp_path / 'out'}\n", encoding="utf-8"
    )
    _, training, model = parse_arguments(["--config", str(recipe), *argv])
    assert (training.bf16, model.dtype) == (bf16, dtype)
    assert training.mixed_precision == ("bf16" if bf16 else "no")
    assert bool(capsys.readouterr().out) == (not bf16 or dtype == "float32")


@pytest.mark.parametrize(
    ("begun", "speeds", "bf16"),
    [
        (True, {"float32": 89.2, "bfloat16": 96.3}, True),  # measured on a busy machine
        (False, {"float32": 89.2, "bfloat16": 131.0}, False),
        (True, SLOW, False),  # on another machine
        (False, FAST, True),
        (None, {"float32": 89.2, "bfloat16": 96.3}, False),  # without a checkpoint
    ],
)
def test_a_training_goes_on_in_the_precision_it_began_with(
    begun: bool | None, speeds: dict[str, float], bf16: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else its checkpoints are set aside and it begins anew."""
    monkeypatch.setattr(config, "gflops", lambda kind: speeds)
    (tmp_path / "config.yaml").write_text(f"bf16: {str(bool(begun)).lower()}\n")
    if begun is not None:
        (tmp_path / "checkpoint-2").mkdir()
    recipe = tmp_path / "sft.yaml"
    recipe.write_text(f"bf16: true\nuse_cpu: true\noutput_dir: {tmp_path}\n")
    assert parse_arguments(["--config", str(recipe)])[1].bf16 == bf16


def test_nothing_is_said_of_float32(tmp_path, capsys) -> None:
    settings = SFTConfig(str(tmp_path), bf16=False, use_cpu=True)
    config.settle_precision(settings, ModelConfig(dtype="float32"), [])
    assert not capsys.readouterr().out


def test_the_command_prints_the_choice() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "toolalpaca_hf.precision"], capture_output=True, text=True, check=True
    )
    lines = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
    assert lines.keys() == {"device", "float32", "bfloat16", "float16", "choice"}
    assert lines["choice"] in precision.DTYPES
