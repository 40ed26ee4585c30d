"""`toolalpaca evaluate` and `toolalpaca compare`: figures, and figures side by side."""

from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import ToolAlpacaError
from . import options
from .rollouts import backend_and_arguments

JUDGE, WHAT = "Judge", "What is scored"


def evaluate(
    out: Annotated[Path, typer.Option(help="Folder to write; what is there already is not made again.")],
    model: Annotated[
        str | None,
        typer.Option(help="Folder, Hub id or smollm2; with --endpoint, its name there.", rich_help_panel=WHAT),
    ] = None,
    suite: Annotated[str, typer.Option(help="simulated, real or sample.", rich_help_panel=WHAT)] = "",
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
        Path | None, typer.Option(help="Folder searched for a suite's file before a download.", rich_help_panel=WHAT)
    ] = None,
    judge_endpoint: Annotated[
        str | None, typer.Option(help="OpenAI-compatible server of a judge.", rich_help_panel=JUDGE)
    ] = None,
    judge_model: Annotated[str | None, typer.Option(help="Its model's name.", rich_help_panel=JUDGE)] = None,
    judge_prompt: Annotated[
        str | None, typer.Option(help="published, or upstream's file; ours otherwise.", rich_help_panel=JUDGE)
    ] = None,
    judge_concurrency: Annotated[int, typer.Option(min=1, help="Requests at once.", rich_help_panel=JUDGE)] = 8,
    endpoint: options.Endpoint = None,
    style: options.Style = "react",
    prompt: options.PromptName = "react",
    prompt_dir: options.PromptDir = None,
    simulator: options.Simulator = "embedded",
    responder: options.Responder = "schema",
    store: options.Store = None,
    real: options.Real = False,
    credentials: options.CredentialsFile = None,
    allow_private: options.AllowPrivate = None,
    limit: options.Limit = None,
    tool: options.BuiltIn = None,
    user_endpoint: options.UserEndpoint = None,
    user_model: options.UserModel = None,
    batch_size: options.BatchSize = 32,
    concurrency: options.Concurrency = 8,
    max_steps: options.MaxSteps = 10,
    max_new_tokens: options.MaxNewTokens = 256,
    max_tokens: options.MaxTokens = 2048,
    max_seconds: options.MaxSeconds = 600.0,
    temperature: options.Temperature = 0.0,
    seed: options.Seed = 0,
) -> None:
    """Score a model, trajectories that exist, or recorded verdicts."""
    chosen = dict(locals())
    if sum(value is not None for value in (model, trajectories, judged)) != 1:
        raise ToolAlpacaError("pass one of --model, --trajectories and --judged")
    if suite and apis:
        raise ToolAlpacaError("pass --suite or --apis, not both")
    if bool(judge_endpoint) != bool(judge_model):
        raise ToolAlpacaError("a judge needs both --judge-endpoint and --judge-model")
    from ..evaluation.evaluate import evaluate_model, evaluate_trajectories
    from ..evaluation.judged import evaluate_judged
    from ..evaluation.suite import read_suite

    if judged is not None:
        _print(evaluate_judged(judged, out), out)
        return
    judge = None
    if judge_endpoint and judge_model:
        from ..evaluation.judge import Judge
        from ..metrics.llm_judge import published_prompt
        from ..sources import fetch

        asked = None
        if judge_prompt:
            asked = published_prompt(fetch("evaluation_prompt").path if judge_prompt == "published" else judge_prompt)
        judge = Judge(judge_endpoint, judge_model, asked, judge_concurrency)
    # A file in the raw layout may hold golden answers and instances both.
    asked_of = read_suite(apis or suite or trajectories or "simulated", data_dir)
    if trajectories is not None:
        if limit:
            asked_of = asked_of.first(limit)
        metrics = evaluate_trajectories(asked_of, trajectories, out, judge)
    else:
        backend, arguments = backend_and_arguments(chosen)
        metrics = evaluate_model(asked_of, backend, out, judge, **arguments)
    _print(metrics, out)


def compare(
    runs: Annotated[list[Path], typer.Argument(help="Folders that evaluate wrote.")],
    out: Annotated[Path | None, typer.Option(help="Write the comparison as Markdown, too.")] = None,
) -> None:
    """Put evaluations side by side; differences are paired, on the instructions both have."""
    from rich.console import Console

    from ..evaluation import compare as comparing

    found = comparing.compare(runs)
    Console().print(comparing.comparison_table(found))
    for note in found["notes"]:
        typer.echo(f"- {note}")
    if out:
        out.write_text(comparing.comparison_markdown(found), encoding="utf-8")


def _print(metrics: dict[str, Any], out: Path) -> None:
    rows = [(name, rate) for name, rate in metrics.get("calls", {}).items()]
    rows += [("process verdict", metrics["process_verdict"])] if "process_verdict" in metrics else []
    rows += [(f"judge: {name}", rate) for name, rate in metrics.get("judge_rates", {}).items()]
    typer.echo(f"{metrics['n']} instructions, {metrics['failed']} failed or missing (they count as wrong)")
    for name, rate in rows:
        typer.echo(f"{name.replace('_', ' '):<28}{rate['value']:>7.1%}  ({rate['low']:.1%} to {rate['high']:.1%})")
    if "judge" in metrics:
        typer.echo(f"judge: {metrics['judge']}")
    for note in metrics["notes"][:20]:
        typer.echo(f"- {note}")
    if len(metrics["notes"]) > 20:
        typer.echo(f"- and {len(metrics['notes']) - 20} more in {out / 'metrics.json'}")
    typer.echo(f"{out / 'report.html' if (out / 'report.html').is_file() else out / 'metrics.json'} has the rest")
