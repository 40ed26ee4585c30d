"""`toolalpaca run`, `create`, `simulate` and `explore`: a model at work, made, with something to call, looked at."""

import json
import os
import shlex
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from ..agent import RolloutConfig
from ..create import CreateConfig, check_documents
from ..errors import NotFoundError, OptionError, needing
from ..storage import interruptible, output_folder
from .options import Json, Overwrite, check_models, option, say_json, with_options

RUN_FILES = ("rollouts.jsonl", "trajectories.parquet", "trajectories.json", "run.json", "part-*/run.json")
RUN_FILES += ("part-*/rollouts.jsonl", "part-*/trajectories.*", "part-*/files")
CREATE_FILES = "create.json stages.json corpus data dataset before model after metrics.json report.html".split()


@with_options("config", RolloutConfig)
def run(
    config: RolloutConfig,
    out: Annotated[Path, option("Folder to write; a run that is there goes on.")],
    apis: Annotated[str, option("APIs and instructions, JSON such as eval_simulated.json; or sample.")] = "",
    mcp: Annotated[str | None, option("In place of --apis: command or URL of an MCP server.")] = None,
    instruction: Annotated[list[str] | None, option("Ask this; --apis is then an OpenAPI document.")] = None,
    as_json: Json = False,
    overwrite: Overwrite = False,
) -> None:
    """Let a model solve instructions, against the simulator or the real web."""
    from ..agent import ended_words, kept_rollouts, make_backend
    from ..agent import run as run_rollouts

    if bool(apis) == bool(mcp):
        raise OptionError("pass one of --apis and --mcp")
    if mcp and not instruction:
        raise OptionError("is missing", option="--instruction", fix="say what to ask with these tools")
    server: AbstractContextManager[Any] = nullcontext()
    if mcp:
        with needing("using an MCP server", "agent,mcp"):
            from ..agent import McpTools
        server = McpTools(mcp, min(60.0, config.max_seconds))
    written = output_folder(out, "a run", RUN_FILES, overwrite)
    with interruptible(lambda: kept_rollouts(out)), written, server as tools:
        note = run_rollouts(apis, make_backend(config), out, config, instructions=instruction or (), mcp=tools)
    if as_json:
        return say_json(note)
    apis_made = json.loads((out / "trajectories.json").read_text(encoding="utf-8"))
    if instruction:
        for made in apis_made[0]["Instances"]:
            words = made["output"] or f"(no answer: {ended_words(made.get('ended', 'not run'))})"
            typer.echo(f"{made['input']}\n  {words}")
    ended = ", ".join(f"{count} {ended_words(reason)}" for reason, count in note["ended"].items())
    rollouts, steps = (f"{note[what]} {what if note[what] != 1 else what[:-1]}" for what in ("rollouts", "steps"))
    typer.echo(f"{out}: {rollouts} ({ended}), {steps}, {note['tokens']} tokens")
    if note["left_out"]:
        typer.echo(note["left_out"])
    if any(api.get("Golden_Answers") for api in apis_made):
        words = [f"{out}", "--suite" if apis == "sample" else "--apis", apis, "--out", f"{out}-scored"]
        typer.echo(f"Next: toolalpaca evaluate --trajectories {shlex.join(words)}")


