"""The simulator and its MCP server under load, mixed and hostile: errors, latency, memory, and whether sessions mix.

    python benchmarks/load.py                                   # 100,000 requests at 64 connections, then MCP at 16
    python benchmarks/load.py --quick --json out.json           # 10,000 requests, 1,600 MCP calls

Server and clients are processes of their own. A client goes through 1,000 sessions: it adds a note to one, reads it
back, lists that session's notes, and reads another session's note, which must not be there. One request in ten is
hostile: a body that comes a byte at a time, half a head or half a body and then the end, a head of a megabyte, a URL
of 100 KB, bytes that are no HTTP, a body of 2 MB, a connection that says nothing; for MCP also JSON that is no
message, a method that there is not, and a list nested 50,000 deep. Latency is that of the ordinary
requests, from the first byte sent to the last one read; an error is an answer with another status than the right one,
a note of another session, or none within 30 s. Memory is the resident set of the server.
"""

import argparse
import asyncio
import json
import os
import random
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

from measured import resident, show, table, write

from toolalpaca_hf.simulator import SESSION_HEADER

SESSIONS, CONNECTIONS, CLIENTS = 1000, 64, 16
REMEMBERED = 200  # of a session's notes; a server forgets the oldest beyond 256
PATIENCE = 30.0
NOTE = {"type": "object", "properties": {"noteId": {"type": "string"}, "text": {"type": "string"}}}
NOTES = {"type": "object", "properties": {"notes": {"type": "array", "items": NOTE}}}


def document() -> dict[str, Any]:
    """An API of notes: one can be added, read and listed."""

    def answer(schema: dict[str, Any]) -> dict[str, Any]:
        return {"description": "Done.", "content": {"application/json": {"schema": schema}}}

    new = {"type": "object", "required": ["text"], "properties": {"text": {"type": "string"}}}
    key = {"name": "noteId", "in": "path", "required": True, "schema": {"type": "string"}}
    add = {"operationId": "addNote", "requestBody": {"content": {"application/json": {"schema": new}}}}
    read, listed = {"operationId": "readNote", "parameters": [key]}, {"operationId": "listNotes"}
    return {
        "openapi": "3.0.0",
        "info": {"title": "Notes", "version": "1"},
        "paths": {
            "/notes": {
                "post": add | {"summary": "Add a note.", "responses": {"201": answer(NOTE)}},
                "get": listed | {"summary": "List all notes.", "responses": {"200": answer(NOTES)}},
            },
            "/notes/{noteId}": {"get": read | {"summary": "Read a note.", "responses": {"200": answer(NOTE)}}},
        },
    }


class Server:
    """`toolalpaca simulate` in a process of its own."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        path = folder / "notes.json"
        path.write_text(json.dumps(document()))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        command = [sys.executable, "-m", "toolalpaca_hf.cli", "simulate", "--apis", str(path)]
        self.log = folder / f"server-{self.port}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen([*command, "--port", str(self.port), *arguments], stdout=log, stderr=log)
        for _ in range(1200):
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                return
            time.sleep(0.1)
        raise SystemExit(f"the server did not start: {self.log.read_text()}")

    @property
    def megabytes(self) -> float:
        return resident(self.process.pid)

    @property
    def handles(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(20)


class Connection:
    """A kept connection that sends requests of a session."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.writer: asyncio.StreamWriter | None = None

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self.writer is None or self.writer.is_closing() or self.reader.at_eof():
            self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
        return self.reader, self.writer

    async def close(self) -> None:
        if self.writer is not None:
            self.writer.close()
            with suppress(OSError):
                await self.writer.wait_closed()
            self.writer = None

    async def ask(self, method: str, path: str, session: str, body: Any = None, slow: float = 0.0) -> tuple[int, Any]:
        """Status and JSON of an answer; the body is sent a byte at a time where it is to be slow."""
        reader, writer = await self.open()
        content = b"" if body is None else json.dumps(body).encode()
        head = f"{method} {path} HTTP/1.1\r\nHost: notes\r\n"
        head += f"{SESSION_HEADER}: {session}\r\n" if session else ""
        head += f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
        writer.write(head.encode())
        for place in range(len(content) if slow else 0):
            writer.write(content[place : place + 1])
            await writer.drain()
            await asyncio.sleep(slow)
        writer.write(b"" if slow else content)
        await writer.drain()
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        answer = await reader.readexactly(int(headers.get("content-length", 0)))
        if headers.get("connection", "").lower() == "close":
            await self.close()
        return int(lines[0].split()[1]), json.loads(answer) if answer else None


