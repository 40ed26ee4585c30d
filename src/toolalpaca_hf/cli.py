"""`toolalpaca`: one subcommand a room. Rooms are imported inside the commands, so that help comes at once."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from .errors import ToolAlpacaError

MODEL, CALLS, LIMITS = "Model", "What calls lead to", "Limits"

app = typer.Typer(
    name="toolalpaca",
    help="Tools for tool-using language models.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
apis = typer.Typer(help="Look at APIs in the raw layout.", no_args_is_help=True)
app.add_typer(apis, name="apis")


@app.callback()
def _root() -> None:
    """Tools for tool-using language models."""


@apis.command("docs")
def docs(
    file: Annotated[Path, typer.Argument(help="APIs in the raw layout, JSON.")],
    out: Annotated[Path, typer.Option(help="Where to write them.")],
) -> None:
    """Make the three documentation fields of each API anew from its `Documentation`."""
    from .openapi import describe_raw

    raw = _read_apis(file)
    try:
        described = [describe_raw(api) for api in raw]
    except ToolAlpacaError as error:
        raise ToolAlpacaError(f"{file}: {error}") from None
    scratch = out.with_name(f".{out.name}.part")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        scratch.write_text(json.dumps(described, ensure_ascii=False, indent=4) + "\n", encoding="utf-8")
        scratch.replace(out)
    except OSError as error:
        scratch.unlink(missing_ok=True)
        raise ToolAlpacaError(f"{out} can not be written ({error.strerror}); pass another --out") from None
    functions = sum(len(api["Function_Projection"]) for api in described)
    typer.echo(f"{out}: {len(described)} APIs, {functions} functions")


@apis.command("show")
def show(file: Annotated[Path, typer.Argument(help="APIs in the raw layout, JSON.")]) -> None:
    """Show the functions of each API, their parameters, and where its document is not valid OpenAPI."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Column, Table

    from .openapi import functions_of, load_document, tool_schema, violations

    console = Console()
    for api in _read_apis(file):
        name = str(api.get("Name") or "an API without a name")
        try:
            document = load_document(api.get("Documentation") or "")
        except ToolAlpacaError as error:
            raise ToolAlpacaError(f"{file}: the Documentation of {name}: {error}") from None
        projection = api.get("Function_Projection")
        # A name that is cut short is no name: narrow terminals get more lines.
        columns = [Column("Function", no_wrap=True), Column("Method and path", overflow="fold")]
        table = Table(*columns, "Parameters (* required)", title=escape(name), title_justify="left")
        for operation in functions_of(document, projection if isinstance(projection, dict) else None):
            schema = tool_schema(operation)["function"]["parameters"]
            parameters = [
                f"{parameter}{'*' if parameter in schema.get('required', []) else ''}: {_kind(words)}"
                for parameter, words in schema["properties"].items()
            ]
            place = f"{operation.method} {operation.path}{'' if operation.found else ' (not in the document)'}"
            table.add_row(escape(operation.name), escape(place), escape(", ".join(parameters)))
        console.print(table)
        found = violations(document)
        for sentence in found:
            console.print(escape(f"- {sentence}"), highlight=False)
        count = f"{len(found)} violation{'s' if len(found) > 1 else ''} of OpenAPI"
        console.print(count if found else "valid OpenAPI", highlight=False)
        console.print()


@app.command()
def simulate(
    apis: Annotated[str, typer.Option(help="APIs in the raw layout, JSON.")],
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to serve on.")] = 5678,
    host: Annotated[str, typer.Option(help="Address to serve on.")] = "127.0.0.1",
    responder: Annotated[Literal["schema", "llm", "replay"], typer.Option(help="What answers.")] = "schema",
    store: Annotated[str | None, typer.Option(help="SQLite file that answers are kept in.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the schema responder.")] = 0,
) -> None:
    """Serve simulated APIs over HTTP."""
    try:
        from .simulator import serve
    except ModuleNotFoundError as error:
        raise ToolAlpacaError(f"simulating needs {error.name}; run `pip install 'toolalpaca-hf[simulator]'`") from None

    serve(apis=apis, host=host, port=port, responder=responder, store=store, seed=seed)


