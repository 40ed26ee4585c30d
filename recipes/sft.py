"""
Supervised fine-tuning on thoughts and actions: full weights, LoRA or 4-bit QLoRA; one process or many.

    accelerate launch recipes/sft.py --config recipes/quickstart/sft.yaml --max_steps 2

    accelerate launch --config_file recipes/accelerate_configs/fsdp2.yaml recipes/sft.py \\
        --config recipes/toolalpaca-7b/sft.yaml [--push_to_hub --hub_model_id me/my-model]

Every field of `SegmentScriptArguments`, `SegmentSFTConfig` and TRL's `ModelConfig` can stand in the YAML and on the
command line, which wins. The same command resumes a killed run; a push is private until `--hub_private_repo false`.
"""

import sys

from trl import ModelConfig

from toolalpaca_hf.errors import run_main
from toolalpaca_hf.training import SegmentScriptArguments, SegmentSFTConfig, parse_arguments


def main(script_args: SegmentScriptArguments, training_args: SegmentSFTConfig, model_args: ModelConfig) -> None:
    """Load, train, save, push."""
    from trl import get_peft_config, get_quantization_config

    from toolalpaca_hf.hub import check_publishable, model_manifest, push
    from toolalpaca_hf.training import SegmentSFTTrainer, load_examples, model_init_kwargs, resolved

    settings = resolved(script_args, training_args, model_args)
    training_args.model_init_kwargs = model_init_kwargs(model_args, training_args)
    repo_id = training_args.hub_model_id or ""
    about = {"base_model": training_args.hub_base_model, "licence": training_args.hub_licence}
    if training_args.push_to_hub:
        check_publishable(settings, repo_id, **about)  # what the push would refuse

    # Load the dataset
    dataset = load_examples(script_args, training_args)

    # Initialize the trainer
    trainer = SegmentSFTTrainer(
        model=model_args.model_name_or_path,
        args=training_args,
        train_dataset=dataset[script_args.dataset_train_split],
        eval_dataset=dataset.get(script_args.dataset_test_split),
        quantization_config=get_quantization_config(model_args),
        peft_config=get_peft_config(model_args),
        run_settings=settings,
    )

    # What the saved template renders has to be what is trained
    trainer.prove_template()

    # Train the model, save weights, metrics and card
    trainer.train(resume_from_checkpoint=training_args.resume_from_checkpoint)
    trainer.save_model(training_args.output_dir)
    trainer.save_results()
    trainer.end()

    # Push to the Hub; the other processes are not kept waiting for it
    if training_args.push_to_hub and trainer.is_world_process_zero():
        manifest = model_manifest(training_args.output_dir, repo_id, **about)
        public, branch = training_args.hub_private_repo is False, training_args.hub_revision
        pushed = push(manifest, repo_id, public=public, revision=branch)
        print(f"Pushed to {repo_id}: {pushed.url}")


if __name__ == "__main__":
    run_main(lambda: main(*parse_arguments(sys.argv[1:])))
