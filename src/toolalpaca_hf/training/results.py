"""A run's folder: the settings that its checkpoints are resumed with, metrics, log history and model card."""

import hashlib
import json
import math
import os
from contextlib import suppress
from importlib.resources import files
from itertools import chain, count, islice, pairwise
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
import yaml
from datasets import Dataset
from huggingface_hub import ModelCard
from transformers import Trainer

from ..checkpoints import SMOLLM2
from ..errors import InputError
from ..storage import atomic_write, hold_folder, read_yaml, write_json
from .tokenize import list_batches

# Fields that may differ between a run and its continuation: where it logs and how it is watched, not what it computes.
_INDIFFERENT = frozenset(
    "output_dir logging_dir run_name report_to disable_tqdm logging_steps resume_from_checkpoint push_to_hub "
    "local_rank accelerator_config save_total_limit save_steps save_strategy prove_template".split()
)
_SPECIAL_TOKENS = ("eos_token", "pad_token")
_DATA = "data_fingerprint"


def resolved(*arguments: Any) -> dict[str, Any]:
    """The settings of a run (dataclasses) as plain values for YAML, without tokens."""
    values: dict[str, Any] = {}
    for argument in arguments:
        values |= argument.to_dict() if hasattr(argument, "to_dict") else dict(vars(argument))
        # `to_dict` masks whatever ends in `_token`, names of special tokens too.
        values |= {name: vars(argument)[name] for name in _SPECIAL_TOKENS if name in vars(argument)}
    values = {name: value for name, value in values.items() if not name.endswith("_token") or name in _SPECIAL_TOKENS}
    return json.loads(json.dumps(values, default=str, sort_keys=True))


def data_fingerprint(rows: Any) -> str:
    """A hash of every id and label of a dataset, however it was built, or of the first rows of a stream."""
    digest = hashlib.sha256()
    columns = [name for name in ("input_ids", "labels", "parents") if name in (rows.column_names or ())]
    if isinstance(rows, Dataset) and columns:
        for array in (array for name in columns for pair in list_batches(rows, name) for array in pair):
            digest.update(array.astype(np.int64).tobytes())
    else:
        for row in islice(rows, None if isinstance(rows, Dataset) else 64):
            digest.update(json.dumps(row, default=str, sort_keys=True).encode(errors="surrogatepass"))
    return digest.hexdigest()[:16]


def checkpoints(folder: str | Path) -> list[Path]:
    """Complete checkpoints of a run, oldest first; one interrupted while being written has no trainer state."""
    whole = []
    for path in Path(folder).glob("checkpoint-*"):
        with suppress(OSError, ValueError):
            state = json.loads((path / "trainer_state.json").read_text(encoding="utf-8"))
            if isinstance(state, dict) and path.name == f"checkpoint-{state.get('global_step')}":
                whole.append(path)
    return sorted(whole, key=lambda path: int(path.name.rpartition("-")[2]))


def start_or_resume(folder: str | Path, settings: dict[str, Any], data: str = "") -> tuple[Path | None, str]:
    """Write a run's settings; return the checkpoint to resume from, if any, and a message for the user.

    Checkpoints of other settings or data are moved to `_superseded/`, never reused and never deleted. Other runs are
    kept out of the folder until this process ends.
    """
    folder = Path(folder)
    path = folder / "config.yaml"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if os.environ.get("RANK", "0") == "0":  # of several processes of one run, the first
            hold_folder(folder.resolve(), "--output_dir")
        before = read_yaml(path, "remove it to begin anew, or pass another --output_dir") if path.exists() else {}
        found = checkpoints(folder)
        compared = (name for name in settings.keys() | before.keys() if not name.startswith("hub_"))
        changed = sorted({n for n in compared if settings.get(n) != before.get(n)} - _INDIFFERENT)
        # A step takes a batch of each process; runs of earlier versions do not say how many they had.
        processes = f"{os.environ.get('WORLD_SIZE', '1')} processes"
        before_data = (folder / _DATA).read_text(encoding="utf-8").strip() if (folder / _DATA).exists() else data
        rows, _, of = before_data.partition(" over ")
        # Other settings may well make other rows.
        if not changed and (rows != data or of not in ("", processes)):
            changed = ["the number of processes" if rows == data else "the rows of the dataset"]
        resume, sentence = None, "Starting from the beginning."
        if found and not changed:
            resume, sentence = found[-1], f"Resuming from {found[-1]}."
        elif found:
            aside, names = folder / "_superseded", ", ".join(changed[:5])
            aside.mkdir(exist_ok=True)
            for old in found:
                free = chain([old.name], (f"{old.name}-{n}" for n in count(2)))
                old.rename(next(aside / name for name in free if not (aside / name).exists()))
            sentence = f"Settings differ ({names}); earlier checkpoints moved to {aside}, starting anew."
        # Half a file would look like other settings to the next run.
        atomic_write(path, yaml.safe_dump(settings, sort_keys=True, allow_unicode=True))
        if data:
            atomic_write(folder / _DATA, f"{data} over {processes}\n")
    except (OSError, ValueError) as error:
        problem = f"cannot be used for this run: {error}"
        raise InputError(problem, file=folder, fix="pass another --output_dir") from None
    return resume, sentence


