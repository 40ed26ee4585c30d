"""`toolalpaca corpus`: from a list of public APIs to a dataset."""

from collections import Counter
from functools import partial
from pathlib import Path
from shlex import quote
from typing import Annotated, Any, Literal

import typer

from ..errors import OptionError, ToolAlpacaError, needing
from ..report import visible
from ..storage import interruptible, output_folder
from .options import AllowPrivate, Overwrite, Precision, check_models, option, refuse_others, script

MODELS, SPENDING, WORK = "Models", "Spending", "How the work is carried out"
OWN = ["settings.json", "entries.json", "corpus.json", "train_data.json", "apis.jsonl", "instances.jsonl"]
OWN += ["parts", "logs", "requests.sqlite*", "corpus_report.*", "logs/*/launch_script.slurm"]
OFFLINE = {"apis", "out", "offline", "per_api", "max_tools", "faults", "seed", "limit", "overwrite"}
OUT_OF_BUDGET = 3  # exit status: nothing is wrong, and a larger budget goes on

app = typer.Typer(help="Make a corpus: from a list of public APIs to a dataset.", no_args_is_help=True)


@app.command()
def apis(
    source: Annotated[str, typer.Argument(help="List of public APIs, JSON or public-apis' README: a file or a URL.")],
    out: Annotated[Path, option("Where to write what is kept.")],
    category: Annotated[list[str] | None, option("Only of this category; may be repeated.")] = None,
    https: Annotated[bool, option("Only those with HTTPS.", None, "--https")] = False,
    limit: Annotated[int | None, option("Only the first so many of what is left.", min=1)] = None,
    allow_private: AllowPrivate = None,
) -> None:
    """Choose APIs of a list; those of the published evaluation sets are never kept."""
    from ..corpus import EntryFilter, load_entries, reserved_names, select_entries, write_entries

    entries = load_entries(source, allow_private or ())
    chosen = select_entries(entries, EntryFilter(tuple(category or ()), https, reserved_names(), limit))
    write_entries(chosen, out)
    for name, count in Counter(entry.category for entry in chosen.kept).most_common():
        typer.echo(f"{count:>6} {visible(name) or 'without a category'}")
    for reason, names in chosen.left_out.items():
        shown = ", ".join(visible(name) for name in names[:5]) + (", ..." if len(names) > 5 else "")
        typer.echo(f"{len(names):>6} left out, each {reason}: {shown}")
    typer.echo(f"{out}: {len(chosen.kept)} of {len(entries)} APIs kept")