@with_options("config", CreateConfig)
def create(
    config: CreateConfig,
    dry_run: Annotated[bool, option("Say what would happen and how long, and end.", None, "--dry-run")] = False,
    as_json: Json = False,
    overwrite: Overwrite = False,
) -> None:
    """Make a small model that calls your API: documents, corpus, training, evaluation, report."""
    out = Path(config.out)
    for document in config.documents:  # before anything is loaded, which takes longer than the answer
        if "://" not in document and document != "sample" and not os.path.exists(document):
            raise NotFoundError("no such file or folder", file=document, fix="pass OpenAPI documents, or their folder")
    check_models(config.base)
    written = nullcontext() if dry_run else output_folder(out, "a model", CREATE_FILES, overwrite)
    with written, needing("creating", "quickstart,corpus"):
        from .. import create as room

        if dry_run:
            checked = check_documents(config.documents)
            sentences = [*room.plan(config, checked, room.seconds_a_pass(config.base)), *checked.notes]
            return say_json(sentences) if as_json else typer.echo("\n".join(sentences))
        with interruptible(lambda: f"finished stages are kept in {out}; the same command goes on"):
            metrics = room.create(config, partial(typer.echo, err=True))
    if as_json:
        return say_json(metrics)
    minutes = sum(metrics["seconds"].values()) / 60
    typer.echo(f"{metrics['n']} held-out instructions\n\n{room.before_after(metrics)}")
    typer.echo(f"\n{minutes:.1f} minutes. {out}/model is the checkpoint with its card, {out}/report.html the report.")
    typer.echo("Use it:\n  " + "\n  ".join(room.usage_lines(config)))
    document = config.example_document
    words = ["--model", f"{out}/model", "--constrained", "--out", f"{out}/asked"]
    words += ["--apis", document or f"{out}/data/held_out.json"]
    typer.echo(f"Next: toolalpaca run {shlex.join(words)}" + ' --instruction "..."' * (document is not None))


def simulate(
    apis: Annotated[str, option("APIs in the raw layout, JSON; or an OpenAPI document.")],
    port: Annotated[int, option("Port to serve on.", min=0, max=65535)] = 5678,
    host: Annotated[str, option("Address to serve on.")] = "127.0.0.1",
    responder: Annotated[Literal["schema", "llm", "replay"], option("What answers.")] = "schema",
    store: Annotated[str | None, option("SQLite file that answers are kept in.")] = None,
    seed: Annotated[int, option("Seed of the schema responder.")] = 0,
    faults: Annotated[str | None, option("Fail on purpose: a rate such as 0.2, or a file.")] = None,
    mcp: Annotated[bool, option("Serve tools over MCP, on stdio.", None, "--mcp")] = False,
    mcp_http: Annotated[bool, option("Serve tools over MCP, as streamable HTTP.", None, "--mcp-http")] = False,
) -> None:
    """Serve simulated APIs over HTTP, or their functions as tools over MCP."""
    with needing("simulating", "simulator"):
        from ..simulator import SimulateConfig, serve

    if mcp and mcp_http:
        raise OptionError("pass one of --mcp and --mcp-http")
    config = SimulateConfig(apis, host, port, responder, store, seed, faults)
    if not (mcp or mcp_http):
        return serve(config, typer.echo)
    with needing("serving tools over MCP", "simulator,mcp"):
        from ..environments import serve_mcp

        serve_mcp(config, http=mcp_http, announce=typer.echo)


def explore(
    targets: Annotated[list[str] | None, typer.Argument(help="Datasets, runs, evaluations, models.")] = None,
    port: Annotated[int, option("Where it is served.", min=1, max=65535)] = 7860,
    host: Annotated[str, option("Address to listen on; 0.0.0.0 lets other machines in.")] = "127.0.0.1",
    apis: Annotated[str, option("What the playground's models call: a document, or sample.")] = "sample",
    endpoint: Annotated[str | None, option("OpenAI-compatible server: its model is in the playground, too.")] = None,
    model: Annotated[str | None, option("The model's name there.")] = None,
    style: Annotated[Literal["react", "chat"], option("Of that model: actions as text, or native calls.")] = "react",
) -> None:
    """Look at training rows, trajectories and verdicts in a browser, and ask a model yourself."""
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    if bool(endpoint) != bool(model):
        raise OptionError("a served model needs both", option="--endpoint and --model")
    if not targets and not endpoint:
        raise OptionError("nothing to look at", fix="name a folder, or a model with --endpoint and --model")
    with needing("exploring", "explore"):
        from ..explore import find_targets

        found = find_targets(targets or ())
        from ..explore import build_app, launch
    served = RolloutConfig(model, endpoint, style) if model else None
    models = served is not None or any(target.kind == "model" for target in found)
    app = build_app(found, check_documents([apis]).apis if models else (), served)
    typer.echo(f"http://{host}:{port} shows {len(found)} folders; Ctrl-C ends it", err=True)
    launch(app, port, host)