@app.command()
def run(
    apis: Annotated[str, typer.Option(help="APIs and instructions in the raw layout, JSON; or sample.")],
    out: Annotated[Path, typer.Option(help="Folder to write; a run that is there goes on.")],
    model: Annotated[str, typer.Option(help="Folder, Hub id or smollm2; with --endpoint, the model's name there.")],
    endpoint: Annotated[
        str | None, typer.Option(help="OpenAI-compatible server, http://127.0.0.1:8000/v1.", rich_help_panel=MODEL)
    ] = None,
    style: Annotated[
        Literal["react", "chat"], typer.Option(help="Actions as text, or native tool calls.", rich_help_panel=MODEL)
    ] = "react",
    prompt: Annotated[
        Literal["react", "upstream"], typer.Option(help="upstream for ToolAlpaca-7B and -13B.", rich_help_panel=MODEL)
    ] = "react",
    prompt_dir: Annotated[
        Path | None, typer.Option(help="Folder with upstream's agent/ files.", rich_help_panel=MODEL)
    ] = None,
    simulator: Annotated[
        str, typer.Option(help="embedded, or the URL of a simulator.", rich_help_panel=CALLS)
    ] = "embedded",
    responder: Annotated[
        Literal["schema", "llm", "replay"], typer.Option(help="Of the embedded one.", rich_help_panel=CALLS)
    ] = "schema",
    store: Annotated[
        str | None, typer.Option(help="SQLite file of the embedded one's answers.", rich_help_panel=CALLS)
    ] = None,
    real: Annotated[
        bool, typer.Option("--real", help="Call the documents' own servers.", rich_help_panel=CALLS)
    ] = False,
    credentials: Annotated[
        Path | None, typer.Option(help="With --real: file of NAME=VALUE lines.", rich_help_panel=CALLS)
    ] = None,
    allow_private: Annotated[
        list[str] | None, typer.Option(help="HOST:PORT that may have a private address.", rich_help_panel=CALLS)
    ] = None,
    instruction: Annotated[
        list[str] | None, typer.Option(help="Ask this; --apis is then the URL or file of an OpenAPI document.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first so many instructions.")] = None,
    tool: Annotated[
        list[str] | None, typer.Option(help="Show a built-in tool: datetime, retrieval.", rich_help_panel=CALLS)
    ] = None,
    user_endpoint: Annotated[
        str | None, typer.Option(help="Server of a model that answers getDetails.", rich_help_panel=CALLS)
    ] = None,
    user_model: Annotated[str | None, typer.Option(help="Its name there.", rich_help_panel=CALLS)] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Rollouts at once, local model.", rich_help_panel=MODEL)] = 32,
    concurrency: Annotated[int, typer.Option(min=1, help="Rollouts at once, endpoint.", rich_help_panel=MODEL)] = 8,
    max_steps: Annotated[int, typer.Option(min=1, help="Actions of one rollout.", rich_help_panel=LIMITS)] = 10,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Tokens of one turn.", rich_help_panel=LIMITS)] = 256,
    max_tokens: Annotated[int, typer.Option(min=1, help="Tokens of one rollout.", rich_help_panel=LIMITS)] = 2048,
    max_seconds: Annotated[
        float, typer.Option(min=0.0, help="Wall time of one rollout.", rich_help_panel=LIMITS)
    ] = 600.0,
    temperature: Annotated[float, typer.Option(min=0.0, help="0 is greedy.", rich_help_panel=MODEL)] = 0.0,
    seed: Annotated[int, typer.Option(help="Of sampling, and of the embedded simulator.", rich_help_panel=MODEL)] = 0,
) -> None:
    """Let a model solve instructions, against the simulator or the real web."""
    try:
        from .agent import ModelUser, RolloutLimits, ScriptedUser
        from .agent import run as run_rollouts
        from .data import make_prompt

        layout = make_prompt(prompt, prompt_dir)
        if bool(user_endpoint) != bool(user_model):
            raise ToolAlpacaError("a model that plays the user needs both --user-endpoint and --user-model")
        user = ModelUser(user_endpoint, user_model) if user_endpoint and user_model else ScriptedUser()
        if endpoint:
            from .agent.endpoint import EndpointBackend

            backend = EndpointBackend(endpoint, model, style, concurrency, temperature=temperature, seed=seed)
        else:
            from .agent.local import load_backend

            backend = load_backend(model, style, batch_size=batch_size, temperature=temperature, seed=seed)
    except ModuleNotFoundError as error:
        extra = "agent" if endpoint else "train,agent"
        raise ToolAlpacaError(f"running needs {error.name}; run `pip install 'toolalpaca-hf[{extra}]'`") from None
    note = run_rollouts(
        apis,
        backend,
        out,
        simulator=simulator,
        responder=responder,
        store=store,
        seed=seed,
        real=real,
        credentials=credentials,
        private=allow_private or (),
        instructions=instruction or (),
        limit=limit,
        limits=RolloutLimits(max_steps, max_new_tokens, max_tokens, max_seconds),
        prompt=layout,
        tools=tool or (),
        user=user,
    )
    if instruction:
        for one in json.loads((out / "trajectories.json").read_text(encoding="utf-8"))[0]["Instances"]:
            typer.echo(f"{one['input']}\n  {one['output'] or one['ended']}")
    ended = ", ".join(f"{count} {reason}" for reason, count in note["ended"].items())
    typer.echo(f"{out}: {note['rollouts']} rollouts ({ended}), {note['steps']} steps, {note['tokens']} tokens")


def _kind(schema: dict[str, Any]) -> str:
    kind = schema.get("type", "any")
    return " or ".join(kind) if isinstance(kind, list) else str(kind)


def _read_apis(file: Path) -> list[dict[str, Any]]:
    try:
        found = json.loads(file.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise ToolAlpacaError(f"{file} can not be read ({error.strerror}); pass a file in the raw layout") from None
    except (ValueError, RecursionError) as error:
        reason = f"{error.msg} in line {error.lineno}" if isinstance(error, json.JSONDecodeError) else "not UTF-8 text"
        raise ToolAlpacaError(f"{file} is not JSON ({reason}); pass a file in the raw layout") from None
    if not isinstance(found, list) or not found or not all(isinstance(api, dict) for api in found):
        raise ToolAlpacaError(f"{file} is not a list of APIs; pass a file in the raw layout, such as train_data.json")
    return found


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


if __name__ == "__main__":
    main()
