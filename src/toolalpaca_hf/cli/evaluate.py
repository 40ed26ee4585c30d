"""`toolalpaca evaluate` and `toolalpaca compare`: figures, and figures side by side."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..agent import RolloutConfig
from ..errors import OptionError, needing
from ..storage import check_output_folder, interruptible
from . import options

if TYPE_CHECKING:
    from ..evaluation import EvaluationConfig

JUDGE, WHAT = "Judge", "What is scored"


@options.with_rollout_options
def evaluate(
    config: RolloutConfig,
    out: Annotated[Path, typer.Option(help="Folder to write; what is there already is not made again.")],
    suite: Annotated[str, typer.Option(help="simulated, real, sample or bfcl.", rich_help_panel=WHAT)] = "",
    categories: Annotated[
        str | None, typer.Option(help="Of bfcl: simple_python,multiple; all by default.", rich_help_panel=WHAT)
    ] = None,
    trajectories: Annotated[
        Path | None,
        typer.Option(
            help="In place of --model: a run's folder, Parquet, or either upstream layout.", rich_help_panel=WHAT
        ),
    ] = None,
    apis: Annotated[
        Path | None,
        typer.Option(help="In place of --suite: instructions and golden answers, JSON.", rich_help_panel=WHAT),
    ] = None,
    judged: Annotated[
        Path | None, typer.Option(help="Alone: recorded verdict texts, parsed again.", rich_help_panel=WHAT)
    ] = None,
    data_dir: Annotated[
        Path | None, typer.Option(help="Folder searched first for a suite's file.", rich_help_panel=WHAT)
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(help="CSV or JSONL of people's verdicts: api,index,process.", rich_help_panel=WHAT)
    ] = None,
    judge_endpoint: Annotated[
        str | None, typer.Option(help="OpenAI-compatible server of a judge.", rich_help_panel=JUDGE)
    ] = None,
    judge_model: Annotated[str | None, typer.Option(help="Its model's name.", rich_help_panel=JUDGE)] = None,
    judge_prompt: Annotated[
        str | None, typer.Option(help="published, or upstream's file; ours otherwise.", rich_help_panel=JUDGE)
    ] = None,
    judge_concurrency: Annotated[int, typer.Option(min=1, help="Requests at once.", rich_help_panel=JUDGE)] = 8,
    as_json: options.Json = False,
    judge_repeats: Annotated[
        int, typer.Option(min=1, help="Verdicts an attempt, to measure the judge's variance.", rich_help_panel=JUDGE)
    ] = 1,
    trials: Annotated[int, typer.Option(min=1, help="Rollouts of each instruction.", rich_help_panel=WHAT)] = 1,
    vary_user: Annotated[
        bool, typer.Option("--vary-user", help="A scripted user takes half of the trials.", rich_help_panel=WHAT)
    ] = False,
    exclude_flagged: Annotated[
        bool,
        typer.Option(
            "--exclude-flagged", help="Give figures without rows that lint flags, too.", rich_help_panel=WHAT
        ),
    ] = False,
    overwrite: options.Overwrite = False,
) -> None:
    """Score a model, trajectories that exist, or recorded verdicts."""
    if sum(value is not None for value in (config.model_name_or_path, trajectories, judged)) != 1:
        raise OptionError("pass one of --model, --trajectories and --judged")
    if data_dir is not None and not (data_dir.is_dir() or (suite == "bfcl" and data_dir.is_file())):
        raise OptionError(f"{data_dir} is no folder", option="--data-dir", fix="pass one that holds a suite's file")
    if categories and suite != "bfcl":
        raise OptionError("are BFCL's", option="--categories", fix="pass --suite bfcl, or leave them out")
    if suite and apis:
        raise OptionError("pass --suite or --apis, not both")
    with needing("evaluating", "evaluate"):
        from ..evaluation import EvaluationConfig

        evaluation = EvaluationConfig(
            **vars(config),
            # A file in the raw layout may hold golden answers and instances both.
            suites=[f"{suite}:{categories}" if categories else str(apis or suite or trajectories or "simulated")],
            data_dir=data_dir and str(data_dir),
            judge_endpoint=judge_endpoint,
            judge_model=judge_model,
            judge_prompt=judge_prompt,
            judge_concurrency=judge_concurrency,
            judge_repeats=judge_repeats,
            trials=trials,
            vary_user=vary_user,
            exclude_flagged=exclude_flagged,
            labels=labels and str(labels),
            output_dir=str(out),
            overwrite=overwrite,
        )
        with interruptible(lambda: _kept(out)):
            metrics = _evaluated(evaluation, trajectories, judged)
        options.say_json(metrics) if as_json else _print(metrics, out)


def compare(
    runs: Annotated[list[Path], typer.Argument(help="Folders that evaluate wrote, or logs of Inspect.")],
    out: Annotated[Path | None, typer.Option(help="Write the comparison as Markdown, too.")] = None,
    as_json: options.Json = False,
) -> None:
    """Put evaluations side by side; differences are paired, on the instructions both have."""
    from rich.console import Console

    from ..storage import atomic_write

    with needing("comparing", "evaluate"):
        from ..evaluation import compare as side_by_side
        from ..evaluation import comparison_markdown, comparison_table

        found = side_by_side(runs)
    if out:
        atomic_write(out, comparison_markdown(found))
    if as_json:
        return options.say_json(found)
    Console().print(comparison_table(found))


def _kept(out: Path) -> str:
    from ..agent import kept_rollouts

    judged = "; so are the judge's answers in verdicts.jsonl" if (out / "verdicts.jsonl").is_file() else ""
    trials = [kept_rollouts(folder) for folder in sorted((out / "trials").glob("*"))]
    return "; ".join([kept_rollouts(out / "rollouts"), *trials]) + judged


def _evaluated(config: "EvaluationConfig", trajectories: Path | None, judged: Path | None) -> dict[str, Any]:
    from ..agent import make_backend
    from ..evaluation import EVALUATION_FILES, evaluate_model, evaluate_trajectories, read_suite
    from ..experimental.recorded_runs import evaluate_judged, read_run

    out = Path(config.output_dir)
    check_output_folder(out, "an evaluation", EVALUATION_FILES, config.overwrite)
    if judged is not None:
        return evaluate_judged(judged, out)
    if trajectories is not None:
        judge, suite = config.load_judge(), read_suite(config.suites[0], config.data_dir).first(config.limit)
        return evaluate_trajectories(suite, trajectories, out, judge, config, read_run)
    backend = make_backend(config)  # finds out whether there is such a model before anything is read
    judge, suite = config.load_judge(), read_suite(config.suites[0], config.data_dir)
    return evaluate_model(suite, backend, out, judge, config)


def _print(metrics: dict[str, Any], out: Path) -> None:
    rows = [(name, rate) for name, rate in metrics.get("calls", {}).items()]
    rows += [("process verdict", metrics["process_verdict"])] if "process_verdict" in metrics else []
    rows += [("reward", metrics["reward"])] if "reward" in metrics else []
    rows += [(f"after a fault: {name} ({rate['n']})", rate) for name, rate in metrics.get("recovery", {}).items()]
    rows += [(f"judge: {name}", rate) for name, rate in metrics.get("judge_rates", {}).items()]
    absent = f"{metrics['failed']} failed, {metrics['missing']} missing"
    typer.echo(f"{metrics['n']} instructions, {absent} (these count as wrong)")
    for name, rate in rows:
        typer.echo(f"{name.replace('_', ' '):<28}{rate['value']:>7.1%}  ({rate['low']:.1%} to {rate['high']:.1%})")
    if left := metrics.get("without_flagged"):
        rate = left.get("process_verdict", {"value": 0.0, "low": 0.0, "high": 1.0})
        words = "{value:>7.1%}  ({low:.1%} to {high:.1%})".format(**rate)
        typer.echo(f"{'without flagged, n = ' + str(left['n']):<28}{words}  process verdict")
    if "trials" in metrics:
        from ..evaluation import trial_lines

        for line in trial_lines(metrics):
            typer.echo(line)
    if "judge" in metrics:
        judge = metrics["judge"]
        for name in ("process", "response"):
            counts = ", ".join(f"{count} {verdict}" for verdict, count in judge[name].items())
            typer.echo(f"judge's verdicts on the {name}: {counts}")
        typer.echo(f"both Yes: {judge['both']}; without a verdict: {judge['error_num']} of {judge['num']}")
    for who, found in metrics.get("agreement_with_labels", {}).items():
        for part in ("process", "response"):
            if found[part]["n"]:
                agreed, n, kappa = (found[part][key] for key in ("agreement", "n", "kappa"))
                words = "undefined" if kappa is None else f"{kappa:.2f}"
                typer.echo(f"{who} and labels, {part}: {agreed:.1%} of {n} agree, kappa {words}")
    for note in metrics["notes"][:20]:
        typer.echo(f"- {note}")
    if len(metrics["notes"]) > 20:
        typer.echo(f"- and {len(metrics['notes']) - 20} more in {out / 'metrics.json'}")
    typer.echo(f"{out / 'report.html' if (out / 'report.html').is_file() else out / 'metrics.json'} has the rest")
    typer.echo(f"Next: toolalpaca compare {out} OTHER puts two evaluations side by side")
