"""Files of an evaluation's folder, each whole or not there."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..agent.json_lines import write_whole
from ..errors import ToolAlpacaError


@contextmanager
def writing(folder: Path) -> Iterator[Path]:
    """The folder, made where there is none; a disk that can not be written is one sentence.

    Raises:
        [`ToolAlpacaError`]: It can not be written.

    Example:

    ```python
    >>> with writing(Path("runs/eval")) as folder:  # doctest: +SKIP
    ...     write_json(folder / "metrics.json", {})
    ```
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
    except OSError as error:
        raise ToolAlpacaError(
            f"{folder} can not be written ({error.strerror or error}); make room, mend its permissions, or pass another --out"
        ) from None


def write_json(path: Path, value: Any) -> None:
    """Write a value as JSON, in place of what was there only when it is whole.

    Example:

    ```python
    >>> write_json(Path("metrics.json"), {"n": 40})  # doctest: +SKIP
    ```
    """
    write_whole(path, json.dumps(value, ensure_ascii=False, indent=1) + "\n")
