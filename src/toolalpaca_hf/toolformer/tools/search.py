"""Search engine: BM25 over the passages of a corpus."""

import json
import re
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from threading import Lock
from typing import Any

from filelock import FileLock

from ...errors import InputError, NotFoundError
from ...storage import disk_errors
from ..rows import digest_of, read_rows, read_text
from .tool import Tool

EMBEDDED = "embedded"
PASSAGE_WORDS = 60  # of the longest passage: a result stays well below a hundred tokens
_SUFFIXES = (".jsonl", ".parquet", ".txt")


class WikiSearch(Tool):
    """The search engine of section 3: the best passage for a query, by BM25 (bm25s).

    A corpus is `.jsonl` or `.parquet` with `text` and perhaps `title`, `.txt`, or a folder of these; `embedded` are a
    few short articles. Its index is kept in `cache_dir`, by default under `HF_HOME`.
    """

    name = "WikiSearch"
    prompt = "wiki_search.txt"

    def __init__(self, corpus: str | Path = EMBEDDED, cache_dir: str | Path | None = None) -> None:
        from huggingface_hub import constants

        self._folder = Path(cache_dir) if cache_dir else Path(constants.HF_HOME) / "toolalpaca_hf" / "search"
        embedded = str(files("toolalpaca_hf.toolformer.tools") / "corpus")
        self._path = Path(embedded if corpus == EMBEDDED else corpus)
        self._digest = f"{digest_of(_files(self._path))}-{PASSAGE_WORDS}"
        self.key = f"WikiSearch {self._digest} 1"
        self._lock = Lock()

    def check(self) -> None:
        """Build or load the index; an [`InputError`] if the corpus cannot be read or has no text."""
        with self._lock:
            _ = self._loaded

    def __call__(self, text: str) -> str | None:
        """The passage that matches a query best, or `None`."""
        self.check()
        words, (index, texts) = _words(text), self._loaded
        found = index.retrieve([words], k=1, show_progress=False) if words else None
        return texts[found.documents[0][0]] if found and found.scores[0][0] > 0 else None

    @cached_property
    def _loaded(self) -> tuple[Any, list[str]]:
        import bm25s

        folder = self._folder / self._digest
        # Written to a temporary name and renamed, so that an existing index is complete.
        with ExitStack() as stack:
            stack.enter_context(disk_errors(self._folder, "free space or point HF_HOME elsewhere"))
            self._folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(FileLock(self._folder / f"{self._digest}.lock"))
            if not folder.is_dir():
                passages = [passage for document in _documents(self._path) for passage in split_passages(*document)]
                if not any(map(_words, passages)):
                    raise InputError("holds no text", file=self._path, fix="pass a corpus with the column `text`")
                index = bm25s.BM25()
                index.index([_words(passage) for passage in passages], show_progress=False)
                with tempfile.TemporaryDirectory(dir=self._folder, ignore_cleanup_errors=True) as scratch:
                    index.save(scratch, show_progress=False)
                    lines = "".join(json.dumps(passage, ensure_ascii=False) + "\n" for passage in passages)
                    Path(scratch, "passages.jsonl").write_text(lines, encoding="utf-8", errors="replace")
                    Path(scratch).rename(folder)
        with (folder / "passages.jsonl").open(encoding="utf-8") as lines:
            return bm25s.BM25.load(folder, mmap=True, show_progress=False), [json.loads(line) for line in lines]


def split_passages(title: str, text: str, words: int = PASSAGE_WORDS) -> Iterator[str]:
    """Split a text into passages, at sentence boundaries if possible, each prefixed with its title."""
    passage: list[str] = []
    head = f"{title}: " if title else ""
    for sentence in re.split(r"(?<=[.!?])\s+|\n+", text):
        rest = sentence.split()
        while rest:
            if passage and len(rest) > words - len(passage):
                yield head + " ".join(passage)
                passage = []
            passage, rest = passage + rest[:words], rest[words:]
    if passage:
        yield head + " ".join(passage)


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def _files(path: Path) -> list[Path]:
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    if found := [file for file in files if file.suffix in _SUFFIXES and file.is_file()]:
        return found
    raise NotFoundError(
        "no corpus to search", file=path, fix=f"pass a {', '.join(_SUFFIXES)} file or a folder of them"
    )


def _documents(path: Path) -> Iterator[tuple[str, str]]:
    """Title and text of each document; rows without text are skipped."""
    for file in _files(path):
        if file.suffix == ".txt":
            title, _, text = read_text(file).partition("\n")
            yield (title.strip(), text) if text.strip() else ("", title)  # of one line
        for row in read_rows(file) if file.suffix != ".txt" else ():
            if isinstance(row, dict) and isinstance(text := row.get("text"), str) and text.strip():
                yield row["title"] if isinstance(row.get("title"), str) else "", text
