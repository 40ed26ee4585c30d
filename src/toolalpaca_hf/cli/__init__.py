"""`toolalpaca`: one subcommand a room. Rooms are imported inside the commands, so that help comes at once."""

import os
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from .. import __version__
from ..errors import run_main
from . import apis, corpus, publish, toolformer
from .doctor import doctor
from .evaluate import compare, evaluate, lint, screen
from .options import option
from .run import create, explore, run, simulate
from .templates import check_template, show

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


def _without_types(params: list[Any]) -> list[Any]:
    """Help shows no type beside a flag, which takes no value."""
    for param in params:
        if getattr(param, "is_flag", False):
            param.metavar = ""
    return params


class _Command(TyperCommand):
    def get_params(self, ctx: Any) -> list[Any]:
        return _without_types(super().get_params(ctx))


class _Group(TyperGroup):
    def get_params(self, ctx: Any) -> list[Any]:
        return _without_types(super().get_params(ctx))


def _use_classes(inside: typer.Typer) -> None:
    inside.info.cls = _Group
    for command in inside.registered_commands:
        command.cls = _Command
    for group in inside.registered_groups:
        group.cls = _Group
        if group.typer_instance is not None:
            _use_classes(group.typer_instance)


_use_classes(app)


def main() -> None:
    """The command line; ends with its exit status."""
    if not sys.stderr.isatty():  # bars are for people; the libraries read these when they are imported
        for name in ("TQDM_DISABLE", "HF_HUB_DISABLE_PROGRESS_BARS", "HF_DATASETS_DISABLE_PROGRESS_BARS"):
            os.environ.setdefault(name, "1")
    run_main(app)
