"""`toolalpaca`: one subcommand a room. Rooms are imported inside the commands, so that help comes at once."""

import os
import sys
from typing import Annotated, Any

import typer
from typer.main import get_command

from .. import __version__
from ..errors import run_main
from . import apis, corpus, publish, toolformer
from .doctor import check_template, doctor, show
from .evaluate import compare, evaluate, lint, screen
from .options import option
from .run import create, explore, run, simulate

HELP = "Tools for tool-using language models."

app = typer.Typer(name="toolalpaca", help=HELP, no_args_is_help=True, pretty_exceptions_enable=False)
for room in (apis, toolformer, corpus, publish):
    app.add_typer(room.app, name=room.__name__.rpartition(".")[2])
for command in (publish.fetch, simulate, run, evaluate, compare, create, doctor, explore, lint, screen):
    app.command()(command)
app.command()(check_template)
app.command()(show)


def _say_version(asked: bool) -> None:
    if asked:
        typer.echo(f"toolalpaca-hf {__version__}")
        raise typer.Exit


@app.callback(help=HELP)
def _root(
    version: Annotated[
        bool, option("Say the version, and end.", None, "--version", callback=_say_version, is_eager=True)
    ] = False,
) -> None: ...


def build() -> Any:
    """The whole command, whose help shows no type beside a flag, which takes no value."""
    commands: list[Any] = [get_command(app)]
    for command in commands:
        for param in command.get_params(command.context_class(command)):
            if getattr(param, "is_flag", False):
                param.metavar = ""
        commands += getattr(command, "commands", {}).values()
    return commands[0]


def main() -> None:
    """The command line; ends with its exit status."""
    if not sys.stderr.isatty():  # bars are for people; the libraries read these when they are imported
        for name in ("TQDM_DISABLE", "HF_HUB_DISABLE_PROGRESS_BARS", "HF_DATASETS_DISABLE_PROGRESS_BARS"):
            os.environ.setdefault(name, "1")
    run_main(build())
