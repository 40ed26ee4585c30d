"""Finds a key in any form in whatever a program wrote: tables, databases and archives are opened, escapes undone."""

import base64
import gzip
import html
import io
import json
import re
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import unquote_to_bytes

import pyarrow.parquet as pq
import zstandard

WINDOW = 12
"""So many letters and digits of a key in a row are a part of it that is found."""
_BASE64 = re.compile(rb"[A-Za-z0-9+/_-]{16,}={0,2}")
_UNICODE = re.compile(rb"\\u00([0-9a-fA-F]{2})")


def bare(content: bytes) -> bytes:
    """Letters and digits only: what was split by quotes, commas, line ends or tags is in one piece."""
    return re.sub(rb"[^A-Za-z0-9]+", b"", content).lower()


def forms(content: bytes) -> Iterator[tuple[str, bytes]]:
    """A text as it is, and with escapes of URLs (twice), HTML, JSON and base64 undone."""
    yield "plain", content
    once = unquote_to_bytes(content)
    yield "URL-encoded", once
    yield "URL-encoded twice", unquote_to_bytes(once)
    yield "HTML", html.unescape(content.decode("utf-8", "replace")).encode("utf-8", "replace")
    yield "JSON", _UNICODE.sub(lambda match: bytes([int(match[1], 16)]), content).replace(b"\\", b"")
    found = []
    for run in _BASE64.findall(content):
        run = run.rstrip(b"=").replace(b"-", b"+").replace(b"_", b"/")
        for start in range(4):  # where a key begins in what was encoded is not known
            piece = run[start:]
            found.append(base64.b64decode(piece[: len(piece) // 4 * 4]))
    yield "base64", b"\n".join(found)


def opened(name: str, content: bytes) -> Iterator[tuple[str, bytes]]:
    """The contents that a file holds, uncompressed."""
    yield name, content
    if content[:4] == b"PAR1":
        rows = pq.read_table(io.BytesIO(content))
        yield (
            f"{name} (rows)",
            json.dumps(rows.to_pylist(), default=str, ensure_ascii=False).encode("utf-8", "replace"),
        )
        yield f"{name} (schema)", str(rows.schema.metadata).encode()
    elif content[:2] == b"\x1f\x8b":
        yield f"{name} (gzip)", gzip.decompress(content)
    elif content[:4] == b"\x28\xb5\x2f\xfd":
        yield f"{name} (zstd)", zstandard.ZstdDecompressor().stream_reader(io.BytesIO(content)).read()
    elif content[:15] == b"SQLite format 3":
        database = sqlite3.connect(":memory:")
        database.deserialize(content[:18] + b"\1\1" + content[20:])  # a write-ahead log needs a file
        yield f"{name} (SQL)", "\n".join(database.iterdump()).encode("utf-8", "replace")
        database.close()


def search(things: Mapping[str, bytes], keys: Mapping[str, str]) -> list[str]:
    """Where a key, or a part of one, stands: `FILE: KEY (FORM)`."""
    parts = {}
    for name, key in keys.items():
        short = bare(key.encode())
        assert len(short) >= WINDOW, f"{name} is too short to be told from chance"
        for start in range(len(short) - WINDOW + 1):
            parts[short[start : start + WINDOW]] = name
    pattern = re.compile(b"|".join(map(re.escape, parts)))
    found = []
    for name, content in things.items():
        for place, inner in opened(name, content):
            for form, text in forms(inner):
                names = {parts[match] for match in pattern.findall(bare(text))}
                found += [f"{place}: {key} ({form})" for key in sorted(names)]
    return found


def files_of(folder: Path, but: tuple[Path, ...] = ()) -> dict[str, bytes]:
    """Every file of a folder, without those below some places."""
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink()]
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in paths
        if not any(path.is_relative_to(place) for place in but)
    }
