"""A file of JSON lines that grows by a row at a time: on disk at once, whole after a kill, written by one run only."""

import json
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from ..errors import InputError
from .files import disk_errors, file_lock


class JsonlLog:
    """Rows of JSON by a key, in a file that grows with each; the last row of a key counts.

    On entering, other runs are kept out and the end of a line that a kill cut off is removed.

    Args:
        path (`str` or `Path`): The file; its folder is made where there is none.
        key (`str`, *optional*, defaults to `"id"`): The field that rows are found by; `None` only counts them.
        skip_damaged (`bool`, *optional*, defaults to `False`): Pass over whole lines that cannot be read.
        limit (`int`, *optional*): Remove what is behind so many lines.

    Attributes:
        rows (`dict[str, dict]`): By key, those of earlier runs included.
        count (`int`): Lines that were there on entering.

    Raises:
        [`FileInUseError`], [`InputError`]: On entering: another run writes to it, or a whole line is not JSON with the
            key; `row` is its number.
        [`StorageError`]: It cannot be written.

    Example:

    ```python
    >>> with JsonlLog("rollouts.jsonl") as log:
    ...     log.append({"id": "eval_real/tides/0", "ended": "answered"})
    ...     sorted(log.rows)
    ['eval_real/tides/0']
    ```
    """

    def __init__(
        self, path: str | Path, key: str | None = "id", *, skip_damaged: bool = False, limit: int | None = None
    ) -> None:
        self.path, self.key, self.skip_damaged, self.limit = Path(path), key, skip_damaged, limit
        self.rows: dict[str, dict[str, Any]] = {}
        self.count = 0
        self._writing = threading.Lock()

    def __enter__(self) -> "JsonlLog":
        with ExitStack() as stack:
            with disk_errors(self.path):
                self.path.parent.mkdir(parents=True, exist_ok=True)
            # Before anything is cut off: the end of a line may be on its way.
            stack.enter_context(file_lock(self.path.with_name(f".{self.path.name}.lock"), self.path))
            with disk_errors(self.path):
                self._read()
                # Without a buffer: one that could not be written would be tried again on closing.
                self._file = stack.enter_context(self.path.open("ab", buffering=0))
            self._held = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()

    def append(self, *rows: Mapping[str, Any]) -> None:
        """Add rows, on disk before this returns; where they cannot be written, none of them is kept.

        May be called by several threads. What has no UTF-8 (half a surrogate pair) is replaced.
        """
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        rest = memoryview(text.encode("utf-8", "replace"))
        with self._writing, disk_errors(self.path):
            before = os.fstat(self._file.fileno()).st_size
            try:
                while rest:
                    rest = rest[self._file.write(rest) :]
                os.fsync(self._file.fileno())
            except OSError:
                with suppress(OSError):
                    self._file.truncate(before)
                raise
            if self.key:
                self.rows.update((row[self.key], dict(row)) for row in rows)

    def _read(self) -> None:
        if not self.path.exists():
            return
        self.rows, self.count, whole = {}, 0, 0
        with self.path.open("rb") as file:
            for line in file:
                if not line.endswith(b"\n") or self.count == self.limit:
                    break
                self.count, whole = self.count + 1, whole + len(line)
                try:
                    if self.key:
                        row = json.loads(line)
                        self.rows[row[self.key]] = row
                except (ValueError, KeyError, TypeError, RecursionError):
                    if not self.skip_damaged:
                        problem, fix = (
                            f"is not JSON with the field {self.key!r}",
                            "remove the line, and it is made again",
                        )
                        raise InputError(problem, file=self.path, row=self.count, fix=fix) from None
        if whole < self.path.stat().st_size:
            os.truncate(self.path, whole)


def intact_rows(path: str | Path) -> Iterator[dict[str, Any]]:
    """Rows of a file of JSON lines that another run may be writing: what is no whole object is passed over, as is a
    file that is not there."""
    with suppress(FileNotFoundError), Path(path).open("rb") as file:
        for line in file:
            with suppress(ValueError, RecursionError):
                if isinstance(row := json.loads(line), dict):
                    yield row
