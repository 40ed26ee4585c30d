"""`toolalpaca toolformer`: plain text to text with calls, texts continued with calls, and checkpoints measured."""

import json
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from shlex import quote
from typing import Annotated, Any, Literal

import typer

from ..errors import OptionError, needing
from ..storage import interruptible, output_folder
from .options import MODEL, TOOLS, Dtype, Overwrite, Precision, ToolOptions, check_models, option, script, with_options

TEXTS, THRESHOLDS, WHERE, ASKED = "Texts", "Sampling and filtering", "Where it runs", "How it is asked"
ANNOTATION_FILES = ("config.json annotated-*.jsonl candidates-*.jsonl report.json report.md report.html logs").split()
ANNOTATION_FILES += ["logs/launch_script.slurm"]  # while the tasks wait
COLOURS = {"call": typer.colors.CYAN, "result": typer.colors.GREEN}

app = typer.Typer(help="Texts with calls of tools.", no_args_is_help=True)

CacheFile = Annotated[Path | None, option("SQLite file that results are kept in.", TOOLS)]
Marker = Annotated[tuple[str, str, str], option("What begins a call, ends it, and stands before its result.")]


@app.command()
@with_options("tools", ToolOptions, tools="calculator", timeout=10.0)
def annotate(
    input: Annotated[str, option("JSON lines (.gz, .zst), Parquet, a folder, or a Hub dataset, NAME:CONFIG.")],
    out: Annotated[Path, option("Folder to write; what is there already is not made again.")],
    tools: ToolOptions,
    model: Annotated[str, option("Folder, Hub id or smollm2; with --endpoint, of its tokenizer.")] = "smollm2",
    split: Annotated[str, option("Of a Hub dataset.", TEXTS)] = "train",
    text_field: Annotated[str | None, option("Where a row's text is.", TEXTS)] = None,
    limit: Annotated[int | None, option("Only so many texts, the first of each task.", TEXTS, min=1)] = None,
    preselect: Annotated[bool, option("Only texts that the paper's heuristics pick.", TEXTS, "--preselect")] = False,
    max_tokens: Annotated[int, option("Longer texts stay unannotated.", TEXTS, min=1)] = 1024,
    tau_s: Annotated[float | None, option("Of all tools; the paper's where not given.", THRESHOLDS)] = None,
    k: Annotated[int | None, option("Positions of a text.", THRESHOLDS)] = None,
    m: Annotated[int | None, option("Calls at a position.", THRESHOLDS)] = None,
    tau_f: Annotated[float | None, option("By how much a call has to lower the loss.", THRESHOLDS)] = None,
    temperature: Annotated[float, option("Of sampling.", THRESHOLDS, min=0.01)] = 1.0,
    seed: Annotated[int, option("Of sampling.", THRESHOLDS)] = 0,
    candidates: Annotated[bool, option("Keep every candidate with its losses.", THRESHOLDS, "--candidates")] = False,
    marker: Marker = ("[", "]", "->"),
    dtype: Annotated[Precision, option("Not auto by default: losses are compared closely.", WHERE)] = "float32",
    endpoint: Annotated[str | None, option("Server that returns log-probabilities of a prompt.", WHERE)] = None,
    served_model: Annotated[str | None, option("The model's name there, if another.", WHERE)] = None,
    executor: Annotated[Literal["local", "ray", "slurm"], typer.Option(rich_help_panel=WHERE)] = "local",
    tasks: Annotated[int, option("Shards of the texts.", WHERE, min=1)] = 1,
    workers: Annotated[int | None, option("Tasks at once, each with its model; all of them.", WHERE, min=1)] = None,
    slurm: Annotated[list[str] | None, option("NAME=VALUE of datatrove's executor on Slurm or Ray.", WHERE)] = None,
    overwrite: Overwrite = False,
) -> None:
    """Sample calls of tools in texts, execute them, and keep those that help the model go on."""
    check_models(model)
    thresholds = {"tau_s": tau_s, "k": k, "m": m, "tau_f": tau_f}
    more: dict[str, Any] = {"split": split, "text_field": text_field, "limit": limit, "candidates": candidates}
    more |= {"endpoint": endpoint, "served_model": served_model, "dtype": dtype, "context": tools.context}
    more |= {"executor": executor, "tasks": tasks, "workers": workers, "slurm": _named_values(slurm or [])}
    more |= {"thresholds": {name: value for name, value in thresholds.items() if value is not None}}
    with output_folder(out, "an annotation", ANNOTATION_FILES, overwrite), needing("annotating", "toolformer"):
        from ..toolformer import AnnotationConfig, AnnotationSettings, Markers
        from ..toolformer import annotate as run

        names = tuple(name.strip() for name in tools.tools.split(",") if name.strip())
        sampling: dict[str, Any] = {"temperature": temperature, "max_tokens": max_tokens, "seed": seed}
        settings = AnnotationSettings(**sampling, all_losses=candidates, preselect=preselect, timeout=tools.timeout)
        config = AnnotationConfig(input, str(out), model, names, settings, Markers(*marker), api=tools.source, **more)
        with interruptible(lambda: _kept(out)):
            report = run(config)
    if not report:
        return typer.echo(f"submitted; the texts appear in {out}")
    _say(out / "report.md")
    typer.echo(f"{out / 'report.html'} has the rest")
    build = f"{script('toolformer.py')} --source {quote(str(out))} --out build/toolformer"
    typer.echo(f"Next: {build} makes a dataset of it")


