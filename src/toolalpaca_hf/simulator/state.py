"""What each session made, changed and removed, within a memory limit."""

import asyncio
import json
from collections import OrderedDict
from hashlib import blake2b
from typing import Any

SESSION_HEADER = "X-Toolalpaca-Session"  # of a request: names a session; requests without it share one

MAX_SESSIONS, MAX_RECORDS = 4096, 256
MAX_BYTES = 64 * 2**20

Key = tuple[str, str]


class Session:
    def __init__(self) -> None:
        # Fields by `plain` name of each item, by collection and id; None if it was removed.
        self.records: OrderedDict[Key, dict[str, Any] | None] = OrderedDict()
        self.digest = ""  # of everything that led to this state
        self.turns: list[tuple[str, str]] = []
        self.size = self.requests = 0
        self.changes: list[tuple[str, str, dict[str, Any] | None]] | None = None  # arguments of `remember`
        self.lock = asyncio.Lock()
        self._sizes: dict[Key, int] = {}

    def remember(self, collection: str, item: str, fields: dict[str, Any] | None) -> None:
        """Keep an item's fields, or that it was removed; the oldest beyond `MAX_RECORDS` is forgotten."""
        key = (collection, item)
        written = json.dumps(fields, sort_keys=True, ensure_ascii=False)
        self.records[key] = fields
        if self.changes is not None:
            self.changes.append((collection, item, fields))
        self.records.move_to_end(key)
        self.size += len(written) + 200 - self._sizes.get(key, 0)
        self._sizes[key] = len(written) + 200
        while len(self.records) > MAX_RECORDS:
            oldest, _ = self.records.popitem(last=False)
            self.size -= self._sizes.pop(oldest)
        self._advance(f"{collection}\x1f{item}\x1f{written}")

    def add_turn(self, request: str, answer: str, most: int) -> None:
        self.turns.append((request, answer))
        self.size += len(request) + len(answer)
        while len(self.turns) > most:
            self.size -= sum(map(len, self.turns.pop(0)))
        self._advance(f"{request}\x1f{answer}")

    def _advance(self, change: str) -> None:
        self.digest = blake2b(f"{self.digest}\x1f{change}".encode("utf-8", "replace"), digest_size=12).hexdigest()


class Sessions:
    """The sessions of a simulator; the least recently used are forgotten first, and each at once unless `keeping`."""

    def __init__(self) -> None:
        self._sessions: OrderedDict[tuple[str, str], Session] = OrderedDict()
        self._size = 0
        self.keeping = True

    def __len__(self) -> int:
        return len(self._sessions)

    def get(self, session: str, api: str) -> Session:
        if not self.keeping:
            return Session()
        key = (session, api)
        if key not in self._sessions:
            self._sessions[key] = Session()
            while len(self._sessions) > MAX_SESSIONS:
                self._size -= self._sessions.popitem(last=False)[1].size
        self._sessions.move_to_end(key)
        return self._sessions[key]

    def grew(self, session: str, api: str, by: int) -> None:
        """Record that a session grew by `by` bytes; evict the oldest sessions if all exceed the limit."""
        if by and (session, api) in self._sessions:
            self._size += by
            while self._size > MAX_BYTES and len(self._sessions) > 1:
                self._size -= self._sessions.popitem(last=False)[1].size

    def clear(self, api: str, session: str | None = None) -> int:
        """Forget an API in a session, or in all; returns how many sessions had state."""
        keys = [key for key in self._sessions if key[1] == api and session in (None, key[0])]
        for key in keys:
            self._size -= self._sessions.pop(key).size
        return len(keys)
