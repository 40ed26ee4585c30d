"""Caches in SQLite files that grow by a row, which survives a kill."""

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from .files import StorageError

_DAMAGED = (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_ERROR)  # the last: its columns are others
_FIXES: dict[int, str] = dict.fromkeys(_DAMAGED, "it is damaged or something else: move it away")
_FIXES |= dict.fromkeys((sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR), "free space; what it holds is kept")
_HELD = "another program holds it: end that, and run the same command again"
_FIXES |= dict.fromkeys((sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED), _HELD)


class SqliteCache:
    """Tables in a file. A row is in the file before [`insert`] returns, and survives a kill of the process.

    Args:
        tables, probe (`str`): SQL that makes absent tables, and a query that fails where the file has other columns.
        shared_disk (`bool`, *optional*, defaults to `False`): Whether several machines write to it: SQLite's
            write-ahead log needs one machine's memory, so a slower journal is used.
        option (`str`, *optional*): The option that names the file, for errors.

    Raises:
        [`StorageError`]: Here and in every method: the file is locked, damaged, or cannot be read or written.

    Example:

    ```python
    >>> tables = "CREATE TABLE IF NOT EXISTS t (k TEXT PRIMARY KEY, v TEXT)"
    >>> cache = SqliteCache("x.sqlite", tables, "SELECT k, v FROM t")
    >>> cache.insert("t", ("tides", "high"))
    >>> cache.fetch("SELECT v FROM t WHERE k = ?", "tides")
    [('high',)]
    ```
    """

    def __init__(
        self,
        path: str | Path,
        tables: str,
        probe: str,
        *,
        shared_disk: bool = False,
        wait: float = 60.0,
        option: str | None = None,
    ) -> None:
        self.path, self.option = Path(path), option
        self._lock = threading.Lock()
        with self._errors(), ExitStack() as failed:
            self._db = sqlite3.connect(self.path, timeout=wait, check_same_thread=False, isolation_level=None)
            failed.callback(self._db.close)
            # A crash of the machine may cost the last rows, never the file; a crash of the program costs none.
            self._db.execute(f"PRAGMA journal_mode={'TRUNCATE' if shared_disk else 'WAL'}")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.executescript(tables)
            self._db.execute(f"{probe} LIMIT 1").fetchall()
            failed.pop_all()

    def fetch(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        with self._lock, self._errors():
            return self._db.execute(query, values).fetchall()

    def insert(self, table: str, row: Sequence[Any], replace: bool = False) -> None:
        """Add a row, in its own transaction. Without `replace`, one of its key that is there stays."""
        verb = "REPLACE" if replace else "IGNORE"
        with self._lock, self._errors():
            self._db.execute(f"INSERT OR {verb} INTO {table} VALUES ({', '.join('?' * len(row))})", row)

    def close(self) -> None:
        with self._lock:
            self._db.close()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", None)  # extended: the primary code is its last byte
            fix = _FIXES.get(code & 0xFF if code is not None else -1, "name a file that can be written")
            raise StorageError(f"cannot be used ({error})", file=self.path, option=self.option, fix=fix) from None
