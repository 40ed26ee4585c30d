"""`toolalpaca check-template` and `toolalpaca show`: what of a conversation is trained."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from .options import option

if TYPE_CHECKING:
    from ..training import Proof

Html = Annotated[Path | None, option("Write the tokens as a page, too.")]


def check_template(
    model: Annotated[str, typer.Argument(help="A checkpoint or tokenizer: a folder, a Hub id, or smollm2.")],
    config: Annotated[Path | None, option("A recipe: look at what it trains, sft or chat.")] = None,
    conversations: Annotated[int, option("How many random conversations to try.", min=1)] = 64,
    html: Html = None,
) -> None:
    """Prove that what is trained with a template is what is generated, or show where not; status 2 if not."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from ..formats import react_prompt
    from ..report import terminal_tokens, token_page
    from ..storage import atomic_write, read_yaml
    from ..training import CHECKS, Proof, prove_template, ways_of

    tokenizer, generation = _load_tokenizer(model)
    trained = (read_yaml(config, "pass one of recipes/*/*.yaml").get("dataset_config") or "sft") if config else ""
    ways, closed = ways_of(tokenizer, react_prompt(), generation, str(trained))
    proofs = [prove_template(way, conversations) for way in ways]
    proofs += [Proof(name, 0, notes=[why]) for name, why in closed.items()]
    console = Console()
    table = Table("", *(escape(proof.way) for proof in proofs), title=escape(model), title_justify="left")
    for check, words in CHECKS.items():
        table.add_row(words, *(_verdict(proof, check) for proof in proofs))
    table.add_row("random conversations", *(str(proof.conversations) for proof in proofs))
    console.print(table)
    sections = []
    for proof in proofs:
        for note in (*proof.notes, *(f"{CHECKS[check]}: {why}" for check, why in proof.left_out.items())):
            console.print(f"- {escape(proof.way)}: {escape(note)}", highlight=False)
        for example in proof.failures.values():
            heading = f"{proof.way}: not so that {CHECKS[example.check]}"
            console.print(f"\n[bold]{escape(heading)}[/bold]\n{escape(example.problem)}", highlight=False)
            console.print(terminal_tokens(example.tokens))
            sections.append((f"{heading}. {example.problem}", example.tokens))
    if html is not None:
        atomic_write(html, token_page(f"Templates of {model}", sections))
        typer.echo(f"{html}: {len(sections)} counterexamples")
    # Served with a template that was not trained is the user's choice; it is shown, and no failure of the training.
    failed = any(set(proof.failures) - {"calls"} for proof in proofs if "," not in proof.way)
    if failed or not any(proof.conversations for proof in proofs):
        raise typer.Exit(2)


def show(
    dataset: Annotated[str, typer.Argument(help="A folder that a script wrote, a Hub id, or sample.")],
    row: Annotated[int, option("Its number.")] = 0,
    tokenizer: Annotated[str, option("A folder, a Hub id, or smollm2.")] = "smollm2",
    config: Annotated[Literal["sft", "chat"], option("Segments, or messages and tools.")] = "sft",
    split: Annotated[str, option("The split.")] = "train",
    html: Html = None,
) -> None:
    """Show a row's tokens, coloured by whether they are trained."""
    from rich.console import Console

    from ..report import terminal_tokens, token_page
    from ..storage import atomic_write
    from ..training import masked_row

    name, tokens = masked_row(dataset, row, _load_tokenizer(tokenizer)[0], config, split)
    Console().print(terminal_tokens(tokens))
    trained = sum(flag for _, flag in tokens)
    summary = f"{name}: {len(tokens):,} tokens, {trained:,} of them trained"
    typer.echo(summary)
    if html is not None:
        atomic_write(html, token_page(f"{dataset}, {config}, row {row}", [(summary, tokens)]))
        typer.echo(str(html))


def _load_tokenizer(model: str) -> tuple[Any, Any]:
    from transformers import GenerationConfig

    from ..checkpoints import load_tokenizer, resolve_model

    path = resolve_model(model)
    tokenizer = load_tokenizer(path, "pass a folder with one, a Hub id or smollm2")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.unk_token or tokenizer.eos_token
    try:
        return tokenizer, GenerationConfig.from_pretrained(path)
    except OSError:
        return tokenizer, None


def _verdict(proof: "Proof", check: str) -> str:
    if not proof.conversations or check in proof.left_out:
        return "[dim]–[/dim]"
    return "[red]fails[/red]" if check in proof.failures else "[green]holds[/green]"
