"""
GRPO on the tools of documented APIs: each row's environment is an API of the simulator, the reward is by rule.

    accelerate launch --config_file recipes/accelerate_configs/cpu.yaml recipes/grpo.py \\
        --config recipes/quickstart/grpo.yaml --max_steps 2

Every field of `EnvironmentArguments`, TRL's `GRPOConfig` (such as `--use_vllm true --vllm_mode colocate`) and
`ModelConfig` can stand in the YAML and on the command line, which wins. A run that was killed goes on from its newest
whole checkpoint when the same command is given again.
"""

import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from accelerate import PartialState
from pandas import DataFrame
from rich.console import Console
from trl import GRPOConfig, ModelConfig, get_peft_config

from toolalpaca_hf.agent import make_backend
from toolalpaca_hf.checkpoints import resolve_model
from toolalpaca_hf.environments import EnvironmentGRPOTrainer, environment_dataset, openapi_environments, reward_parts
from toolalpaca_hf.errors import run_main
from toolalpaca_hf.evaluation import EvaluationConfig, compare, comparison_table, evaluate_model, read_suite
from toolalpaca_hf.storage import read_json, write_json
from toolalpaca_hf.training import data_fingerprint, parse_fields, resolved, start_or_resume

COLOURS = ["#0072B2", "#D55E00"]


def _field(default: Any, words: str) -> Any:
    return field(default=default, metadata={"help": words})


@dataclass
class EnvironmentArguments:
    """What is trained on, see [`openapi_environments`], and what it is measured with."""

    source: str = _field("sample", "sample, a raw file, or a built dataset.")
    split: str = _field("train", "Of sample or a dataset.")
    documentation: bool = _field(True, "Describe tools as the package's own prompts do.")
    partial_credit: bool = _field(True, "Reward the parts of the verdict, too.")
    faults: str | None = _field(None, "Let the simulator fail: a rate, or a file.")
    freeze_layers: int = _field(0, "Train only the layers above the first so many.")
    suite: str | None = _field(None, "Roll out this suite before and after, and compare: sample, simulated, real.")
    suite_faults: str | None = _field(None, "Let the simulator fail there, too.")


def measure(model: str, folder: Path, script_args: EnvironmentArguments) -> None:
    """Greedy rollouts of a suite as in the quickstart; what is there already is not made again."""
    if not script_args.suite or not PartialState().is_main_process:
        return
    config = EvaluationConfig(
        model, constrained=True, max_steps=3, max_new_tokens=128, max_tokens=400, max_unread=1, unreadable_after=48,
        batch_size=40, faults=script_args.suite_faults,
    )  # fmt: skip
    print(f"Rolling out {script_args.suite} with {model}", flush=True)
    evaluate_model(read_suite(script_args.suite), make_backend(config, "cpu"), folder, config=config)


def draw_rewards(history: list[dict[str, Any]], folder: Path, window: int = 8) -> None:
    """The reward curve of a run as a picture, and its figures."""
    rows = [row for row in history if "reward" in row]
    write_json(folder / "rewards.json", rows)
    if not rows:  # fewer steps than logging_steps
        return
    names = {"reward": "reward", "rewards/process/mean": "process right"}
    curves = DataFrame(rows).set_index("step")[list(names)].rename(columns=names)
    axes = curves.plot(style=".", alpha=0.4, legend=False, color=COLOURS, figsize=(8, 3.6), ylim=(0, 1))
    means = curves.rolling(window, min_periods=1).mean().add_suffix(f", mean of {window} steps")
    means.plot(ax=axes, color=COLOURS, ylabel="mean of a step's rollouts")
    axes.figure.savefig(folder / "rewards.png", dpi=130, bbox_inches="tight")


def main(script_args: EnvironmentArguments, training_args: GRPOConfig, model_args: ModelConfig) -> None:
    """Load, measure, train, save, measure again."""
    state, out = PartialState(), Path(training_args.output_dir)
    with state.main_process_first():  # it unpacks what the others read
        model = resolve_model(str(model_args.model_name_or_path))
    names = ("source", "split", "documentation", "partial_credit", "faults")
    environments = openapi_environments(**{name: getattr(script_args, name) for name in names})
    parts = reward_parts()
    # Weights that were trained anew under the same name are others.
    weights = [file.stat().st_mtime_ns for file in sorted(Path(model).glob("*.safetensors"))]
    settings = resolved(script_args, training_args, model_args) | {"weights": weights}
    dataset = environment_dataset(environments)
    places = zip(dataset["environment"], dataset["id"], strict=True)
    golden = [str(environments[name].tasks[id_].golden_calls) for name, id_ in places]
    with state.main_process_first():
        checkpoint, sentence = start_or_resume(out, settings, data_fingerprint(dataset.add_column("golden", golden)))
    state.print(sentence)
    if state.is_main_process:
        if checkpoint is None:
            shutil.rmtree(out / "after", ignore_errors=True)
        if not (out / "weights.json").exists() or read_json(out / "weights.json") != weights:
            shutil.rmtree(out / "before", ignore_errors=True)
            write_json(out / "weights.json", weights)
    measure(model, out / "before", script_args)

    training_args.reward_weights = [0.0] * len(parts)  # logged; the environments' own reward counts
    training_args.model_init_kwargs = {"dtype": model_args.dtype, "use_safetensors": True} | (
        training_args.model_init_kwargs or {}
    )
    trainer = EnvironmentGRPOTrainer(
        model=model,
        args=training_args,
        freeze_layers=script_args.freeze_layers,
        reward_funcs=parts,
        train_dataset=dataset,
        environment_factory=environments,
        peft_config=get_peft_config(model_args),
    )
    trainer.train(resume_from_checkpoint=training_args.resume_from_checkpoint or (checkpoint and str(checkpoint)))
    trainer.save_model(training_args.output_dir)
    if state.is_main_process:
        draw_rewards(trainer.state.log_history, out)
    measure(training_args.output_dir, out / "after", script_args)
    if script_args.suite and state.is_main_process:
        comparison = compare([out / "before", out / "after"])
        write_json(out / "comparison.json", comparison, indent=2)
        Console(width=120).print(comparison_table(comparison))
    state.wait_for_everyone()


if __name__ == "__main__":
    run_main(lambda: main(*parse_fields(sys.argv[1:], EnvironmentArguments, GRPOConfig, ModelConfig)))
