"""`toolalpaca toolformer evaluate`: checkpoints on the tasks of Toolformer's paper."""

from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import ToolAlpacaError

ASKED, CALLS = "How it is asked", "Calls"


def evaluate(
    model: Annotated[list[str], typer.Option(help="Folder, Hub id or smollm2; several give a curve over model size.")],
    task: Annotated[
        list[str],
        typer.Option(
            help="svamp, asdiv, mawps, gsm8k, lama-squad, lama-google-re, lama-trex, webqs, nq, triviaqa, mlqa-es (de, hi, "
            "vi, zh, ar), templama, dateset, perplexity."
        ),
    ],
    data: Annotated[
        list[str] | None,
        typer.Option(help="File of the task's questions, TASK=FILE where there are several; the Hub otherwise."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder to write; outputs/toolformer-TASK-MODEL by default.")
    ] = None,
    tools: Annotated[
        str, typer.Option(help="What it may call: calculator,calendar; none otherwise.", rich_help_panel=CALLS)
    ] = "",
    k: Annotated[
        int, typer.Option(min=1, help="A call begins among the so many likeliest tokens.", rich_help_panel=CALLS)
    ] = 10,
    markers: Annotated[
        str, typer.Option(help="Start, end and arrow, as the model was trained.", rich_help_panel=CALLS)
    ] = "[ ] ->",
    solutions: Annotated[
        bool,
        typer.Option("--solutions", help="Maths: a worked solution, and its last number.", rich_help_panel=ASKED),
    ] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first so many.", rich_help_panel=ASKED)] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Questions at once.", rich_help_panel=ASKED)] = 16,
    max_length: Annotated[int, typer.Option(min=2, help="Tokens of a window.", rich_help_panel=ASKED)] = 1024,
    device: Annotated[str | None, typer.Option(help="A GPU where there is one.", rich_help_panel=ASKED)] = None,
) -> None:
    """Measure checkpoints with calls and without; killed, it goes on where it stopped."""
    try:
        from ..toolformer.evaluate import Settings
        from ..toolformer.evaluate import evaluate as measure
        from ..toolformer.markers import Markers
        from ..toolformer.tools import tools_named

        parts = markers.split()
        if len(parts) != 3:
            raise ToolAlpacaError(f"--markers is {markers!r}; pass start, end and arrow with a space between them")
        settings = Settings(Markers(*parts), k, solutions, limit, batch_size, max_length, device)
        at_hand = tools_named(tools) if tools else {}
        folder = out or Path("outputs") / "-".join(["toolformer", *task, *(Path(one).name for one in model)])
        _print(measure(model, _data(task, data or []), folder, at_hand, settings), folder)
    except ModuleNotFoundError as error:
        raise ToolAlpacaError(
            f"evaluating needs {error.name}; run `pip install 'toolalpaca-hf[toolformer,evaluate]'`"
        ) from None


def _data(tasks: list[str], data: list[str]) -> dict[str, str | None]:
    files: dict[str, str | None] = dict.fromkeys(tasks)
    if len(tasks) == 1 and len(data) == 1 and not data[0].startswith(f"{tasks[0]}="):
        return {tasks[0]: data[0]}
    for one in data:
        name, _, file = one.partition("=")
        if not file or name not in files:
            raise ToolAlpacaError(f"--data {one}: with several tasks, pass TASK=FILE with a task that --task names")
        files[name] = file
    return files


def _print(metrics: dict[str, Any], out: Path) -> None:
    for one in metrics["results"]:
        typer.echo(f"{one['title']}, {one['model']}")
        if "perplexity" in one:
            found = one["perplexity"]
            typer.echo(f"  {'perplexity':<24}{found['value']:>8.2f}  ({found['low']:.2f} to {found['high']:.2f})")
            continue
        for name in ("without_calls", "with_calls", "call_rate", "useful", "harmful"):
            rate = one.get(name)
            if rate and rate["value"] is not None:
                told = f"({rate['low']:.1%} to {rate['high']:.1%}, n = {rate['n']})"
                typer.echo(f"  {name.replace('_', ' '):<24}{rate['value']:>8.1%}  {told}")
        if one["errors"]:
            typer.echo(f"  {one['errors']} answers failed and count as wrong")
    for note in metrics["notes"]:
        typer.echo(f"- {note}")
    typer.echo(f"{out / 'report.md'} has the rest")
