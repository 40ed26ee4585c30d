"""Reads rows from JSON lines, JSON lists (plain, `.gz`, `.zst`), Parquet, or a dataset on the Hub."""

import hashlib
import io
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from ..errors import InputError, NotFoundError

_HALF = b"\\ud"  # how JSON spells half a surrogate pair, and whole ones
SUFFIXES = (".jsonl", ".json", ".jsonl.gz", ".json.gz", ".jsonl.zst", ".json.zst", ".parquet")


@dataclass(frozen=True)
class BadRow:
    reason: str


def read_rows(file: str | Path, tolerant: bool = False) -> Iterator[Any]:
    """Yield the rows of a file; one that is not JSON is a [`BadRow`], and with `tolerant` what cannot be read, too."""
    path = Path(file)
    try:
        yield from _parquet_rows(path) if path.suffix == ".parquet" else _json_rows(path, tolerant)
    # A cut or damaged archive raises whatever its library does (EOFError, zlib.error, ZstdError, ArrowInvalid).
    except Exception as error:
        if tolerant:
            yield BadRow(f"{path.name} cannot be read from here on: {type(error).__name__}")
            return
        if isinstance(error, FileNotFoundError):
            raise NotFoundError("no such file", file=path, fix="pass one that is there") from None
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"cannot be read ({reason})", file=path, fix="pass a whole, readable file") from None


def digest_of(files: Iterable[Path]) -> str:
    """Of files by name, size and time of writing: whether they are those of before."""
    stats = "\n".join(f"{file.name} {file.stat().st_size} {file.stat().st_mtime_ns}" for file in files)
    return hashlib.sha256(stats.encode("utf-8", "replace")).hexdigest()[:16]


def _json_rows(path: Path, tolerant: bool) -> Iterator[Any]:
    import fsspec

    with fsspec.open(str(path), "rb", compression="infer") as opened:
        # Zstandard's reader does not iterate over lines.
        raw: Any = opened
        file = io.BufferedReader(raw) if path.suffix == ".zst" else raw
        first = next((line for line in file if line.strip()), b"")
        lines = chain([first], file)
        if first.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"["):
            content = first + file.read()
            try:
                rows = json.loads(content.decode("utf-8-sig"))
                yield from (_parsed(json.dumps(row).encode()) for row in rows) if _HALF in content.lower() else rows
                return
            except (ValueError, RecursionError):
                if not tolerant and isinstance(_parsed(first), BadRow):
                    raise  # a damaged list, of which the last line may well be a row
            lines = io.BytesIO(content)  # lines after all, the first of which is a list
        yield from map(_parsed, filter(bytes.strip, lines))


def _parsed(line: bytes) -> Any:
    try:
        row = json.loads(line.decode("utf-8-sig"))  # only bytes may hold half a surrogate pair as well
        if _HALF in line.lower():  # half a surrogate pair can be spelt in JSON and be written nowhere
            json.dumps(row, ensure_ascii=False).encode()
        return row
    except (ValueError, RecursionError) as error:
        return BadRow("no valid UTF-8" if isinstance(error, UnicodeError) else "no JSON")


def _parquet_rows(path: Path) -> Iterator[Any]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=256):
            yield from batch.to_pylist()


def hub_rows(repo: str, config: str | None, split: str, fix: str, streaming: bool = False) -> Iterator[Any]:
    """The rows of a Hub dataset, named as for `load_dataset`; a [`NotFoundError`] if it is not available."""
    from datasets import load_dataset

    try:
        rows = load_dataset(repo, config, split=split, streaming=streaming)
    # The Hub's client, a proxy and a broken connection raise different errors; for the user they are one.
    except Exception as error:
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise NotFoundError(f"cannot be loaded from the Hub ({reason})", file=repo, fix=fix) from None
    yield from rows