@app.command()
def build(
    context: typer.Context,
    apis: Annotated[str, option("List of public APIs, JSON; with --offline, a raw file or OpenAPI documents.")],
    out: Annotated[Path, option("Folder to write; one that is there goes on.")],
    recipe: Annotated[Path | None, option("YAML, such as recipes/corpus/default.yaml.", None, "--config")] = None,
    endpoint: Annotated[str | None, option("OpenAI-compatible server of every role.", MODELS)] = None,
    model: Annotated[str | None, option("The model's name there.", MODELS)] = None,
    local: Annotated[str | None, option("In place of both, one here: folder, Hub id or smollm2.", MODELS)] = None,
    constrained: Annotated[
        bool | None, option("Hold --local to JSON schemas.", MODELS, "--constrained/--unconstrained")
    ] = None,
    dtype: Annotated[Precision | None, option("With --local; by default what computes fastest.", MODELS)] = None,
    key_variable: Annotated[str | None, option("Environment variable that holds the key.", MODELS)] = None,
    offline: Annotated[bool, option("No endpoint: rule-based agents.", MODELS, "--offline")] = False,
    per_api: Annotated[int, option("With --offline: instances of an API.", min=1)] = 8,
    max_tools: Annotated[int, option("With --offline: functions shown, the nearest to the instruction.", min=1)] = 9,
    faults: Annotated[str | None, option("With --offline: the simulator fails; a rate (0.2) or a file.")] = None,
    seed: Annotated[int | None, option("Of every role; with --offline, of the rules.")] = None,
    limit: Annotated[int | None, option("Only the first so many APIs.", min=1)] = None,
    dry_run: Annotated[bool, option("Say what it would cost, and end.", SPENDING, "--dry-run")] = False,
    budget_calls: Annotated[int | None, option("Stop at so many calls.", SPENDING, min=1)] = None,
    budget_tokens: Annotated[int | None, option("Stop at so many tokens.", SPENDING, min=1)] = None,
    budget_money: Annotated[float | None, option("Stop at so much money, by the prices.", SPENDING, min=0.0)] = None,
    executor: Annotated[Literal["local", "ray", "slurm"] | None, option("Where tasks run.", WORK)] = None,
    tasks: Annotated[int | None, option("Shares of the work.", WORK, min=1)] = None,
    workers: Annotated[int | None, option("Tasks at once.", WORK, min=1)] = None,
    concurrency: Annotated[int | None, option("Calls at once, in each task.", WORK, min=1)] = None,
    set_aside_failed: Annotated[bool, option("Go on without what got no answer.", WORK, "--set-aside-failed")] = False,
    overwrite: Overwrite = False,
) -> None:
    """Make a corpus; killed and run again, it goes on, and asks nothing twice."""
    with output_folder(out, "a corpus", OWN, overwrite):
        if offline:
            refuse_others(context, OFFLINE, "--offline asks no model")
            from ..experimental.offline_corpus import OfflineSettings, build_offline_corpus
            from ..simulator import read_faults

            plan = read_faults(faults, seed or 0)
            settings = OfflineSettings(per_api=per_api, seed=seed or 0, max_tools=max_tools, faults=plan)
            with interruptible(lambda: _kept(out)):
                made = build_offline_corpus(apis, out, settings, limit, progress=True)
            return _report(out, made)
        from .. import corpus
        from ..executors import QueuedError
        from ..llm import BudgetExceeded

        if local and (endpoint or model):
            raise OptionError("is a model on this machine", option="--local", fix="leave out --endpoint and --model")
        models = {"endpoint": endpoint, "model": model, "local": local, "constrained": constrained, "dtype": dtype}
        models |= {"key_variable": key_variable, "seed": seed}
        run = {"executor": executor, "tasks": tasks, "workers": workers or tasks, "concurrency": concurrency}
        run |= {"set_aside_failed": set_aside_failed or None}
        budget = {"calls": budget_calls, "tokens": budget_tokens, "money": budget_money}
        config = corpus.CorpusConfig.load(recipe, {"models": models, "run": run, "budget": budget})
        check_models(*{role.local for role in config.roles.values() if role.local})
        wanted = corpus.EntryFilter(reserved=corpus.reserved_names(), limit=limit)
        chosen = corpus.select_entries(corpus.load_entries(apis), wanted)
        for reason, names in chosen.left_out.items():
            typer.echo(f"{len(names)} left out, each {reason}")
        if dry_run:
            return typer.echo(str(corpus.estimate(len(chosen.kept), config, out)))
        try:
            with interruptible(lambda: _kept(out)):
                made = corpus.build_corpus(chosen.kept, out, config, progress=True, tell=partial(typer.echo, err=True))
        except BudgetExceeded as error:
            typer.echo(str(error), err=True)
            raise typer.Exit(OUT_OF_BUDGET) from None
        except QueuedError as error:
            return typer.echo(str(error))
        _report(out, made)


@app.command()
def report(folder: Annotated[Path, typer.Argument(help="Folder that build wrote.")]) -> None:
    """Write corpus_report.md and corpus_report.html anew from the folder's files."""
    with needing("the report", "evaluate"):
        from ..corpus import write_report

        write_report(folder)
    typer.echo(f"{folder / 'corpus_report.md'} and {folder / 'corpus_report.html'} are written")


def _kept(out: Path) -> str:
    from ..corpus import CorpusFolder

    count = CorpusFolder(out).finished("simulation")
    return f"{count} APIs are finished, and every answer is kept in {out}; the same command goes on"


def _report(out: Path, made: dict[str, Any]) -> None:
    apis, aside, instances, kept = (made.get(name, 0) for name in ("apis", "set_aside", "instances", "kept"))
    typer.echo(f"{out}: {kept} of {instances} instances kept, {apis} API{'s' * (apis != 1)}, {aside} set aside")
    for gate, count in sorted(made["gates"].items(), key=lambda pair: -pair[1]):
        typer.echo(f"{count:>6} not kept for the gate {gate}")
    try:
        report(out)
    except ToolAlpacaError as error:  # the corpus is there
        typer.echo(str(error), err=True)
    typer.echo(f"{script('toolalpaca.py')} --source {quote(str(out))} --out DATASET makes a dataset of it")
