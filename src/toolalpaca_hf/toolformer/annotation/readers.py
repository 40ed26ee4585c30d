"""Texts from files and Hub datasets, each task its share; a row that can not be read becomes a row that says why."""

import io
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from ...errors import ToolAlpacaError
from .annotator import Text

TEXT_FIELDS = ("text", "raw_content", "content")
"""Where a row's text is: everywhere, in CCNet, in RefinedWeb's layout."""

DATE_FIELDS = ("date", "date_published", "date_download", "timestamp")
"""Where a row's date is: in CCNet it is `date_download`, in C4 `timestamp`."""

JSONL = (".jsonl", ".json", ".jsonl.gz", ".json.gz", ".jsonl.zst", ".json.zst")
KINDS = (*JSONL, ".parquet")
LARGE = 200_000_000
"""Bytes of a file whose lines are not counted for a progress bar."""


def read_texts(
    source: str, rank: int = 0, tasks: int = 1, split: str = "train", text_field: str | None = None, skip: int = 0
) -> Iterator[Text]:
    """The share of a task: whole files where there are as many as tasks, else every so-manieth row.

    The id of a text is of its file and row (`toolformer/FILE/ROW`), so that it does not depend on the number of tasks. Of two
    files that differ in their kind alone, `x.json` and `x.jsonl`, ids have the whole name.

    Args:
        source (`str`): A file or folder (JSON lines or one JSON list, plain, `.gz` or `.zst`; Parquet), else the name of a Hub
            dataset; a configuration of it follows a colon: `allenai/c4:en`.
        rank, tasks (`int`, *optional*): Which share of how many.
        split (`str`, *optional*, defaults to `"train"`): Of a Hub dataset.
        text_field (`str`, *optional*): Where a row's text is; defaults to the first of [`TEXT_FIELDS`] it has.
        skip (`int`, *optional*, defaults to 0): How many texts of the share to leave out, the first.

    Raises:
        [`ToolAlpacaError`]: There is no such file or dataset.

    Example:

    ```python
    >>> _ = Path("texts.jsonl").write_text('{"text": "One."}\\n{"text": 2}\\n')
    >>> for text in read_texts("texts.jsonl"):
    ...     print(text.id, text.text, text.problem)
    toolformer/texts/0 One. None
    toolformer/texts/1  no text in text, raw_content or content
    ```
    """
    files = files_of(source)
    if files is None:
        shards: Sequence[tuple[str, Any]] = [(source.split("/")[-1].replace(":", "-"), None)]
    else:
        stems = Counter(_stem(name) for name, _ in files)
        names = {name for name, _ in files}
        # A file's kind tells it from another one of its name.
        shards = [
            (name if stems[_stem(name)] > 1 or _stem(name) in names else _stem(name), path) for name, path in files
        ]
    by_file = len(shards) >= tasks
    count = -1
    for number, (shard, path) in enumerate(shards):
        if by_file and number % tasks != rank:
            continue
        rows = _hub(source, split) if path is None else _parquet(path) if path.suffix == ".parquet" else _lines(path)
        for index, row in enumerate(rows):
            if not by_file and index % tasks != rank:
                continue
            count += 1
            if count >= skip:
                yield _text(f"toolformer/{shard}/{index}", row, text_field)


def files_of(source: str) -> list[tuple[str, Path]] | None:
    """The files of a path, by the name each has below it; `None` where it is none and may be a Hub dataset.

    Raises:
        [`ToolAlpacaError`]: The folder holds no file of a known kind, or the name looks like a path and is none.
    """
    path = Path(source)
    if path.is_file():
        return [(path.name, path)]
    if path.is_dir():
        found = [(str(one.relative_to(path)), one) for one in sorted(path.rglob("*")) if one.name.endswith(KINDS)]
        if not found:
            raise ToolAlpacaError(f"{source} holds no file that ends in {', '.join(KINDS)}; pass another --input")
        return found
    if source.endswith(KINDS) or source.startswith((".", "/", "~")) or source.count("/") > 1:
        raise ToolAlpacaError(
            f"{source} does not exist; pass a file, a folder or the name of a Hub dataset as --input"
        )
    return None


