"""The files of one task of an annotation, whole at every moment, and a look at those of all tasks."""

import json
import os
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from tqdm.auto import tqdm

from ...agent.json_lines import claimed
from ...errors import ToolAlpacaError
from .annotator import Annotated, candidate_row


class Share:
    """The files of one task: a line for each text in `annotated-RANK.jsonl`, and in `candidates-RANK.jsonl` where they are kept.

    Args:
        out (`Path`): The folder.
        rank (`int`): Of the task.
        candidates (`bool`): Whether candidates are kept.

    Attributes:
        done (`int`): How many texts were finished before, once it is entered.

    Raises:
        [`ToolAlpacaError`]: Nothing can be written, or another run writes there.
    """

    def __init__(self, out: Path, rank: int, candidates: bool) -> None:
        self.path = out / f"annotated-{rank:05d}.jsonl"
        self.beside = out / f"candidates-{rank:05d}.jsonl" if candidates else None

    def __enter__(self) -> "Share":
        with ExitStack() as stack:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                # Before anything is cut off: the end of a line may be on its way.
                stack.enter_context(claimed(self.path, self.path.with_name(f".{self.path.name}.lock")))
                self.done = _keep_whole_lines(self.path)
                if self.beside:
                    # A text's candidates are written before its row, so there may be more of them.
                    _keep_whole_lines(self.beside, self.done)
                self._files = [stack.enter_context(path.open("ab")) for path in (self.beside, self.path) if path]
            except OSError as error:
                raise ToolAlpacaError(f"{self.path.parent} can not be written ({error.strerror or error})") from None
            self._open = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def add(self, results: Sequence[Annotated]) -> None:
        """Write what came of some texts; it is on disk when this returns."""
        rows = [one.row for one in results]
        beside = [{"id": one.row["id"], "candidates": [candidate_row(c) for c in one.candidates]} for one in results]
        for file, lines in zip(self._files, (beside, rows) if self.beside else (rows,), strict=True):
            # What has no UTF-8 (half a surrogate pair) is replaced.
            text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
            try:
                file.write(text.encode("utf-8", "replace"))
                file.flush()
                os.fsync(file.fileno())
            except OSError as error:
                raise ToolAlpacaError(
                    f"{self.path.parent} can not be written ({error.strerror or error}); make room, and run it again"
                ) from None


def _keep_whole_lines(path: Path, most: int | None = None) -> int:
    """Remove what a kill cut off at the end of a file, or what is behind so many lines; returns how many are left."""
    if not path.exists():
        return 0
    count = keep = 0
    with path.open("rb") as file:
        for line in file:
            if not line.endswith(b"\n") or count == most:
                break
            count, keep = count + 1, keep + len(line)
    os.truncate(path, keep)
    return count


class Watching:
    """A progress bar of what the tasks, wherever they are, have on disk.

    Args:
        out (`Path`): The folder.
        progress (`bool`): Whether there is one at all.
        total (`int`, *optional*): How many texts there will be.
    """

    def __init__(self, out: Path, progress: bool, total: int | None = None) -> None:
        self.out, self.progress, self.total, self.done = out, progress, total, threading.Event()

    def __enter__(self) -> None:
        if self.progress:
            self._thread = threading.Thread(target=self._watch, daemon=True)
            self._thread.start()

    def __exit__(self, *_: object) -> None:
        self.done.set()
        if self.progress:
            self._thread.join()

    def _watch(self) -> None:
        # The tasks of this process have its stderr turned into their log.
        stream = os.fdopen(os.dup(2), "w")
        read: dict[Path, tuple[int, int]] = {}
        with stream, tqdm(total=self.total, unit=" texts", file=stream) as bar:
            first = True
            while True:
                last = self.done.wait(0.0 if first else 1.0)
                for path in self.out.glob("annotated-*.jsonl"):
                    at, lines = read.get(path, (0, 0))
                    with path.open("rb") as file:
                        file.seek(at)
                        while piece := file.read(1 << 20):
                            lines += piece.count(b"\n")
                        read[path] = (file.tell(), lines)
                total = sum(lines for _, lines in read.values())
                if first:
                    bar.initial = bar.n = total
                    first = False
                bar.update(total - bar.n)
                if last:
                    return