def _say(report: Path) -> None:
    from rich.console import Console
    from rich.markdown import Markdown

    console, text = Console(), report.read_text(encoding="utf-8")
    # Cells of a narrow table are cut short, and 80 columns are what a file or another program has.
    console.print(Markdown(text)) if console.is_terminal else typer.echo(text)
    typer.echo(f"{report} holds this")


def _kept(out: Path) -> str:
    count = sum(path.read_bytes().count(b"\n") for path in out.glob("annotated-*.jsonl"))
    return f"{count} texts are finished and kept in {out}; the same command goes on"


def _named_values(pairs: list[str]) -> dict[str, Any] | None:
    found: dict[str, Any] = {}
    for name, equals, value in (pair.partition("=") for pair in pairs):
        if not equals:
            raise OptionError(f"{name!r} is not NAME=VALUE", option="--slurm")
        found[name] = value
        with suppress(ValueError):  # a number, a boolean, a dictionary; else text
            found[name] = json.loads({"True": "true", "False": "false", "None": "null"}.get(value, value))
    return found or None


@app.command()
@with_options("tools", ToolOptions, tools="calculator,calendar")
def generate(
    prompts: Annotated[list[str], typer.Argument(help="What to go on from.")],
    model: Annotated[str, option("Folder, Hub id or smollm2.", MODEL)],
    tools: ToolOptions,
    cache: CacheFile = None,
    k: Annotated[int, option("A call begins where its marker is in the top k; 1 is greedy.", min=1)] = 10,
    max_calls: Annotated[int, option("Calls of one text.", min=0)] = 1,
    max_new_tokens: Annotated[int, option("Tokens of one text, calls not counted.", min=1)] = 128,
    call_tokens: Annotated[int, option("Tokens of one call.", min=1)] = 64,
    no_calls: Annotated[bool, option("Never begin a call.", None, "--no-calls")] = False,
    as_json: Annotated[bool, option("One JSON object a text.", None, "--json")] = False,
    marker: Marker = ("[", "]", "->"),
    batch_size: Annotated[int, option("Texts at once.", MODEL, min=1)] = 8,
    dtype: Dtype = "auto",
) -> None:
    """Let a model continue texts; calls are made as it writes them, and shown in colour."""
    check_models(model)
    with needing("generating", "toolformer"):
        from ..checkpoints import resolve_model
        from ..inference import load_model
        from ..toolformer import Event, Markers, ResultCache
        from ..toolformer import generate as write

        def show(event: Event) -> None:
            typer.secho(event.text, fg=COLOURS.get(event.kind), nl=False)

        # Texts that are written together would be shown in pieces of each other.
        live = len(prompts) == 1 and not as_json
        kept = "what was written is above; texts that were not finished begin anew"
        with interruptible(lambda: kept), tools.opened() as at_hand:
            loaded = load_model(resolve_model(model), dtype=dtype)
            if live:
                typer.echo(prompts[0], nl=False)
            how: dict[str, Any] = {"k": k, "max_calls": 0 if no_calls else max_calls, "max_new_tokens": max_new_tokens}
            how |= {"call_tokens": call_tokens, "batch_size": batch_size, "timeout": tools.timeout}
            how |= {"cache": ResultCache(cache) if cache else None, "on_event": show if live else None}
            written = write(*loaded, prompts, at_hand, markers=Markers(*marker), **how)
    for prompt, text in zip(prompts, written, strict=True):
        if as_json:
            typer.echo(json.dumps({"prompt": prompt, **asdict(text)}, ensure_ascii=False))
        elif live:
            typer.echo()
        else:
            _show(prompt, text)
        for error in (*(f"{call.tool or 'a call'}: {call.error}" for call in text.calls if call.error), text.error):
            if error:
                typer.echo(error, err=True)