_MAIN_SETTINGS = (
    "learning_rate num_train_epochs max_steps per_device_train_batch_size gradient_accumulation_steps max_length "
    "packing prefix_packing prefix_packing_tokens use_peft load_in_4bit augment_copies seed".split()
)


def write_results(trainer: Trainer, settings: dict[str, Any], weights: str | None = None) -> dict[str, Any]:
    """Write metrics.json, log_history.json and README.md, and return the metrics; `weights` are the initial ones."""
    history = trainer.state.log_history
    # A run of fewer steps than `logging_steps` has logged only its mean.
    losses = [entry["loss"] for entry in history if "loss" in entry]
    losses = losses or [entry["train_loss"] for entry in history if entry.get("train_loss")]
    counts = [0, *(int(entry["num_tokens"]) for entry in history if "num_tokens" in entry)]
    metrics: dict[str, Any] = {
        "steps": trainer.state.global_step,
        "epochs": trainer.state.epoch,
        "first_loss": losses[0] if losses else None,
        "final_loss": losses[-1] if losses else None,
        "mean_loss": sum(losses) / len(losses) if losses else None,
        # TRL counts from zero again when a run is resumed.
        "num_tokens": sum(after - before if after >= before else after for before, after in pairwise(counts)),
    }
    if trainer.eval_dataset is not None:
        for name, loss in trainer.evaluate().items():  # of several datasets, eval_NAME_loss
            if name.endswith("_loss"):
                metrics[name] = loss
                metrics[name.removesuffix("loss") + "perplexity"] = math.exp(loss) if loss < 709 else math.inf
    metrics |= {"weights": weights} if weights else {}
    if trainer.is_world_process_zero():  # every process evaluates, the first one writes
        folder = Path(str(trainer.args.output_dir))
        metrics, *history = map(_finite, (metrics, *history))
        write_json(folder / "metrics.json", metrics, indent=2)
        write_json(folder / "log_history.json", history)
        # TRL writes a card of its own at every save; this one says what the rows were and what came out.
        atomic_write(folder / "README.md", training_card(settings, metrics))
    return metrics


def _finite(values: dict[str, Any]) -> dict[str, Any]:
    """Figures of a run that diverged are none: JSON has neither NaN nor infinities."""
    return {name: None if isinstance(v, float) and not math.isfinite(v) else v for name, v in values.items()}


def training_card(settings: dict[str, Any], metrics: dict[str, Any]) -> str:
    """The model card: Markdown with metadata that `ModelCard.load` reads."""
    base = settings.get("model_name_or_path", "unknown")
    base = SMOLLM2 if base == "smollm2" else str(base)
    tables = {
        "metrics": [(name, value) for name, value in metrics.items() if value is not None],
        "settings": [(name, settings[name]) for name in _MAIN_SETTINGS if name in settings],
    }
    text = Template(files("toolalpaca_hf").joinpath("training", "card.md").read_text(encoding="utf-8")).substitute(
        base_model=base,
        base_model_yaml=json.dumps(base, ensure_ascii=False),
        name=Path(str(settings.get("output_dir", "model"))).name,
        dataset=settings.get("dataset_name", "unknown"),
        config=settings.get("dataset_config", "sft"),
        **{name: "\n".join(f"| {key} | {value} |" for key, value in rows) for name, rows in tables.items()},
    )
    return str(ModelCard(text))
