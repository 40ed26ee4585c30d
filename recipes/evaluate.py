"""
Evaluate a model on ToolAlpaca's sets: rollouts, metrics, report; one process or many.

    accelerate launch --config_file recipes/accelerate_configs/single_gpu.yaml recipes/evaluate.py \\
        --config recipes/toolalpaca-7b/evaluate.yaml --model_name_or_path FOLDER [--hub_model_id ID --push_to_hub]

The fields of `EvaluationConfig` stand in the YAML or on the command line, which wins. The same command resumes a run.
"""

import sys
from contextlib import ExitStack
from functools import cache
from itertools import chain
from pathlib import Path

from accelerate import PartialState

from toolalpaca_hf import evaluation
from toolalpaca_hf.agent import kept_rollouts, make_backend
from toolalpaca_hf.data import make_prompt
from toolalpaca_hf.errors import run_main
from toolalpaca_hf.hub import check_push, push, read_run, results_manifest
from toolalpaca_hf.precision import default_device
from toolalpaca_hf.simulator import Directory, read_faults
from toolalpaca_hf.storage import interruptible, output_folder
from toolalpaca_hf.training import parse_fields


def main(config: evaluation.EvaluationConfig) -> None:
    """Read the suites, roll out each process's share, score in the first one, push: in that order."""
    # PartialState() by itself takes processes without a GPU for one each.
    state = PartialState(cpu=default_device().type == "cpu")
    first, repo_id = state.is_main_process, str(config.hub_model_id or config.model_name_or_path)
    if config.push_to_hub and first:
        check_push(repo_id)  # what would be refused at the end
    with ExitStack() as written:
        with state.main_process_first():  # it downloads what the others read
            suites = [evaluation.read_suite(name, config.data_dir) for name in config.suites]
            folders = {suite.name: Path(config.output_dir) / suite.name for suite in suites}
            make_prompt(config.prompt, config.prompt_dir)
            slugs = {suite.name: [served.slug for served in Directory(suite.apis).apis] for suite in suites}
            if faults := read_faults(config.faults, config.seed):
                faults.check(chain.from_iterable(slugs.values()))
            for folder in folders.values() if first else ():
                files = evaluation.EVALUATION_FILES
                written.enter_context(output_folder(folder, "an evaluation", files, config.overwrite))
        judge, backend = config.load_judge(), make_backend(config, str(state.device))
        backend = cache(backend) if callable(backend) else backend  # one model for all suites
        for suite in suites:
            folder, rollouts = folders[suite.name], config.of_suite(suite.name, slugs[suite.name], faults)
            if state.num_processes > 1:
                share = (state.process_index, state.num_processes)
                plan = evaluation.plan_trials(rollouts, config.trials, config.vary_user)
                evaluation.run_trials(suite.file, backend, folder, rollouts, plan, share=share, progress=first)
                state.wait_for_everyone()
            if first:
                metrics = evaluation.evaluate_model(suite, backend, folder, judge, rollouts)
                right = "{value:.1%} ({low:.1%} to {high:.1%})".format(**metrics["process_verdict"])
                counts = "{n} instructions, {failed} failed".format(**metrics)
                print(f"{suite.name}: process right by rule {right}, {counts}; {folder / 'report.html'}")
    if config.push_to_hub and first:
        runs = [read_run(folder) for folder in folders.values()]
        print(f"Pushed to {push(results_manifest(runs, repo_id), repo_id).url}.")
    state.wait_for_everyone()
    state.destroy_process_group()


def _run() -> None:
    (config,) = parse_fields(sys.argv[1:], evaluation.EvaluationConfig)
    with interruptible(lambda: "; ".join(map(kept_rollouts, Path(config.output_dir).glob("*/rollouts")))):
        main(config)


if __name__ == "__main__":
    run_main(_run)
