"""`toolalpaca explore`: a page to look at datasets, runs and models."""

import os
from typing import Annotated, Literal

import typer

from ..errors import OptionError, needing


def explore(
    targets: Annotated[
        list[str] | None, typer.Argument(help="Folders of datasets, runs, evaluations, models or create.")
    ] = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Where it is served.")] = 7860,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 lets other machines in.")] = "127.0.0.1",
    apis: Annotated[str, typer.Option(help="What the playground's models call: a document, or sample.")] = "sample",
    endpoint: Annotated[str | None, typer.Option(help="OpenAI-compatible server: a model of the playground.")] = None,
    model: Annotated[str | None, typer.Option(help="The model's name there.")] = None,
    style: Annotated[Literal["react", "chat"], typer.Option(help="Of that model: text, or tool calls.")] = "react",
) -> None:
    """Look at training rows, trajectories and verdicts in a browser, and ask a model yourself."""
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    if bool(endpoint) != bool(model):
        raise OptionError("a served model needs both", option="--endpoint and --model")
    if not targets and not endpoint:
        raise OptionError("nothing to look at", fix="name a folder, or a model with --endpoint and --model")
    with needing("exploring", "explore"):
        from ..agent import RolloutConfig
        from ..create import check_documents
        from ..explore import build_app, find_targets, launch
    found = find_targets(targets or ())
    served = RolloutConfig(model, endpoint=endpoint, style=style) if model else None
    asked = served is not None or any(target.kind == "model" for target in found)
    app = build_app(found, check_documents([apis]).apis if asked else (), served)
    typer.echo(f"http://{host}:{port} shows {len(found)} folders; Ctrl-C ends it", err=True)
    launch(app, port, host)
