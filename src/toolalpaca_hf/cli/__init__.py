"""`toolalpaca`: one subcommand a room. Rooms are imported inside the commands, so that help comes at once."""

import sys
from typing import Annotated

import typer

from .. import __version__
from ..errors import ToolAlpacaError
from ..out_folder import Interrupted, OtherSettings
from . import apis, corpus, publish, toolformer, toolformer_evaluate
from .evaluate import compare, evaluate
from .run import run
from .simulate import simulate

app = typer.Typer(
    name="toolalpaca",
    help="Tools for tool-using language models.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(apis.app, name="apis")
toolformer.app.command()(toolformer_evaluate.evaluate)
app.add_typer(toolformer.app, name="toolformer")
app.add_typer(corpus.app, name="corpus")
app.add_typer(publish.app, name="publish")
app.command()(publish.fetch)
app.command()(simulate)
app.command()(run)
app.command()(evaluate)
app.command()(compare)


def _say_version(asked: bool) -> None:
    if asked:
        typer.echo(f"toolalpaca-hf {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Say the version, and end.")
    ] = False,
) -> None:
    """Tools for tool-using language models."""


def main() -> None:
    """The command line; a failure the user can fix is one sentence and exit status 2.

    Raises:
        `SystemExit`: With the status.
    """
    try:
        app()
    except OtherSettings as error:
        print(error, file=sys.stderr)  # a line for each setting
        sys.exit(2)
    except ToolAlpacaError as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        sys.exit(130 if isinstance(error, Interrupted) else 2)
