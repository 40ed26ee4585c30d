"""Results of tools in an SQLite file, so that a call is made once."""

import sqlite3
import threading
from dataclasses import dataclass
from pathlib import Path

from ...errors import ToolAlpacaError
from .base import Tool

LARGEST = 20_000
"""Characters of a result that are kept."""


@dataclass(frozen=True)
class Kept:
    """A result that was kept; `None` says that there is none."""

    result: str | None


class ResultCache:
    """Results by [`Tool.key`] and input. May be used by several threads and processes at once.

    Args:
        path (`str` or `Path`): The file; it is made where it does not exist.

    Raises:
        [`ToolAlpacaError`]: The file can not be used.

    Example:

    ```python
    >>> from toolalpaca_hf.toolformer.tools import Calculator
    >>> cache = ResultCache("results.sqlite")
    >>> cache.put(Calculator(), "2 + 2", "4")
    >>> cache.get(Calculator(), "2 + 2")
    Kept(result='4')
    ```
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._lock = threading.Lock()
        try:
            self._db = sqlite3.connect(self.path, timeout=30.0, check_same_thread=False, isolation_level=None)
            # What a crash may cost is the last results, never the file.
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.execute(
                "CREATE TABLE IF NOT EXISTS results (tool TEXT, input TEXT, result TEXT, PRIMARY KEY (tool, input))"
            )
        except sqlite3.Error as error:
            raise self._failure(error) from None

    def get(self, tool: Tool, text: str) -> Kept | None:
        """The result that is kept of a call, if there is one."""
        if tool.key is None:
            return None
        try:
            with self._lock:
                row = self._db.execute(
                    "SELECT result FROM results WHERE tool = ? AND input = ?", (tool.key, _utf8(text))
                ).fetchone()
        except sqlite3.Error as error:
            raise self._failure(error) from None
        return None if row is None else Kept(row[0])

    def put(self, tool: Tool, text: str, result: str | None) -> None:
        """Keep a result; nothing is kept of a tool without a key."""
        if tool.key is None:
            return
        row = (tool.key, _utf8(text), None if result is None else _utf8(result[:LARGEST]))
        try:
            with self._lock:
                self._db.execute("INSERT OR REPLACE INTO results VALUES (?, ?, ?)", row)
        except sqlite3.Error as error:
            raise self._failure(error) from None

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    def _failure(self, error: sqlite3.Error) -> ToolAlpacaError:
        return ToolAlpacaError(
            f"the cache of results {self.path} can not be used ({error}); name a file that can be written, or move a "
            "damaged one away"
        )


def _utf8(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")  # half a surrogate pair has no UTF-8
