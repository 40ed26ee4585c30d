"""Reads rows from JSON lines, JSON lists (plain, `.gz`, `.zst`), Parquet, or a dataset on the Hub."""

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from ..errors import InputError, NotFoundError

SUFFIXES = (".jsonl", ".json", ".jsonl.gz", ".json.gz", ".jsonl.zst", ".json.zst", ".parquet")

_COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}


@dataclass(frozen=True)
class BadRow:
    reason: str


def read_rows(file: str | Path, tolerant: bool = False) -> Iterator[Any]:
    """Yield the rows of a file; one that is not JSON becomes a [`BadRow`].

    An unreadable file is an [`InputError`]; with `tolerant`, it ends with a [`BadRow`], and lone surrogates are
    accepted.
    """
    path = Path(file)
    try:
        yield from _parquet_rows(path) if path.suffix == ".parquet" else _json_rows(path, tolerant)
    # A cut or damaged archive raises whatever its library does (EOFError, zlib.error, ZstdError, ArrowInvalid).
    except Exception as error:
        if tolerant:
            yield BadRow(f"{path.name} cannot be read from here on: {type(error).__name__}")
            return
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"cannot be read ({reason})", file=path, fix="pass a whole, readable file") from None


def read_text(file: str | Path) -> str:
    """The text of a file; an [`InputError`] if it cannot be read."""
    try:
        return Path(file).read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", file=file, fix="pass a readable file") from None


def _json_rows(path: Path, tolerant: bool) -> Iterator[Any]:
    import fsspec

    compression = _COMPRESSIONS.get(path.suffix)
    with fsspec.open(str(path), "rb", compression=compression) as file:
        # Zstandard's reader does not iterate over lines.
        lines: Any = io.BufferedReader(file) if compression == "zstd" else file  # type: ignore[arg-type]
        first = next((line for line in lines if line.strip()), b"")
        if first.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"["):
            content = first + lines.read()
            try:
                rows = json.loads(content)
                yield from rows if tolerant or b"\\ud" not in content.lower() else map(_with_utf8, rows)
                return
            except (ValueError, RecursionError):
                if not tolerant:
                    raise
                lines = io.BytesIO(content)  # lines after all, the first of which is a list
        else:
            lines = chain([first], lines)
        yield from (_parsed(line, tolerant) for line in lines if line.strip())


def _parsed(line: bytes, tolerant: bool) -> Any:
    try:
        value = json.loads(line)
        return value if tolerant or b"\\ud" not in line.lower() else _with_utf8(value)
    except UnicodeError:
        return BadRow("no valid UTF-8")
    except (ValueError, RecursionError):
        return BadRow("no JSON")


def _with_utf8(row: Any) -> Any:
    """The row, unless it has half a surrogate pair, which can be spelt in JSON and be written nowhere."""
    try:
        json.dumps(row, ensure_ascii=False).encode()
    except UnicodeError:
        return BadRow("no valid UTF-8")
    return row


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
