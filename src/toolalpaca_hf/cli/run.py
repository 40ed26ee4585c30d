"""`toolalpaca run`: let a model solve instructions."""

import json
from pathlib import Path
from typing import Annotated

import typer

from . import options
from .rollouts import backend_and_arguments


def run(
    apis: Annotated[str, typer.Option(help="APIs and instructions in the raw layout, JSON; or sample.")],
    out: Annotated[Path, typer.Option(help="Folder to write; a run that is there goes on.")],
    model: options.Model,
    endpoint: options.Endpoint = None,
    style: options.Style = "react",
    prompt: options.PromptName = "react",
    prompt_dir: options.PromptDir = None,
    tool_hints: options.ToolHints = None,
    simulator: options.Simulator = "embedded",
    responder: options.Responder = "schema",
    store: options.Store = None,
    real: options.Real = False,
    credentials: options.CredentialsFile = None,
    allow_private: options.AllowPrivate = None,
    instruction: Annotated[
        list[str] | None, typer.Option(help="Ask this; --apis is then the URL or file of an OpenAPI document.")
    ] = None,
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
    max_unread: options.MaxUnread = None,
    temperature: options.Temperature = 0.0,
    dtype: options.Dtype = "auto",
    seed: options.Seed = 0,
) -> None:
    """Let a model solve instructions, against the simulator or the real web."""
    backend, arguments = backend_and_arguments(locals())
    from ..agent import run as run_rollouts

    note = run_rollouts(apis, backend, out, instructions=instruction or (), **arguments)
    if instruction:
        for one in json.loads((out / "trajectories.json").read_text(encoding="utf-8"))[0]["Instances"]:
            typer.echo(f"{one['input']}\n  {one['output'] or one['ended']}")
    ended = ", ".join(f"{count} {reason}" for reason, count in note["ended"].items())
    typer.echo(f"{out}: {note['rollouts']} rollouts ({ended}), {note['steps']} steps, {note['tokens']} tokens")
