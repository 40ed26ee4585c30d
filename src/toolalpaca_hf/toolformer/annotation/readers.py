"""Reads a task's shard of texts from files or Hub datasets; an unreadable row becomes a text with a problem."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...errors import InputError, NotFoundError
from ..rows import SUFFIXES, BadRow, hub_rows, read_rows
from .annotator import Document

TEXT_FIELDS = ("text", "raw_content", "content")  # everywhere, in CCNet, in RefinedWeb's layout
DATE_FIELDS = ("date", "date_published", "date_download", "timestamp")  # the last two of CCNet and C4
_LARGE = 200_000_000  # bytes of a file whose lines are not counted for a progress bar


def read_texts(
    source: str, rank: int = 0, tasks: int = 1, split: str = "train", text_field: str | None = None, skip: int = 0
) -> Iterator[Document]:
    """Yield the shard of a task: whole files if there are as many as tasks, else every `tasks`-th row.

    Ids are made of file and row (`toolformer/FILE/ROW`), independent of the number of tasks.

    `source` is a file or folder (JSON lines, JSON list, Parquet; `.gz`, `.zst`), or a Hub dataset such as
    `allenai/c4:en`. `text_field` is by default the first of [`TEXT_FIELDS`] that exists.
    """
    files = files_of(source)
    if files is None:
        shards: list[tuple[str, Path | None]] = [(source.split("/")[-1].replace(":", "-"), None)]
    else:
        stems, names = Counter(_stem(name) for name, _ in files), {name for name, _ in files}
        # Files with the same stem keep their suffix.
        ambiguous = {name for name in names if stems[_stem(name)] > 1 or _stem(name) in names}
        shards = [(name if name in ambiguous else _stem(name), path) for name, path in files]
    by_file = len(shards) >= tasks
    count = -1
    for number, (shard, path) in enumerate(shards):
        if by_file and number % tasks != rank:
            continue
        name, _, config = source.partition(":")
        hub = hub_rows(name, config or None, split, "check --input", streaming=True)
        for index, row in enumerate(hub if path is None else read_rows(path, tolerant=True)):
            if by_file or index % tasks == rank:
                count += 1
                if count >= skip:
                    yield _document(f"toolformer/{shard}/{index}", row, text_field)


def files_of(source: str) -> list[tuple[str, Path]] | None:
    """The files of a path with their relative names; `None` if it may be a Hub dataset."""
    path = Path(source)
    if path.is_file():
        return [(path.name, path)]
    if path.is_dir():
        found = [file for file in sorted(path.rglob("*")) if file.name.endswith(SUFFIXES)]
        if not found:
            problem = f"holds no file that ends in {', '.join(SUFFIXES)}"
            raise InputError(problem, file=source, fix="pass another --input")
        return [(str(file.relative_to(path)), file) for file in found]
    if source.endswith(SUFFIXES) or source.startswith((".", "/", "~")) or source.count("/") > 1:
        fix = "pass a file, a folder or the name of a Hub dataset as --input"
        raise NotFoundError("no such file", file=source, fix=fix)
    return None


def count_texts(source: str) -> int | None:
    """The number of texts for a progress bar; `None` if counting would take long."""
    import pyarrow.parquet as pq

    count = 0
    for _, path in files_of(source) or ():
        try:
            if path.suffix == ".parquet":
                count += pq.read_metadata(path).num_rows
                continue
            if path.suffix in (".gz", ".zst") or path.stat().st_size > _LARGE:
                return None
            with path.open("rb") as file:
                if file.read(1) == b"[":  # a list has its rows not by line
                    return None
                file.seek(0)
                count += sum(1 for line in file if line.strip())
        except (OSError, ValueError):  # damaged: reading it will say so
            return None
    return count or None


def _stem(name: str) -> str:
    return name.removesuffix(max((suffix for suffix in SUFFIXES if name.endswith(suffix)), key=len, default=""))


def _document(id: str, row: Any, text_field: str | None) -> Document:
    if isinstance(row, str):
        row = {"text": row}
    if not isinstance(row, dict):
        return Document(id, "", problem=row.reason if isinstance(row, BadRow) else "no JSON object")
    fields = (text_field,) if text_field else TEXT_FIELDS
    date, own = next((row[name] for name in DATE_FIELDS if row.get(name)), None), row.get("id")
    meta: dict[str, Any] = {"url": row["url"]} if isinstance(row.get("url"), str) else {}
    meta |= ({"date": str(date)} if date else {}) | ({"source_id": str(own)} if own is not None else {})
    text = next((row[name] for name in fields if isinstance(row.get(name), str)), None)
    if text is None:
        named = " or ".join(filter(None, [", ".join(fields[:-1]), fields[-1]]))
        return Document(id, "", meta, f"no text in {named}")
    return Document(id, text, meta)
