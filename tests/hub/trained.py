"""Folders as `recipes/sft.py` leaves them, with a tiny model."""

import json
import shutil
from pathlib import Path
from typing import Any

import yaml

METRICS = {"steps": 2, "epochs": 0.5, "first_loss": 7.3, "final_loss": 7.1, "mean_loss": 7.2, "num_tokens": 1234}


def write_training(folder: Path, model: Path, metrics: dict[str, Any] | None = None, **settings: Any) -> Path:
    """Put into a folder a model and what a training writes beside it, with what must never be published."""
    shutil.copytree(model, folder, dirs_exist_ok=True)
    values = {
        "model_name_or_path": "org/tiny",
        "dataset_name": "sample",
        "dataset_config": "sft",
        "learning_rate": 1e-3,
        "output_dir": str(folder),
        "use_peft": False,
        **settings,
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    (folder / "metrics.json").write_text(json.dumps(metrics or METRICS), encoding="utf-8")
    (folder / "README.md").write_text("# The trainer's own\n", encoding="utf-8")
    (folder / "training_args.bin").write_bytes(b"pickle")
    (folder / "log_history.json").write_text("[]", encoding="utf-8")
    (folder / ".env").write_text("HF_TOKEN=hf_secret", encoding="utf-8")
    checkpoint = folder / "checkpoint-2"
    checkpoint.mkdir(exist_ok=True)
    (checkpoint / "optimizer.pt").write_bytes(b"pickle")
    (checkpoint / "model.safetensors").write_bytes(b"")
    return folder
