"""The processed layout, `[[texts], [flags]]` a row: maps one to one onto `sft` rows."""

from pathlib import Path
from typing import Any

from ..errors import ToolAlpacaError
from .raw import Unusable, read_json


def read_processed(path: Path) -> list[Any]:
    """Read a file in the processed layout, without looking into its rows yet.

    Args:
        path (`Path`): The file.

    Returns:
        `list`: Its rows.

    Raises:
        ToolAlpacaError: It is missing, not JSON, or has another layout.
    """
    rows = read_json(path)
    if not isinstance(rows, list) or not any(isinstance(row, list) and len(row) == 2 for row in rows):
        raise ToolAlpacaError(
            f"{path} is not in the processed layout, a list of [[texts], [flags]]; pass raw files with --train"
        )
    return rows


def processed_row(raw: Any, row_id: str) -> dict[str, Any]:
    """One row of the processed layout as a row of the `sft` config.

    Args:
        raw: `[[texts], [flags]]`, credentials taken out.
        row_id (`str`): Its id, `processed/FILE-STEM/INDEX`.

    Returns:
        `dict`: `id`, `api` (`None`, for the layout names none) and `segments`.

    Raises:
        Unusable: Texts and flags do not pair up.

    Example:

    ```python
    >>> processed_row([["USER: hi", " hello"], [False, True]], "processed/mine/0")["segments"][1]
    {'text': ' hello', 'trainable': True}
    ```
    """
    if not (isinstance(raw, list) and len(raw) == 2 and all(isinstance(half, list) for half in raw)):
        raise Unusable("is not [[texts], [flags]]")
    texts, flags = raw
    if len(texts) != len(flags) or not texts:
        raise Unusable(f"has {len(texts)} texts and {len(flags)} flags")
    if not all(isinstance(text, str) for text in texts) or not all(flag in (0, 1) for flag in flags):
        raise Unusable("has a text that is not a string or a flag that is not true or false")
    segments = [{"text": text, "trainable": bool(flag)} for text, flag in zip(texts, flags, strict=True)]
    return {"id": row_id, "api": None, "segments": segments}
