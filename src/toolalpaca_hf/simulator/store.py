"""Recorded answers in an SQLite file, so that an evaluation can be repeated byte for byte."""

import sqlite3
import threading
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from ..errors import ToolAlpacaError
from .answers import Answer, Call

TABLE = """
CREATE TABLE IF NOT EXISTS answers (
    key TEXT PRIMARY KEY,
    api TEXT NOT NULL,
    document TEXT NOT NULL,
    request TEXT NOT NULL,
    history TEXT NOT NULL,
    responder TEXT NOT NULL,
    status INTEGER NOT NULL,
    media TEXT NOT NULL,
    body BLOB NOT NULL,
    fallback TEXT NOT NULL,
    history_after TEXT NOT NULL
)
"""
WAIT_SECONDS = 5.0


@dataclass(frozen=True)
class Recorded:
    """An answer as it was recorded, and what the session's digest was after it."""

    answer: Answer
    history_after: str


class Store:
    """Answers by API, document, request, session history and responder. Safe to use from several threads.

    Args:
        path (`str` or `Path`): The file; it is made where it does not exist.
        create (`bool`, *optional*, defaults to `True`): Whether it may be made.

    Raises:
        [`ToolAlpacaError`]: The file can not be opened, is no SQLite database, or is locked.
    """

    def __init__(self, path: str | Path, create: bool = True) -> None:
        self.path = Path(path)
        self._lock = threading.Lock()
        if not create and not self.path.is_file():
            raise ToolAlpacaError(
                f"{self.path} does not exist, so there is nothing to replay; record with --responder schema or llm first"
            )
        try:
            self._db = sqlite3.connect(self.path, timeout=WAIT_SECONDS, check_same_thread=False, isolation_level=None)
        except sqlite3.Error as error:
            raise self._failure(error) from None
        try:
            # Readers do not wait for a writer; what a crash may cost is the last answers, never the file.
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.execute(TABLE)
            self._db.execute("SELECT key, history_after FROM answers LIMIT 1").fetchall()
        except sqlite3.Error as error:
            self._db.close()
            raise self._failure(error) from None

    def get(self, call: Call, responder: str) -> Recorded | None:
        """The recorded answer to a call, or `None`.

        Raises:
            [`ToolAlpacaError`]: The file can not be read.
        """
        query = "SELECT status, body, media, fallback, history_after FROM answers WHERE key = ?"
        try:
            with self._lock:
                row = self._db.execute(query, (_key(call, call.session.digest, responder),)).fetchone()
        except sqlite3.Error as error:
            raise self._failure(error) from None
        return None if row is None else Recorded(Answer(*row[:4]), row[4])

    def put(self, call: Call, history: str, responder: str, answer: Answer) -> None:
        """Record an answer; one that is there already stays.

        Args:
            call ([`Call`]): What was asked; its session has gone through the answer already.
            history (`str`): The session's digest before it.
            responder (`str`): Who answered.
            answer ([`Answer`]): What was answered.

        Raises:
            [`ToolAlpacaError`]: The file can not be written: no space, locked, damaged.
        """
        row = (
            _key(call, history, responder),
            call.api.slug,
            call.api.digest,
            call.key(),
            history,
            responder,
            answer.status,
            answer.media,
            answer.body,
            answer.fallback,
            call.session.digest,
        )
        try:
            with self._lock:
                self._db.execute(f"INSERT OR IGNORE INTO answers VALUES ({', '.join('?' * len(row))})", row)
        except sqlite3.Error as error:
            raise self._failure(error) from None

    def responders(self) -> list[str]:
        """The names of those whose answers are recorded."""
        try:
            with self._lock:
                rows = self._db.execute("SELECT DISTINCT responder FROM answers ORDER BY responder").fetchall()
        except sqlite3.Error as error:
            raise self._failure(error) from None
        return [row[0] for row in rows]

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    def _failure(self, error: sqlite3.Error) -> ToolAlpacaError:
        reason = str(error)
        if "locked" in reason or "busy" in reason:
            mend = "another program is writing to it; end that, or name another file with --store"
        elif "full" in reason or "disk I/O" in reason:
            mend = "free some space, or name a file on another disk with --store"
        elif (
            "not a database" in reason or "malformed" in reason or "no such column" in reason or "no column" in reason
        ):
            mend = "it is damaged or not a store; move it away, or name another file with --store"
        else:
            mend = "name a file that can be written with --store"
        return ToolAlpacaError(f"the store {self.path} can not be used ({reason}): {mend}")


def _key(call: Call, history: str, responder: str) -> str:
    parts = "\x1f".join((call.api.slug, call.api.digest, call.key(), history, responder))
    return blake2b(parts.encode("utf-8", "replace"), digest_size=20).hexdigest()
