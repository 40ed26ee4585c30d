"""`toolalpaca`: one subcommand a room. Rooms are imported inside the commands, so that help comes at once."""

import sys

import typer

from ..errors import ToolAlpacaError
from . import apis, toolformer
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
app.add_typer(toolformer.app, name="toolformer")
app.command()(simulate)
app.command()(run)
app.command()(evaluate)
app.command()(compare)


@app.callback()
def _root() -> None:
    """Tools for tool-using language models."""


def main() -> None:
    """The command line; a failure the user can mend is one sentence and exit status 2.

    Raises:
        `SystemExit`: With the status.
    """
    try:
        app()
    except ToolAlpacaError as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        sys.exit(2)
