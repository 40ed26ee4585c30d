"""The report: one self-contained page to read in a browser, the same in Markdown, and results for a model card."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..attempt import Attempt
from .html import report_html
from .markdown import report_markdown
from .model_index import model_index

__all__ = ["model_index", "report_html", "report_markdown", "write_report"]


def write_report(
    folder: Path, metrics: dict[str, Any], records: Sequence[dict[str, Any]], attempts: Sequence[Attempt]
) -> None:
    """Write `report.html`, `report.md` and `model_index.json`.

    Args:
        folder (`Path`):
            Where they go; made where it does not exist.
        metrics (`dict`):
            What `metrics.json` holds.
        records (`Sequence[dict]`):
            What `instructions.json` holds, one an instruction.
        attempts (`Sequence[Attempt]`):
            What the records were computed from; a record whose attempt is not among them is shown without trajectory.

    Raises:
        ToolAlpacaError: jinja2 is not installed.
        OSError: A file can not be written.

    Example:

    ```python
    >>> write_report(Path("runs/eval"), metrics, records, attempts)  # doctest: +SKIP
    ```
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = {
        "report.html": report_html(metrics, records, attempts),
        "report.md": report_markdown(metrics, records),
        "model_index.json": json.dumps(model_index(metrics), indent=2, ensure_ascii=False) + "\n",
    }
    for name, text in files.items():
        # A model's name may hold half a surrogate pair, which JSON can spell and no file can hold.
        (folder / name).write_text(text, encoding="utf-8", errors="replace", newline="\n")
