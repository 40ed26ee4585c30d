"""What a judge has answered, on disk as it comes: a rerun asks nothing again."""

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ..agent.json_lines import append_rows
from ..errors import ToolAlpacaError

LINES = "verdicts.jsonl"


class JudgeFolder:
    """The answers of a judge, one line each in `verdicts.jsonl`, found again by a key.

    A run that is killed loses only what was under way. A line that can not be read is asked for again.

    Args:
        path (`str` or `Path`): The folder; made where there is none.

    Raises:
        [`ToolAlpacaError`]: On opening and writing: it is in use, or can not be written.

    Example:

    ```python
    >>> with JudgeFolder("runs/x").opened() as folder:  # doctest: +SKIP
    ...     folder.add("5a1f", {"text": "## Results"})
    ```
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._rows: dict[str, dict[str, Any]] = {}
        self._writes = threading.Lock()

    @contextmanager
    def opened(self) -> Iterator["JudgeFolder"]:
        """Read what is there, and keep others out while the `with` block lasts."""
        with self._writing():
            self.path.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.path / ".judge.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise ToolAlpacaError(f"another judge writes to {self.path}; wait for it, or pass another --out") from None
        try:
            with self._writing():
                self._read()
                self._file = (self.path / LINES).open("ab", buffering=0)
            with self._file:
                yield self
        finally:
            lock.release()

    def get(self, key: str) -> dict[str, Any] | None:
        """The answer that was kept under a key, or `None`."""
        return self._rows.get(key)

    def add(self, key: str, row: Mapping[str, Any]) -> None:
        """Keep an answer, on disk before this returns. May be called by several threads at once.

        Args:
            key (`str`): What it is found by.
            row (`Mapping`): The answer, with its `text`.
        """
        with self._writes, self._writing():
            append_rows(self._file, [{"key": key, **row}])
            self._rows[key] = dict(row)

    def _read(self) -> None:
        path = self.path / LINES
        if not path.exists():
            return
        content = path.read_bytes()
        whole = content.rfind(b"\n") + 1
        for line in content[:whole].splitlines():
            try:
                row = json.loads(line)
                if isinstance(row["text"], str):
                    self._rows[row["key"]] = row
            except (ValueError, KeyError, TypeError, RecursionError):
                continue
        if whole < len(content):  # cut off by a kill or a full disk
            with path.open("r+b") as file:
                file.truncate(whole)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise ToolAlpacaError(
                f"{self.path} can not be written ({error.strerror or error}); what was judged is kept: make room, or "
                "mend its permissions, and run the same command again"
            ) from None
