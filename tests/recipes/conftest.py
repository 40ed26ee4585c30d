"""The recipe as a command and as a module, with a tiny model and a dataset folder."""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from tiny_models import save_tiny_llama, save_tiny_qwen3

from toolalpaca_hf.data import make_prompt, resolve_sources, write_repo

ROOT = Path(__file__).parents[2]
RECIPES = ROOT / "recipes"
QUICKSTART = RECIPES / "quickstart" / "sft.yaml"


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_llama(tmp_path_factory.mktemp("models") / "tiny-llama")


@pytest.fixture(scope="session")
def qwen3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_qwen3(tmp_path_factory.mktemp("models") / "tiny-qwen3")


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded corpus as the folder that `dataset_scripts/toolalpaca.py` writes."""
    folder = tmp_path_factory.mktemp("built") / "sample"
    write_repo(resolve_sources("sample"), folder, make_prompt("react"))
    return folder


@pytest.fixture(scope="session")
def hf_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hf_home")


@pytest.fixture
def environment(hf_home: Path) -> dict[str, str]:
    """What a command sees: caches of its own, no network."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "ACCELERATE_"))}
    return kept | {
        "HF_HOME": str(hf_home),
        "HF_HUB_OFFLINE": "1",
        "PYTHONPATH": str(ROOT / "src"),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
    }


@pytest.fixture
def arguments(llama: Path, tmp_path: Path) -> list[str]:
    """The quickstart's YAML with the tiny model, two steps and a folder of the test's own."""
    values = {"model_name_or_path": llama, "max_steps": 2, "logging_steps": 1, "output_dir": tmp_path / "run"}
    values["freeze_layers"] = 0  # it has only two
    return [
        "--config",
        str(QUICKSTART),
        *(part for name, value in values.items() for part in (f"--{name}", str(value))),
    ]


@pytest.fixture
def launch(environment: dict[str, str]) -> Callable[..., subprocess.CompletedProcess[str]]:
    """`accelerate launch --config_file recipes/accelerate_configs/CONFIG.yaml recipes/sft.py ARGUMENTS`."""

    def launch(arguments: list[str], config: str = "cpu", **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            launch_command(arguments, config), env=environment | variables, capture_output=True, text=True, timeout=300
        )

    return launch


def launch_command(arguments: list[str], config: str = "cpu") -> list[str]:
    file = RECIPES / "accelerate_configs" / f"{config}.yaml"
    accelerate = [sys.executable, "-m", "accelerate.commands.accelerate_cli", "launch", "--config_file", str(file)]
    return [*accelerate, str(RECIPES / "sft.py"), *arguments]


@pytest.fixture(scope="session")
def recipe() -> ModuleType:
    spec = importlib.util.spec_from_file_location("recipes_sft", RECIPES / "sft.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def train(recipe: ModuleType, hf_home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """The recipe in this process: what `python recipes/sft.py ARGUMENTS` does, without the seconds of imports.

    Templates are proved where a test asks for it, or launches the command: the proof takes longer than tiny models.
    """
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", hf_home / "datasets")
    monkeypatch.setattr("datasets.config.HF_MODULES_CACHE", str(hf_home / "modules"))

    def train(arguments: list[str], **fields: Any) -> None:
        more = [part for name, value in fields.items() for part in (f"--{name}", *words(value))]
        recipe.main(*recipe.parse_arguments(["--prove_template", "False", *arguments, *more]))

    yield train


def words(value: Any) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else [str(value)]


def written_yaml(folder: Path, **changes: Any) -> Path:
    """A copy of the quickstart's YAML with other values; a value of None takes the key out."""
    values = yaml.safe_load(QUICKSTART.read_text(encoding="utf-8")) | {"freeze_layers": 0} | changes
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump({k: v for k, v in values.items() if v is not None}), encoding="utf-8")
    return path