def count_texts(source: str) -> int | None:
    """How many texts a source has, for a progress bar; `None` where finding out would take long.

    Example:

    ```python
    >>> _ = Path("texts.jsonl").write_text('{"text": "One."}\\n\\n{"text": "Two."}\\n')
    >>> count_texts("texts.jsonl"), count_texts("allenai/c4:en")
    (2, None)
    ```
    """
    import pyarrow.parquet as pq

    count = 0
    for _, path in files_of(source) or ():
        try:
            if path.suffix == ".parquet":
                count += pq.read_metadata(path).num_rows
            elif path.suffix in (".gz", ".zst") or path.stat().st_size > LARGE:
                return None
            else:
                with path.open("rb") as file:
                    if file.read(1) == b"[":  # a list's rows are no lines
                        return None
                    file.seek(0)
                    count += sum(1 for line in file if line.strip())
        except (OSError, ValueError):  # damaged: reading it will say so
            return None
    return count or None


def _stem(name: str) -> str:
    kind = max((kind for kind in KINDS if name.endswith(kind)), key=len, default="")
    return name[: len(name) - len(kind)] if kind else name


Row = dict[str, Any] | str
"""A row, or why there is none."""


def _lines(path: Path) -> Iterator[Row]:
    import fsspec

    compression = {".gz": "gzip", ".zst": "zstd"}.get(path.suffix)
    try:
        with fsspec.open(str(path), "rb", compression=compression) as file:
            # Zstandard's reader has no lines of its own.
            lines = io.BufferedReader(file) if compression == "zstd" else file
            first = next(iter(lines), b"")
            if first.removeprefix(b"\xef\xbb\xbf").startswith(b"["):
                whole = first + lines.read()
                try:
                    yield from map(_row, json.loads(whole))
                    return
                except (ValueError, RecursionError):
                    lines = io.BytesIO(whole)  # lines after all, the first of which is a list
            else:
                lines = chain([first], lines)
            for line in lines:
                if not line.strip():
                    continue
                try:
                    yield _row(json.loads(line))
                except UnicodeDecodeError:
                    yield "no valid UTF-8"
                except (ValueError, RecursionError):
                    yield "no JSON"
    # A cut or damaged archive raises whatever its library does (EOFError, zlib.error, ZstdError).
    except Exception as error:
        yield f"{path.name} can not be read from here on: {type(error).__name__}"


def _row(value: Any) -> Row:
    return value if isinstance(value, dict) else {"text": value} if isinstance(value, str) else "no JSON object"


def _parquet(path: Path) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=256):
                yield from batch.to_pylist()
    except (pa.ArrowException, OSError) as error:
        yield f"{path.name} can not be read from here on: {type(error).__name__}"


def _hub(source: str, split: str) -> Iterator[Row]:
    from datasets import load_dataset

    name, _, config = source.partition(":")
    try:
        rows = load_dataset(name, config or None, split=split, streaming=True)
    # The Hub's client and `datasets` raise a dozen kinds.
    except Exception as error:
        words = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise ToolAlpacaError(
            f"{source} is no file and can not be loaded from the Hub ({words}); check --input"
        ) from None
    yield from rows


def _text(id: str, row: Row, text_field: str | None) -> Text:
    if isinstance(row, str):
        return Text(id, "", problem=row)
    fields = (text_field,) if text_field else TEXT_FIELDS
    text = next((row[name] for name in fields if isinstance(row.get(name), str)), None)
    meta: dict[str, Any] = {}
    if isinstance(row.get("url"), str):
        meta["url"] = row["url"]
    if date := next((row[name] for name in DATE_FIELDS if row.get(name)), None):
        meta["date"] = str(date)
    if row.get("id") is not None:
        meta["source_id"] = str(row["id"])
    if text is None:
        named = f"{', '.join(fields[:-1])} or {fields[-1]}" if len(fields) > 1 else fields[0]
        return Text(id, "", meta, f"no text in {named}")
    return Text(id, text, meta)
