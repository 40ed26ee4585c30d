"""`toolalpaca corpus`: from a list of public APIs to a dataset."""

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from . import options

app = typer.Typer(help="Make a corpus: from a list of public APIs to a dataset.", no_args_is_help=True)


@app.command("apis")
def apis(
    source: Annotated[str, typer.Argument(help="List of public APIs, JSON or public-apis' README: a file or a URL.")],
    out: Annotated[Path, typer.Option(help="Where to write what is kept.")],
    category: Annotated[list[str] | None, typer.Option(help="Only of this category; may be repeated.")] = None,
    https: Annotated[bool, typer.Option("--https", help="Only those with HTTPS.")] = False,
    auth: Annotated[list[str] | None, typer.Option(help="Only none, apiKey or OAuth; may be repeated.")] = None,
    exclude: Annotated[
        list[Path] | None, typer.Option(help="More names kept for evaluation: lines, or APIs in JSON.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first so many of what is left.")] = None,
    allow_private: options.AllowPrivate = None,
) -> None:
    """Choose APIs of a list; those of the published evaluation sets are never kept."""
    from ..corpus.entries import Wanted, choose, load_entries, reserved_names, write_entries

    reserved = reserved_names() + tuple(pair for file in exclude or () for pair in reserved_names(file))
    wanted = Wanted(tuple(category or ()), https, tuple(auth or ()), reserved, limit)
    entries = load_entries(source, allow_private or ())
    chosen = choose(entries, wanted)
    write_entries(chosen, out)
    for name, count in Counter(entry.category for entry in chosen.kept).most_common():
        typer.echo(f"{count:>6} {_shown(name) or 'without a category'}")
    for reason, names in chosen.left_out.items():
        shown = ", ".join(_shown(name) for name in names[:5]) + (", ..." if len(names) > 5 else "")
        typer.echo(f"{len(names):>6} left out, each {reason}: {shown}")
    typer.echo(f"{out}: {len(chosen.kept)} of {len(entries)} APIs kept")


def _shown(name: str) -> str:
    """A name out of a list that anybody may have written, without what a terminal would obey."""
    return "".join(letter if letter.isprintable() else " " for letter in name)
