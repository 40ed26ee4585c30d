"""
GRPO on the tools of documented APIs: each row's environment is an API of the simulator, the reward is by rule.

    accelerate launch --config_file recipes/accelerate_configs/cpu.yaml recipes/grpo.py \\
        --config recipes/quickstart/grpo.yaml --max_steps 2

Every field of `EnvironmentArguments`, TRL's `GRPOConfig` (such as `--use_vllm true --vllm_mode colocate`) and
`ModelConfig` can stand in the YAML and on the command line, which wins. The same command resumes a killed run.
"""

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from accelerate import PartialState
from trl import GRPOConfig, ModelConfig, get_peft_config, get_quantization_config

from toolalpaca_hf.checkpoints import resolve_model
from toolalpaca_hf.environments import EnvironmentGRPOTrainer, environment_dataset, openapi_environments, reward_parts
from toolalpaca_hf.errors import OptionError, run_main
from toolalpaca_hf.storage import write_json
from toolalpaca_hf.training import data_fingerprint, model_init_kwargs, parse_fields, resolved, start_or_resume


def _field(default: Any, words: str) -> Any:
    return field(default=default, metadata={"help": words})


@dataclass
class EnvironmentArguments:
    """What is trained on, see [`openapi_environments`]."""

    source: str = _field("sample", "sample, a raw file, or a built dataset.")
    split: str = _field("train", "Of sample or a dataset.")
    documentation: bool = _field(True, "Describe tools as the package's own prompts do.")
    partial_credit: bool = _field(True, "Reward the parts of the verdict, too.")
    faults: str | None = _field(None, "Let the simulator fail: a rate, or a file.")
    freeze_layers: int = _field(0, "Train only the layers above the first so many.")


def main(script_args: EnvironmentArguments, training_args: GRPOConfig, model_args: ModelConfig) -> None:
    """Load, train, save."""
    if training_args.reward_weights is not None:
        raise OptionError("the environments' own reward counts", option="reward_weights", fix="leave it out")
    state, out = PartialState(), Path(training_args.output_dir)
    with state.main_process_first():  # it unpacks what the others read
        model = resolve_model(str(model_args.model_name_or_path))
    # Weights that were trained anew under the same name are others.
    weights = [file.stat().st_mtime_ns for file in sorted(Path(model).glob("*.safetensors"))]
    settings = resolved(script_args, training_args, model_args) | {"weights": weights}
    training_args.model_init_kwargs = model_init_kwargs(model_args, training_args)

    # Load the environments, and their instructions as a dataset
    source = dict(vars(script_args))
    freeze_layers = source.pop("freeze_layers")
    environments = openapi_environments(**source)
    dataset = environment_dataset(environments)
    places = zip(dataset["environment"], dataset["id"], strict=True)
    golden = [str(environments[name].tasks[id_].golden_calls) for name, id_ in places]
    with state.main_process_first():
        checkpoint, sentence = start_or_resume(out, settings, data_fingerprint(dataset.add_column("golden", golden)))
    state.print(sentence)

    # Initialize the trainer; parts of the reward are only logged, the environments' own counts
    parts = reward_parts()
    training_args.reward_weights = [0.0] * len(parts)
    trainer = EnvironmentGRPOTrainer(
        model=model,
        args=training_args,
        freeze_layers=freeze_layers,
        reward_funcs=parts,
        train_dataset=dataset,
        environment_factory=environments,
        quantization_config=get_quantization_config(model_args),
        peft_config=get_peft_config(model_args),
    )

    # Train the model, save it and the reward of each step
    trainer.train(resume_from_checkpoint=training_args.resume_from_checkpoint or (checkpoint and str(checkpoint)))
    trainer.save_model(training_args.output_dir)
    if state.is_main_process:
        write_json(out / "rewards.json", [row for row in trainer.state.log_history if "reward" in row])
    state.wait_for_everyone()


if __name__ == "__main__":
    run_main(lambda: main(*parse_fields(sys.argv[1:], EnvironmentArguments, GRPOConfig, ModelConfig)))