def _show(prompt: str, written: Any) -> None:
    typer.echo(prompt, nl=False)
    at = 0
    for call in written.calls:
        typer.echo(written.text[at : call.start], nl=False)
        typer.secho(written.text[call.start : call.end], fg=COLOURS["call"], nl=False)
        at = call.end
    typer.echo(written.text[at:])


@app.command()
@with_options("tools", ToolOptions)
def evaluate(
    model: Annotated[list[str], option("Folder, Hub id or smollm2; several give a curve over model size.")],
    task: Annotated[
        list[str], option("svamp, gsm8k, lama-squad, nq, mlqa-es, perplexity, ...; an unknown one lists them all.")
    ],
    tools: ToolOptions,
    data: Annotated[list[str] | None, option("File of questions, TASK=FILE with several; else the Hub.")] = None,
    out: Annotated[Path | None, option("Folder to write; outputs/toolformer-TASK-MODEL by default.")] = None,
    cache: CacheFile = None,
    k: Annotated[int, option("A call begins where its marker is in the top k.", ASKED, min=1)] = 10,
    marker: Marker = ("[", "]", "->"),
    solutions: Annotated[bool, option("Maths: a worked solution, and its last number.", ASKED, "--solutions")] = False,
    limit: Annotated[int | None, option("Only the first so many.", ASKED, min=1)] = None,
    batch_size: Annotated[int, option("Questions at once.", ASKED, min=1)] = 16,
    max_length: Annotated[int, option("Tokens of a window.", ASKED, min=2)] = 1024,
    dtype: Dtype = "auto",
    overwrite: Overwrite = False,
) -> None:
    """Measure checkpoints with calls and without; killed, it goes on where it stopped."""
    check_models(*model)
    folder = out or Path("outputs") / "-".join(["toolformer", *task, *(Path(name).name for name in model)])
    with needing("evaluating", "toolformer,evaluate"):
        from ..toolformer import Markers, ToolformerEvaluationConfig
        from ..toolformer import evaluate as run

        how: dict[str, Any] = {"k": k, "solutions": solutions, "limit": limit, "batch_size": batch_size}
        how |= {"max_length": max_length, "dtype": dtype, "cache": cache, "timeout": tools.timeout}
        config = ToolformerEvaluationConfig(model, _data(task, data or []), folder, Markers(*marker), **how)
        # After it is known that there are such tasks: their names are folders'.
        own = ["metrics.json", "models.json", "report.md", "curve.svg"]
        own += [f"{name}/*/{kind}.*" for name in task for kind in ("calls", "without", "texts")]
        kept = f"every answer so far is kept in {folder}; the same command goes on"
        written = output_folder(folder, "an evaluation", own, overwrite)
        with written, interruptible(lambda: kept), tools.opened() as at_hand:
            run(config, at_hand)
    _say(folder / "report.md")
    more = f"toolalpaca toolformer generate --model {quote(model[0])} --tools calculator TEXT"
    typer.echo(f"Next: {more} shows calls as they are made")


def _data(tasks: list[str], data: list[str]) -> dict[str, str | Path | None]:
    files: dict[str, str | Path | None] = dict.fromkeys(tasks)
    if len(tasks) == 1 and len(data) == 1 and not data[0].startswith(f"{tasks[0]}="):
        return {tasks[0]: data[0]}
    for pair in data:
        name, _, file = pair.partition("=")
        if not file or name not in files:
            raise OptionError(f"{pair} names no task", option="--data", fix="pass TASK=FILE with one of --task")
        files[name] = file
    return files