class Load:
    """Clients that share a count of requests."""

    def __init__(self, port: int, requests: int, seed: int, path: str = "/notes/notes") -> None:
        self.port, self.left, self.rng, self.path = port, requests, random.Random(seed), path
        self.seconds: list[float] = []
        self.kinds, self.errors = Counter[str](), Counter[str]()
        self.mixed = 0
        self.notes: dict[str, dict[str, str]] = {}

    async def client(self, number: int) -> None:
        """One connection, until the count is used up."""
        connection = Connection(self.port)
        while self.left > 0:
            self.left -= 1
            await self.do(self.rng.choice(HOSTILE) if self.rng.random() < 0.1 else "ordinary", connection)
        await connection.close()

    async def do(self, kind: str, connection: Connection) -> None:
        """A request of a kind, whose error is counted."""
        self.kinds[kind] += 1
        try:
            await asyncio.wait_for(getattr(self, f"_{kind}")(connection), PATIENCE)
        except Exception as error:
            self.errors[f"{kind}: {type(error).__name__}: {str(error)[:80]}"] += 1
            await connection.close()

    async def _timed(self, connection: Connection, right: int, *request: Any) -> Any:
        start = time.perf_counter()
        status, answer = await connection.ask(*request)
        self.seconds.append(time.perf_counter() - start)
        if status != right:
            raise ValueError(f"status {status} to {request[:2]}")
        return answer

    async def _ordinary(self, connection: Connection) -> None:
        session = f"s{self.rng.randrange(SESSIONS)}"
        own, choice = self.notes.setdefault(session, {}), self.rng.random()
        if not own or choice < 0.25:
            text = f"{session} {self.rng.random()}"
            made = await self._timed(connection, 201, "POST", "/notes/notes", session, {"text": text})
            own[made["noteId"]] = text
        elif choice < 0.5:
            note, text = self.rng.choice(list(own.items()))
            answer = await self._timed(connection, 200, "GET", f"/notes/notes/{note}", session)
            if answer["text"] != text:
                raise ValueError("another text")
        elif choice < 0.75:
            before = set(own.values())
            answer = await self._timed(connection, 200, "GET", "/notes/notes", session)
            texts = {note.get("text", "") for note in answer["notes"]}
            foreign = {text for text in texts if re.match(r"s\d+ 0", text) and not text.startswith(f"{session} ")}
            self.mixed += bool(foreign)
            if not before <= texts or foreign:
                raise ValueError(f"{len(before - texts)} notes are missing, {len(foreign)} of others are there")
        else:
            note, text = self.rng.choice(list(own.items()))
            start = time.perf_counter()
            _, answer = await connection.ask("GET", f"/notes/notes/{note}", f"{session}-other")
            self.seconds.append(time.perf_counter() - start)
            if isinstance(answer, dict) and answer.get("text") == text:
                self.mixed += 1
                raise ValueError("a note of another session")

    async def _slow(self, connection: Connection) -> None:
        status, _ = await connection.ask(
            "POST", "/notes/notes", f"slow{self.rng.randrange(50)}", {"text": "x" * 20}, 0.02
        )
        if status != 201:
            raise ValueError(f"status {status}")

    async def _raw(self, content: bytes, wait: float = 0.0, answered: bool = False) -> None:
        """Send bytes on a connection of their own, and go; `answered` where the server has to answer or hang up."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(content)
            with suppress(ConnectionError):
                await writer.drain()
                await asyncio.sleep(wait)
                if answered:
                    said = await reader.read(64)
                    if said and not re.match(rb"HTTP/1\.1 4\d\d", said):
                        raise ValueError(f"answered with {said[:40]!r}")
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _half_head(self, _: Connection) -> None:
        await self._raw(f"GET {self.path} HTTP/1.1\r\nHost: no".encode(), 0.05)

    async def _half_body(self, _: Connection) -> None:
        await self._raw(self._post(b'{"text": "', 500), 0.05)

    async def _huge_head(self, _: Connection) -> None:
        head = f"GET {self.path} HTTP/1.1\r\nHost: n\r\nX-A: ".encode()
        await self._raw(head + b"a" * 1_000_000 + b"\r\n\r\n", answered=True)

    async def _long_url(self, _: Connection) -> None:
        url = f"GET {self.path}".encode() + b"a" * 100_000
        await self._raw(url + b" HTTP/1.1\r\nHost: n\r\n\r\n", answered=True)

    async def _no_http(self, _: Connection) -> None:
        await self._raw(self.rng.randbytes(300) + b"\r\n\r\n", answered=True)

    async def _large_body(self, _: Connection) -> None:
        await self._raw(self._post(b'{"text": "' + b"a" * 2_000_000 + b'"}'), answered=True)

    async def _silent(self, _: Connection) -> None:
        await self._raw(b"", 0.2)

    async def _no_message(self, _: Connection) -> None:
        await self._raw(self._post(b'{"text": 3}'), answered=True)

    async def _no_method(self, _: Connection) -> None:
        await self._raw(self._post(b'{"jsonrpc": "2.0", "id": 1, "method": "no/such"}'), answered=True)

    async def _deep(self, _: Connection) -> None:
        await self._raw(self._post(b"[" * 50_000 + b"]" * 50_000), answered=True)

    def _post(self, body: bytes, length: int = 0) -> bytes:
        head = f"POST {self.path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nContent-Type: application/json\r\n"
        head += f"Accept: application/json, text/event-stream\r\nContent-Length: {length or len(body)}\r\n\r\n"
        return head.encode() + body


BROKEN = ("half_head", "half_body", "huge_head", "long_url", "no_http", "large_body", "silent")
HOSTILE = ("slow", *BROKEN)
HOSTILE_MCP = ("no_message", "no_method", "deep", *BROKEN)


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))] * 1000


async def simulate(server: Server, requests: int, seed: int) -> tuple[Load, list[float]]:
    """The requests in ten parts, with the server's memory after each."""
    warm = Load(server.port, requests // 20, seed + 1)
    await asyncio.gather(*(warm.client(n) for n in range(CONNECTIONS)))
    load, memory = Load(server.port, 0, seed), [server.megabytes]
    load.notes = {}
    for _ in range(10):
        load.left = requests // 10
        load.notes = {}  # a server forgets a session's oldest notes beyond 256
        await clear(server.port)
        await asyncio.gather(*(load.client(n) for n in range(CONNECTIONS)))
        memory.append(server.megabytes)
    return load, memory


async def clear(port: int) -> None:
    """Forget every session."""
    connection = Connection(port)
    await connection.ask("POST", "/__simulator_cache__/clear/notes", "", None)
    await connection.close()


async def ask_mcp(url: str, calls: int, number: int, load: Load) -> None:
    """A client that names its session, adds notes of its own, and reads them back; beside it, what is hostile."""
    from mcp import Client
    from mcp.client.streamable_http import streamable_http_client
    from mcp.shared._httpx_utils import create_mcp_http_client

    http, connection = create_mcp_http_client({SESSION_HEADER: f"client {number}"}), Connection(load.port)

    async def ask(tool: str, **arguments: Any) -> Any:
        [said] = (await client.call_tool(tool, arguments)).content
        return json.loads(said.text.partition("Response: ")[2] if said.text.startswith("Status Code") else said.text)

    async with http, Client(streamable_http_client(url, http_client=http)) as client:
        own: dict[str, str] = {}
        for turn in range(calls):
            if load.rng.random() < 0.1:
                await load.do(load.rng.choice(HOSTILE_MCP), connection)
            text, start = f"c{number} {turn}", time.perf_counter()
            try:
                if turn % 2 == 0:
                    own[(await ask("addNote", text=text))["noteId"]] = text
                else:
                    note = random.Random(turn).choice(list(own)[-REMEMBERED:])
                    if (await ask("readNote", noteId=note))["text"] != own[note]:
                        load.errors["another text"] += 1
            except Exception as error:
                load.errors[f"{type(error).__name__}: {str(error)[:80]}"] += 1
            load.seconds.append(time.perf_counter() - start)
        texts = [note.get("text", "") for note in (await ask("listNotes"))["notes"]]
        if any(re.match(r"c\d+ ", text) and not text.startswith(f"c{number} ") for text in texts):
            load.mixed += 1
    await connection.close()


async def mcp(server: Server, calls: int, seed: int) -> tuple[Load, list[float]]:
    """Sixteen clients at once, in ten parts."""
    load, memory = Load(server.port, 0, seed, "/mcp"), [server.megabytes]
    url = f"http://127.0.0.1:{server.port}/mcp"
    for _ in range(10):
        await asyncio.gather(*(ask_mcp(url, calls // CLIENTS // 10, n, load) for n in range(CLIENTS)))
        memory.append(server.megabytes)
    return load, memory


def main() -> None:
    """Serve, ask, count, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--calls", type=int, default=100_000, help="of MCP, in all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="10,000 requests, 1,600 calls")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    options = parser.parse_args()
    if options.quick:
        options.requests, options.calls = 10_000, 1600
    start, rows, said, notes = time.perf_counter(), [], Counter[str](), []
    columns = [
        "server",
        "requests",
        "hostile",
        "errors",
        "sessions mixed",
        "p50 ms",
        "p99 ms",
        "MB before",
        "MB after",
    ]
    runs = {"HTTP": (simulate, options.requests, ()), "MCP": (mcp, options.calls, ("--mcp-http",))}
    with tempfile.TemporaryDirectory() as folder:
        for name, (measure, count, arguments) in runs.items():
            server = Server(Path(folder), *arguments)
            try:
                asyncio.run(mcp(server, CLIENTS * 40, 1)) if name == "MCP" else None  # warm
                load, memory = asyncio.run(measure(server, count, options.seed))
                handles = server.handles
            finally:
                server.close()
            said += load.errors
            times = [percentile(load.seconds, share) for share in (0.5, 0.99)]
            hostile = load.kinds.total() - load.kinds["ordinary"]
            tried = [hostile + (len(load.seconds) if name == "MCP" else load.kinds["ordinary"]), hostile]
            rows.append([name, *tried, load.errors.total(), load.mixed, *times, memory[0], memory[-1]])
            notes.append(
                f"Memory of {name} by tenths: {', '.join(f'{one:.0f}' for one in memory)} MB; {handles} open files."
            )
    note = f"{CONNECTIONS} connections and {SESSIONS} sessions, {CLIENTS} MCP clients. {' '.join(notes)} "
    note += f"Load average {os.getloadavg()[0]:.1f}."
    found = table("Under load", columns, rows, note)
    show([found])
    for words, count in said.most_common(12):
        print(f"{count:>7}  {words}")
    if options.json:
        write(options.json, time.perf_counter() - start, [found], errors=dict(said))
    sys.exit(1 if said or any(row[4] for row in rows) else 0)


if __name__ == "__main__":
    main()
