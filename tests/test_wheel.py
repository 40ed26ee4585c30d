"""The wheel as a stranger installs it: alone in a new environment, with the base dependencies and nothing of ours."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PIP = ("-m", "pip", "--disable-pip-version-check", "--quiet")

# Runs in the new environment, away from the checkout; prints what it found.
PROBE = """
import importlib.util, json, subprocess, sys
from importlib.resources import files

import toolalpaca_hf
from toolalpaca_hf.data import ToolAlpaca
from toolalpaca_hf.formats import react_prompt

package = files(toolalpaca_hf)
builder = ToolAlpaca(config_name="sft", source="sample")
builder.download_and_prepare()
rows = builder.as_dataset(split="train")
script = [sys.executable, str(package / "dataset_scripts" / "toolalpaca.py"), "--source", "sample", "--out", "built"]
subprocess.run(script, check=True, stdout=sys.stderr)
print(json.dumps({
    "where": str(package),
    "version": toolalpaca_hf.__version__,
    "absent": [name for name in ("torch", "transformers", "trl") if importlib.util.find_spec(name) is None],
    "rows": len(rows),
    "trainable": any(segment["trainable"] for segment in rows[0]["segments"]),
    "prompt": react_prompt().name,
}))
"""


def run(*arguments: object, cwd: Path | None = None, **environment: str) -> str:
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(
        list(map(str, arguments)), capture_output=True, text=True, cwd=cwd, env={**kept, **environment}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, *PIP, "wheel", "--no-deps", "--wheel-dir", folder, ROOT)
    (built,) = folder.glob("*.whl")
    return built


def files_of(folder: Path) -> set[str]:
    """Files below a folder of the checkout, without what Python leaves there."""
    files = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(folder).as_posix() for path in files}


def test_the_wheel_holds_package_recipes_and_dataset_scripts(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    expected = {f"toolalpaca_hf/{name}" for name in files_of(ROOT / "src" / "toolalpaca_hf")}
    expected |= {
        f"toolalpaca_hf/{room}/{name}"
        for room in ("recipes", "dataset_scripts", "model_cards")
        for name in files_of(ROOT / room)
    }
    assert {name for name in names if ".dist-info/" not in name} == expected
    assert {
        "toolalpaca_hf/py.typed",
        "toolalpaca_hf/formats/prompts/react.txt",
        "toolalpaca_hf/data/sample/train.json",
        "toolalpaca_hf/data/sample/eval.json",
        "toolalpaca_hf/model_cards/dataset-toolalpaca.md",
        "toolalpaca_hf/recipes/quickstart/sft.yaml",
        "toolalpaca_hf/recipes/accelerate_configs/cpu.yaml",
        "toolalpaca_hf/dataset_scripts/toolalpaca.py",
    } <= expected
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


@pytest.mark.slow
def test_it_works_alone_in_a_new_environment(wheel: Path, tmp_path: Path) -> None:
    run(sys.executable, "-m", "venv", tmp_path / "venv")
    python = tmp_path / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
    install = [python, *PIP, "install", "-c", ROOT / "constraints.txt", wheel]
    done = subprocess.run(list(map(str, install)), capture_output=True, text=True)
    if done.returncode and "connection broken" in done.stderr:
        pytest.skip("pip cannot reach the package index, so the base dependencies cannot be installed")
    assert done.returncode == 0, done.stderr
    run(python, *PIP, "check")
    (tmp_path / "work").mkdir()
    home = tmp_path / "hf"
    found = json.loads(run(python, "-c", PROBE, cwd=tmp_path / "work", HF_HOME=str(home), HF_HUB_OFFLINE="1"))
    assert Path(found["where"]).is_relative_to(tmp_path / "venv")
    assert found["version"] in wheel.name
    assert found["absent"] == ["torch", "transformers", "trl"]
    trajectories = sum(
        len(api["Instances"])
        for api in json.loads((ROOT / "src/toolalpaca_hf/data/sample/train.json").read_text(encoding="utf-8"))
    )
    assert found["rows"] == trajectories and found["trainable"] and found["prompt"] == "react"
    assert list((tmp_path / "work" / "built").rglob("*.parquet")) and (tmp_path / "work/built/README.md").is_file()
