"""Rows from where a user has them: a file of JSON lines or of one JSON list, or a dataset on the Hub."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import ToolAlpacaError


def read_lines(file: str | Path) -> Iterator[Any]:
    """The rows of a file of JSON lines, or of one JSON list; a line that is not JSON is `None`.

    Args:
        file (`str` or `Path`): `.jsonl`, or `.json` with a list in it. Which of the two it is, its first character says.

    Raises:
        [`ToolAlpacaError`]: The file can not be read, or holds a JSON list that is not whole.

    Example:

    ```python
    >>> list(read_lines("texts.jsonl"))  # doctest: +SKIP
    [{'text': 'One line.'}, None]
    ```
    """
    path = Path(file)
    try:
        with path.open(encoding="utf-8-sig", errors="replace") as lines:
            first = lines.read(1)
            lines.seek(0)
            if first == "[":
                yield from json.load(lines)
                return
            for line in lines:
                if line.strip():
                    yield _parsed(line)
    except OSError as error:
        raise ToolAlpacaError(f"{path} can not be read ({error.strerror or error}); pass a readable file") from None
    except (ValueError, RecursionError) as error:
        raise ToolAlpacaError(f"{path} is not whole JSON ({error}); get the file again") from None


def hub_rows(repo: str, config: str | None, split: str, mend: str) -> Iterator[Any]:
    """The rows of a dataset on the Hub.

    Args:
        repo, config, split (`str`): As `load_dataset` takes them.
        mend (`str`): What to do where it can not be had, for the error.

    Raises:
        [`ToolAlpacaError`]: The Hub can not be reached, or has no such dataset.

    Example:

    ```python
    >>> next(hub_rows("openai/gsm8k", "main", "train", "pass a file"))["question"]  # doctest: +SKIP
    ```
    """
    from datasets import load_dataset

    try:
        rows = load_dataset(repo, config, split=split)
    # The Hub's client, a proxy and a cut connection each raise what they like; for the user it is one thing.
    except Exception as error:
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ToolAlpacaError(f"{repo} can not be had from the Hub ({said}); {mend}") from None
    yield from rows


def _parsed(line: str) -> Any:
    try:
        value = json.loads(line)
        if "\\ud" in line.lower():  # half a surrogate pair can be spelt here and be written nowhere
            json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return None
    return value
