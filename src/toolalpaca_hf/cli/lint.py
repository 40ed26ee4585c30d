"""`toolalpaca lint`: what is wrong with a benchmark's golden calls."""

from pathlib import Path
from typing import Annotated

import typer


def lint(
    suite: Annotated[str, typer.Argument(help="sample, simulated, real, bfcl, or a file with golden answers.")],
    out: Annotated[Path | None, typer.Option(help="Write lint.md and lint.json there.")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Folder searched for a suite's file first.")] = None,
    categories: Annotated[str | None, typer.Option(help="Of bfcl: simple_python,multiple; all by default.")] = None,
) -> None:
    """Check golden calls by their documents, the simulator and their instructions; nothing is changed."""
    from ..evaluation import KINDS, lint_counts, lint_summary, read_suite, write_lint
    from ..evaluation import lint as run_lint

    read = read_suite(f"{suite}:{categories}" if categories else suite, data_dir)
    findings = run_lint(read)
    typer.echo(lint_summary(read, findings))
    for kind, (count, instructions) in lint_counts(findings).items():
        severity, meaning = KINDS[kind]
        typer.echo(f"{severity:<6} {kind:<32}{count:>5} in {instructions} instructions: {meaning}")
    for finding in [finding for finding in findings if finding.flags][:20]:
        typer.echo(f"- {finding.id}: {finding.kind}: {finding.evidence}")
    if out:
        write_lint(out, read, findings)
        typer.echo(f"{out / 'lint.md'} has the rest")
