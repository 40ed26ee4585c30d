"""`toolalpaca evaluate`, `compare`, `lint` and `screen`: figures side by side, and what the benchmarks are worth."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from shlex import quote
from typing import Annotated, Any

import typer

from ..agent import RolloutConfig
from ..errors import InputError, OptionError, needing
from ..evaluation import EvaluationConfig
from ..storage import atomic_write, interruptible, output_folder
from .options import WHAT, Json, option, refuse_others, say_json, with_options
from .run import RUN_FILES

RATE = "{value:>7.1%}  ({low:.1%} to {high:.1%})"
SCORING = (  # what the command takes beside trajectories, and beside recorded verdicts
    "trajectories suite categories apis data_dir limit labels exclude_flagged out overwrite as_json "
    "judge_endpoint judge_model judge_prompt judge_concurrency"
).split()
COUNTING = "judged out overwrite as_json".split()
OF_RECIPES = ("suites", "output_dir", "push_to_hub", "hub_model_id")  # what the command has other options for


@with_options("config", EvaluationConfig, leave_out=OF_RECIPES, batch_size=RolloutConfig.batch_size)
def evaluate(
    context: typer.Context,
    config: EvaluationConfig,
    out: Annotated[Path, option("Folder to write; what is there already is not made again.")],
    suite: Annotated[str, option("simulated, real, sample or bfcl.", WHAT)] = "",
    categories: Annotated[str | None, option("Of bfcl: simple_python,multiple; all by default.", WHAT)] = None,
    trajectories: Annotated[Path | None, option("In place of --model: a run, or upstream's layouts.", WHAT)] = None,
    apis: Annotated[Path | None, option("In place of --suite: instructions and golden answers, JSON.", WHAT)] = None,
    judged: Annotated[Path | None, option("Alone: recorded verdict texts, parsed again.", WHAT)] = None,
    as_json: Json = False,
) -> None:
    """Score a model, trajectories that exist, or recorded verdicts."""
    if sum(value is not None for value in (config.model_name_or_path, trajectories, judged)) != 1:
        raise OptionError("pass one of --model, --trajectories and --judged")
    if trajectories or judged:
        used, what = (SCORING, "--trajectories are") if trajectories else (COUNTING, "--judged is")
        refuse_others(context, used, f"has no effect where {what} scored")
    if suite and apis:
        raise OptionError("pass --suite or --apis, not both")
    # A file in the raw layout may hold golden answers and instances both.
    named = _suite_name(suite, categories, config.data_dir) or str(apis or trajectories or "simulated")
    with needing("evaluating", "evaluate"), interruptible(lambda: _kept(out)):
        metrics = _evaluated(replace(config, suites=[named], output_dir=str(out)), trajectories, judged)
    say_json(metrics) if as_json else _print(metrics, out)


def _suite_name(suite: str, categories: str | None, data_dir: str | Path | None) -> str:
    data = Path(data_dir or ".")
    if not (data.is_dir() or (suite == "bfcl" and data.is_file())):
        raise OptionError(f"{data} is no folder", option="--data-dir", fix="pass one that holds a suite's file")
    if categories and suite != "bfcl":
        raise OptionError("are BFCL's", option="--categories", fix="name the suite bfcl, or leave them out")
    return f"{suite}:{categories}" if categories else suite


def _kept(out: Path) -> str:
    from ..agent import kept_rollouts

    judged = "; so are the judge's answers in verdicts.jsonl" if (out / "verdicts.jsonl").is_file() else ""
    trials = [kept_rollouts(folder) for folder in sorted((out / "trials").glob("*"))]
    return "; ".join([kept_rollouts(out / "rollouts"), *trials]) + judged


def _evaluated(config: EvaluationConfig, trajectories: Path | None, judged: Path | None) -> dict[str, Any]:
    from ..agent import make_backend
    from ..evaluation import EVALUATION_FILES, evaluate_model, evaluate_trajectories, read_suite
    from ..experimental.recorded_runs import evaluate_judged, read_run

    out = Path(config.output_dir)
    # A run's folder may be scored into, and stays a run's.
    own = (*EVALUATION_FILES, *(() if config.overwrite else RUN_FILES))
    with output_folder(out, "an evaluation", own, config.overwrite):
        if judged is not None:
            return evaluate_judged(judged, out)
        if trajectories is not None:
            judge, suite = config.load_judge(), read_suite(config.suites[0], config.data_dir).first(config.limit)
            return evaluate_trajectories(suite, trajectories, out, judge, config, read_run)
        backend = make_backend(config)  # finds out whether there is such a model before anything is read
        judge, suite = config.load_judge(), read_suite(config.suites[0], config.data_dir)
        return evaluate_model(suite, backend, out, judge, config)


def _print(metrics: dict[str, Any], out: Path) -> None:
    rows = list(metrics.get("calls", {}).items())
    rows += [(name, metrics[name]) for name in ("process_verdict", "reward") if name in metrics]
    rows += [(f"after a fault: {name} ({rate['n']})", rate) for name, rate in metrics.get("recovery", {}).items()]
    rows += [(f"judge: {name}", rate) for name, rate in metrics.get("judge_rates", {}).items()]
    if rate := (left := metrics.get("without_flagged", {"n": None})).get("process_verdict"):
        rows.append((f"process verdict of the {left['n']} not flagged", rate))
    absent = f"{metrics['failed']} failed, {metrics['missing']} missing"
    lines = [f"{metrics['n']} instructions, {absent} (these count as wrong)"]
    lines += [f"{name.replace('_', ' '):<28}{RATE.format(**rate)}" for name, rate in rows]
    lines += ["every instruction is flagged"] * (left["n"] == 0)
    if "trials" in metrics:
        from ..evaluation import trial_lines

        lines += trial_lines(metrics)
    if judge := metrics.get("judge"):
        for name in ("process", "response"):
            counts = ", ".join(f"{count} {verdict}" for verdict, count in judge[name].items())
            lines.append(f"judge's verdicts on the {name}: {counts}")
        lines.append(f"both Yes: {judge['both']}; without a verdict: {judge['error_num']} of {judge['num']}")
    for who, found in metrics.get("agreement_with_labels", {}).items():
        for part in ("process", "response"):
            if found[part]["n"]:
                agreed, n, kappa = (found[part][key] for key in ("agreement", "n", "kappa"))
                words = "undefined" if kappa is None else f"{kappa:.2f}"
                lines.append(f"{who} and labels, {part}: {agreed:.1%} of {n} agree, kappa {words}")
    lines += [f"- {note}" for note in metrics["notes"][:20]]
    if len(metrics["notes"]) > 20:
        lines.append(f"- and {len(metrics['notes']) - 20} more in {out / 'metrics.json'}")
    lines.append(f"{out / 'report.html' if (out / 'report.html').is_file() else out / 'metrics.json'} has the rest")
    lines.append(f"Next: toolalpaca compare {quote(str(out))} OTHER puts two evaluations side by side")
    typer.echo("\n".join(lines))


def compare(
    runs: Annotated[list[Path], typer.Argument(help="Folders that evaluate wrote, or logs of Inspect.")],
    out: Annotated[Path | None, option("Write the comparison as Markdown, too.")] = None,
    as_json: Json = False,
) -> None:
    """Put evaluations side by side; differences are paired, on the instructions both have."""
    from rich.console import Console

    with needing("comparing", "evaluate"):
        from ..evaluation import compare as side_by_side
        from ..evaluation import comparison_markdown, comparison_table

        found = side_by_side(runs)
    if out:
        atomic_write(out, comparison_markdown(found))
    if as_json:
        return say_json(found)
    Console().print(comparison_table(found))


def lint(
    suite: Annotated[
        str, typer.Argument(help="sample, simulated, real, bfcl, or a file with golden calls or trajectories.")
    ],
    out: Annotated[Path | None, option("Write lint.md and lint.json there.")] = None,
    data_dir: Annotated[Path | None, option("Folder searched for a suite's file first.")] = None,
    categories: Annotated[str | None, option("Of bfcl: simple_python,multiple; all by default.")] = None,
) -> None:
    """Check golden calls by their documents, the simulator and their instructions; nothing is changed."""
    from ..data import left_out
    from ..evaluation import KINDS, lint_counts, lint_summary, read_suite, write_lint
    from ..evaluation import lint as run_lint

    read = read_suite(_suite_name(suite, categories, data_dir), data_dir, references=True)
    findings = run_lint(read)
    typer.echo(lint_summary(read, findings))
    for note in filter(None, [left_out(read.notes), *read.notes[:20]]):
        typer.echo(f"- {note}")
    for kind, (count, instructions) in lint_counts(findings).items():
        severity, meaning = KINDS[kind]
        typer.echo(f"{severity:<6} {kind:<32}{count:>5} in {instructions} instructions: {meaning}")
    for finding in [finding for finding in findings if finding.flags][:20]:
        typer.echo(f"- {finding.id}: {finding.kind}: {finding.evidence}")
    if out:
        write_lint(out, read, findings)
        typer.echo(f"{out / 'lint.md'} has the rest")


def screen(
    dataset: Annotated[str, typer.Argument(help="Folder of a dataset repo, Parquet or JSON lines, or a Hub id.")],
    against: Annotated[
        list[str], option("published, simulated, real, bfcl, tau2, sample, or a file; may be repeated.")
    ] = ["published"],  # noqa: B006  # typer reads it, and nothing changes it
    columns: Annotated[str | None, option("Columns to compare, with commas; all by default.")] = None,
    out: Annotated[Path | None, option("Write the rows found, JSON lines, there.")] = None,
) -> None:
    """Find rows that hold an instruction of a benchmark, verbatim or nearly."""
    from tqdm.auto import tqdm

    from ..corpus import Screen

    chosen = Screen(against, [name.strip() for name in columns.split(",")] if columns else ())
    found: list[dict[str, Any]] = []
    rows = 0
    for config, split, content in _tables(dataset):
        if chosen.columns and not {*chosen.columns} & {*content.column_names}:
            continue  # another config of the repo
        for number, row in enumerate(tqdm(content, desc=f"{config}/{split}", unit="row")):
            rows += 1
            if leak := chosen.leak(row):
                place = {"config": config, "split": split, "row": number, "id": row.get("id")}
                found.append(place | dict(zip(("set", "reason", "text"), leak, strict=True)))
    if not rows:
        raise InputError("has no row with these columns", file=dataset, fix="name others with --columns")
    typer.echo(f"{len(found)} of {rows} rows hold an instruction of {', '.join(chosen.sets)}")
    for (config, split, name), count in Counter((row["config"], row["split"], row["set"]) for row in found).items():
        typer.echo(f"{count:>6} of {name} in {config}/{split}")
    for row in found[:10]:
        place = f"{row['config']}/{row['split']}, row {row['row']}"
        typer.echo(f"- {place}, {row['reason']} ({row['set']}): {row['text'][:100]}")
    if out:
        atomic_write(out, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in found))


def _tables(dataset: str) -> Any:
    """Each config and split with its rows."""
    from ..checkpoints import check_dataset

    if not (path := Path(dataset)).exists():
        check_dataset(dataset, "pass a dataset's folder or file, or a Hub id")
    from datasets import get_dataset_config_names, load_dataset
    from datasets.exceptions import DatasetsError

    try:
        if path.is_file():
            kind = "parquet" if path.suffix == ".parquet" else "json"
            yield path.name, "train", load_dataset(kind, data_files=str(path), split="train")
            return
        for config in get_dataset_config_names(dataset):
            for split, content in load_dataset(dataset, config).items():
                yield config, split, content
    except (OSError, ValueError, DatasetsError) as error:
        raise InputError(f"cannot be loaded ({error})", file=dataset, fix="pass a dataset's folder or file") from None
