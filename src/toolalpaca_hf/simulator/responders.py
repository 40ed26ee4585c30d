"""The responders that answer from the document's schemas, or from recorded answers."""

from functools import cache, partial
from hashlib import blake2b
from pathlib import Path
from typing import Any

from ..errors import NotFoundError, OptionError
from ..storage import SqliteCache
from .entities import Entities
from .replies import make_reply
from .requests import RequestRefused, read_arguments
from .responses import SimulatedCall, SimulatedResponse, dump_json, refuse

LOCK_TIMEOUT = 5.0
MAX_KEPT = 32 * 2**20  # bytes of answers that the schema responder keeps; a rollout's siblings ask the same

TABLE = """
CREATE TABLE IF NOT EXISTS answers (
    key TEXT PRIMARY KEY, api TEXT NOT NULL, document TEXT NOT NULL, request TEXT NOT NULL, history TEXT NOT NULL,
    responder TEXT NOT NULL, status INTEGER NOT NULL, media TEXT NOT NULL, body BLOB NOT NULL,
    fallback TEXT NOT NULL, history_after TEXT NOT NULL
)
"""


class SchemaResponder:
    """Answer from the document alone; the same API, request, session history and seed give the same bytes."""

    def __init__(self, seed: int = 0) -> None:
        self.seed, self.name = seed, f"schema/{seed}"
        self.entities = cache(partial(Entities, seed=seed))
        self._kept: dict[tuple[Any, ...], tuple[SimulatedResponse, list[Any]]] = {}
        self._kept_size = 0

    async def __call__(self, call: SimulatedCall) -> SimulatedResponse:
        request, session = call.request, call.session
        sent = *request.raw_query, *request.raw_form, *request.raw_values.items(), request.media
        key = (call.api.slug, call.operation.name, session.digest, call.key(), sent)
        if (kept := self._kept.get(key)) is not None:
            for change in kept[1]:
                session.remember(*change)
            return kept[0]
        session.changes = changes = []
        try:
            response = self._answer(call)
        finally:
            session.changes = None
        self._kept_size += len(response.body) + len(key[3]) + 1000
        if self._kept_size > MAX_KEPT:
            self._kept.clear()
            self._kept_size = 0
        self._kept[key] = response, changes
        return response

    def _answer(self, call: SimulatedCall) -> SimulatedResponse:
        try:
            arguments = read_arguments(call.operation, call.request)
        except RequestRefused as refused:
            return refuse(call.operation, refused.status, str(refused))
        entities = self.entities(call.api)
        missing = entities.unknown(call.operation, arguments, call.session)
        return refuse(call.operation, 404, missing) if missing else make_reply(entities, call, arguments)


class AnswerStore:
    """Recorded answers in an SQLite file, by API, document, request, session history and responder. Thread-safe.

    A file that is locked or damaged is a [`StorageError`], in every method; one that is not there is a
    [`NotFoundError`] unless `create`.
    """

    def __init__(self, path: str | Path, create: bool = True) -> None:
        self.path = Path(path)
        if not create and not self.path.is_file():
            fix = "record some first with --responder schema or llm"
            raise NotFoundError("does not exist: no answers to replay", file=path, option="--store", fix=fix)
        probe = "SELECT key, history_after FROM answers"
        self._cache = SqliteCache(path, TABLE, probe, wait=LOCK_TIMEOUT, option="--store")

    def get(self, call: SimulatedCall, responder: str) -> tuple[SimulatedResponse, str] | None:
        """The answer to a call, and the session's digest after it."""
        query = "SELECT status, body, media, fallback, history_after FROM answers WHERE key = ?"
        rows = self._cache.fetch(query, _key(call, call.session.digest, responder))
        return (SimulatedResponse(*rows[0][:4]), rows[0][4]) if rows else None

    def put(self, call: SimulatedCall, history: str, responder: str, response: SimulatedResponse) -> None:
        """Record an answer to a call in a session whose digest was `history`; an existing one stays."""
        asked = (call.api.slug, call.api.digest, call.key(), history, responder)
        answered = (response.status, response.media, response.body, response.fallback, call.session.digest)
        self._cache.insert("answers", (_key(call, history, responder), *asked, *answered))

    def responders(self) -> list[str]:
        return [name for (name,) in self._cache.fetch("SELECT DISTINCT responder FROM answers ORDER BY responder")]

    def close(self) -> None:
        self._cache.close()


def _key(call: SimulatedCall, history: str, responder: str) -> str:
    parts = "\x1f".join((call.api.slug, call.api.digest, call.key(), history, responder))
    return blake2b(parts.encode("utf-8", "replace"), digest_size=20).hexdigest()


class ReplayResponder:
    """Replay the answers that the responder `name` recorded, byte for byte; a request that was not is a 404.

    A store without such answers is an [`OptionError`], and so is one with those of several if none is named.
    """

    def __init__(self, store: AnswerStore, name: str | None = None) -> None:
        names = store.responders()
        if not names or (name is not None and name not in names):
            held = f"holds answers of {', '.join(names)} only" if names else "holds no answers"
            raise OptionError(held, file=store.path, option="--responder", fix="record some first")
        if name is None and len(names) > 1:
            problem = f"holds answers of several responders ({', '.join(names)})"
            raise OptionError(problem, file=store.path, option="--responder", fix=f"name one: replay:{names[0]}")
        self.name = name or names[0]
        self._store = store

    async def __call__(self, call: SimulatedCall) -> SimulatedResponse:
        found = self._store.get(call, self.name)
        if found is None:
            asked = f"{call.request.method.upper()} {call.request.path} of {call.api.api.name}"
            recorded = f"{self.name} recorded in {self._store.path.name} for this session's history"
            reason = f"{asked} is not among the answers that {recorded}"
            return SimulatedResponse(404, dump_json({"error": reason}), fallback=f"unrecorded: {self.name}")
        response, call.session.digest = found
        return response
