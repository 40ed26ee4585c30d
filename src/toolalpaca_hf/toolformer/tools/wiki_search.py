"""Search for passages with BM25, in a corpus that the user names."""

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from threading import Lock
from typing import Any

from filelock import FileLock

from ...errors import ToolAlpacaError
from .base import Tool

EMBEDDED = "embedded"
WORDS = 60
"""Of a passage: a result stays well below a hundred tokens."""


class WikiSearch(Tool):
    """The search engine of section 3: the best passage for a query, by BM25 (bm25s).

    The index is built once and kept in `cache_dir`, under a name that the corpus' content decides.

    Args:
        corpus (`str` or `Path`, *optional*, defaults to `"embedded"`): A `.jsonl` or `.parquet` file with the column
            `text` and perhaps `title`, a `.txt` file, or a folder of such files; `embedded` for a few short articles.
        passages (`int`, *optional*, defaults to 1): How many passages make a result.
        cache_dir (`str` or `Path`, *optional*): Defaults to a folder under `HF_HOME`.

    Raises:
        [`ToolAlpacaError`]: There is no such corpus, or it holds no text.

    Example:

    ```python
    >>> WikiSearch(cache_dir="index")("longest river of Africa").startswith("Nile: ")
    True
    ```
    """

    name = "WikiSearch"
    prompt = "wiki_search.txt"

    def __init__(self, corpus: str | Path = EMBEDDED, passages: int = 1, cache_dir: str | Path | None = None) -> None:
        from huggingface_hub import constants

        self._passages = passages
        self._folder = Path(cache_dir) if cache_dir else Path(constants.HF_HOME) / "toolalpaca_hf" / "search"
        self._path = (
            Path(str(files("toolalpaca_hf.toolformer.tools") / "corpus")) if corpus == EMBEDDED else Path(corpus)
        )
        self._digest = _digest(self._path)
        self.key = f"WikiSearch {self._digest} {passages}"
        self._index: Any = None
        self._texts: list[str] = []
        self._lock = Lock()

    def check(self) -> None:
        """Build or load the index now."""
        with self._lock:
            if self._index is None:
                self._load()

    def __call__(self, text: str) -> str | None:
        """The passages that share most with a query, best first; `None` where nothing does."""
        self.check()
        words = _words(text)
        if not words:
            return None
        found = self._index.retrieve([words], k=min(self._passages, len(self._texts)), show_progress=False)
        best = [self._texts[i] for i, score in zip(found.documents[0], found.scores[0], strict=True) if score > 0]
        return " ".join(best) or None

    def _load(self) -> None:
        try:
            import bm25s
        except ModuleNotFoundError:
            raise ToolAlpacaError("searching needs bm25s; run `pip install 'toolalpaca-hf[toolformer]'`") from None
        folder = self._folder / self._digest
        self._folder.mkdir(parents=True, exist_ok=True)
        # Written beside and renamed: an index that is there is whole.
        with FileLock(self._folder / f"{self._digest}.lock"):
            if not folder.is_dir():
                passages = [one for title, text in read_corpus(self._path) for one in passages_of(title, text)]
                if not passages:
                    raise ToolAlpacaError(f"{self._path} holds no text; pass a corpus with the column `text`")
                index = bm25s.BM25()
                index.index([_words(one) for one in passages], show_progress=False)
                scratch = Path(tempfile.mkdtemp(dir=self._folder))
                try:
                    index.save(scratch, show_progress=False)
                    lines = "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in passages)
                    (scratch / "passages.jsonl").write_text(lines, encoding="utf-8", errors="replace")
                    scratch.rename(folder)
                finally:
                    shutil.rmtree(scratch, ignore_errors=True)
        self._index = bm25s.BM25.load(folder, mmap=True, show_progress=False)
        with (folder / "passages.jsonl").open(encoding="utf-8") as lines:
            self._texts = [json.loads(line) for line in lines]


def read_corpus(path: Path) -> Iterator[tuple[str, str]]:
    """Title and text of each document of a file or folder; rows without text are left out.

    Raises:
        [`ToolAlpacaError`]: A file can not be read.
    """
    for file in _files(path):
        try:
            if file.suffix == ".txt":
                title, _, text = file.read_text(encoding="utf-8", errors="replace").partition("\n")
                yield title.strip(), text
            elif file.suffix == ".parquet":
                import pyarrow.parquet as pq

                table = pq.ParquetFile(file)
                columns = [name for name in ("title", "text") if name in table.schema_arrow.names]
                rows = (row for batch in table.iter_batches(columns=columns) for row in batch.to_pylist())
                yield from filter(None, map(_document, rows))
            else:
                with file.open(encoding="utf-8", errors="replace") as lines:
                    yield from filter(None, map(_document, _rows(lines)))
        except (OSError, ValueError) as error:
            reason = " ".join(str(error).split())[:200]
            raise ToolAlpacaError(f"{file} can not be read ({reason}); pass JSONL, Parquet or text") from None


def passages_of(title: str, text: str, words: int = WORDS) -> Iterator[str]:
    """Cut a text into passages of whole sentences, each behind its title.

    Example:

    ```python
    >>> list(passages_of("Nile", "It is long. It is in Africa.", words=4))
    ['Nile: It is long.', 'Nile: It is in Africa.']
    ```
    """
    kept: list[str] = []
    head = f"{title}: " if title else ""
    for sentence in re.split(r"(?<=[.!?])\s+|\n+", text):
        found = sentence.split()
        while found:
            room = words - len(kept)
            if kept and len(found) > room:
                yield head + " ".join(kept)
                kept = []
                continue
            kept, found = kept + found[:words], found[words:]
    if kept:
        yield head + " ".join(kept)


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def _files(path: Path) -> list[Path]:
    kinds = (".jsonl", ".parquet", ".txt")
    found = sorted(p for p in path.rglob("*") if p.suffix in kinds) if path.is_dir() else [path]
    if not found or not found[0].is_file() or found[0].suffix not in kinds:
        raise ToolAlpacaError(
            f"{path} is no corpus to search; pass a .jsonl, .parquet or .txt file, or a folder of them"
        )
    return found


def _digest(path: Path) -> str:
    """What tells a changed corpus: names, sizes and times of its files."""
    digest = hashlib.blake2b(str(WORDS).encode(), digest_size=12)
    for file in _files(path):
        stat = os.stat(file)
        digest.update(f"{file.resolve()}\0{stat.st_size}\0{stat.st_mtime_ns}\0".encode("utf-8", "replace"))
    return digest.hexdigest()


def _rows(lines: Iterator[str]) -> Iterator[Any]:
    for line in lines:
        try:
            yield json.loads(line)
        except (ValueError, RecursionError):
            continue  # one bad row never costs the others


def _document(row: Any) -> tuple[str, str] | None:
    text = row.get("text") if isinstance(row, dict) else None
    title = row.get("title") if isinstance(row, dict) else None
    return (title if isinstance(title, str) else "", text) if isinstance(text, str) and text.strip() else None
