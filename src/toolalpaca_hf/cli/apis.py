"""`toolalpaca apis`: look at APIs in the raw layout, or at OpenAPI documents."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import InputError
from .options import Json, option, say_json

LAID_OUT = 200  # functions in a table; more are a line each, which takes a hundredth of the time

app = typer.Typer(help="Look at APIs in the raw layout or at OpenAPI documents.", no_args_is_help=True)


@app.command()
def docs(
    file: Annotated[Path, typer.Argument(help="APIs in the raw layout, JSON; or an OpenAPI document.")],
    out: Annotated[Path, option("Where to write them.")],
) -> None:
    """Make the three documentation fields of each API anew from its `Documentation`."""
    from ..openapi import describe_raw
    from ..storage import write_json

    raw = _read_apis(file)
    try:
        described = [describe_raw(api) for api in raw]
    except InputError as error:
        raise InputError(error.problem, file=file, fix=error.fix) from None
    for api in described:
        if isinstance(document := api.get("Documentation"), dict):  # as text, as every reader takes it
            api["Documentation"] = json.dumps(document, ensure_ascii=False)
    write_json(out, described, indent=4)
    typer.echo(f"{out}: {len(described)} APIs, {sum(len(api['Function_Projection']) for api in described)} functions")


@app.command()
def show(
    file: Annotated[Path, typer.Argument(help="APIs in the raw layout, JSON; or an OpenAPI document.")],
    as_json: Json = False,
) -> None:
    """Show the functions of each API, their parameters, and where its document is not valid OpenAPI."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Column, Table

    from ..openapi import Document, Operations, arguments_of, gc_paused, is_large, load_document, original, violations

    console, listed = Console(), list[dict[str, Any]]()

    def say(text: str) -> None:
        console.print(escape(text), highlight=False)

    with gc_paused():
        for api in _read_apis(file):
            name, source = str(api.get("Name") or "an API without a name"), api.get("Documentation") or ""
            try:
                document = load_document(source)
            except InputError as error:
                raise InputError(f"the Documentation of {name}: {error.problem}", file=file, fix=error.fix) from None
            projection = api.get("Function_Projection")
            operations = Operations(document, projection if projection and isinstance(projection, dict) else None)
            found = violations(source if isinstance(source, Document) else original(source))
            if as_json:
                functions = [
                    {"name": op.name, "method": op.method, "path": op.path, "parameters": arguments_of(op)}
                    for op in operations.values()
                ]
                listed.append({"name": name, "functions": functions, "violations": found})
                continue
            rows = [
                (
                    op.name,
                    f"{op.method} {op.path}{'' if op.found else ' (not in the document)'}",
                    ", ".join(f"{name}{'*' if required else ''}: {kind}" for name, required, kind in arguments_of(op)),
                )
                for op in operations.values()
            ]
            if len(rows) > LAID_OUT:
                say(name)
                for function, place, parameters in rows:
                    typer.echo(f"{function}: {place} ({parameters})")
            else:
                # A name that is cut short is no name: narrow terminals get more lines.
                table = Table(
                    Column("Function", overflow="fold", min_width=12, max_width=max(12, console.width // 2)),
                    Column("Method and path", overflow="fold", min_width=12),
                    Column("Parameters (* required)", overflow="fold", min_width=16),
                    title=escape(name),
                    title_justify="left",
                )
                for row in rows:
                    table.add_row(*map(escape, row))
                console.print(table)
            notes = [*(document.get("x-not-converted") or []), *(document.get("x-not-followed") or []), *found]
            for sentence in notes:
                say(f"- {sentence}")
            verdict = f"{len(found)} violation{'s' if len(found) > 1 else ''} of OpenAPI" if found else "valid OpenAPI"
            say(f"{verdict}, by its schema only: the document is large" if is_large(document) else verdict)
            console.print()
    if as_json:
        say_json(listed)


def _read_apis(file: Path) -> list[dict[str, Any]]:
    from ..data import read_json
    from ..openapi import document_in

    if (api := document_in(file, described=False)) is not None:
        # With what the readers of the raw layout ask for, so that it can be served.
        raw = {"Name": api.name, "Description": api.description, "Category": "", "Link": api.link}
        return [raw | {"Documentation": api.documentation, "Instances": []}]
    found = read_json(file)
    if not isinstance(found, list) or not found or not all(isinstance(api, dict) for api in found):
        raise InputError("not a list of APIs", file=file, fix="pass a file in the raw layout, such as train_data.json")
    return found
