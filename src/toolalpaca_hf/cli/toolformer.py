"""`toolalpaca toolformer`: text with calls, and models that make them."""

import typer

from .annotate import annotate

app = typer.Typer(help="Toolformer: annotate texts, generate with calls, evaluate.", no_args_is_help=True)
app.command()(annotate)


@app.callback()
def _root() -> None:
    """Toolformer: annotate texts, generate with calls, evaluate."""
