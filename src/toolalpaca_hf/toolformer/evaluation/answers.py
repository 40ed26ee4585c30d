"""A file of answers that grows by a line with each, and that only a run with the same settings goes on with."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ...errors import ToolAlpacaError


class Answers:
    """Records of one model on one task, by id, on disk before [`Answers.add`] returns.

    Args:
        path (`Path`): A `.jsonl` file; its settings stand beside it in `NAME.settings.json`.
        settings (`Mapping`): What decides the answers.

    Raises:
        [`ToolAlpacaError`]: The file was made with other settings, is in use, or can not be written.

    Example:

    ```python
    >>> with Answers(Path("svamp.jsonl"), {"model": "outputs/x"}).opened() as answers:  # doctest: +SKIP
    ...     answers.add([{"id": "svamp/0", "right": True}])
    ```
    """

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        self.path, self.settings = path, json.loads(json.dumps(settings))
        self.records: dict[str, dict[str, Any]] = {}

    @contextmanager
    def opened(self) -> Iterator["Answers"]:
        """Read what is there, and keep others out while the `with` block lasts."""
        with self._writing():
            self.path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.path.with_name(f".{self.path.name}.lock"))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise ToolAlpacaError(f"another run writes {self.path}; wait for it, or pass another --out") from None
        try:
            self._compare_settings()
            self._read()
            with self._writing():
                self._file = self.path.open("ab", buffering=0)
            with self._file:
                yield self
        finally:
            lock.release()

    def add(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Keep records, each with an `id`."""
        with self._writing():
            text = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
            rest = memoryview(text.encode("utf-8", "replace"))
            while rest:
                rest = rest[self._file.write(rest) :]
            os.fsync(self._file.fileno())
        self.records.update({record["id"]: dict(record) for record in records})

    def _compare_settings(self) -> None:
        path = self.path.with_suffix(".settings.json")
        try:
            before = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            before = None
        except (OSError, ValueError):
            raise ToolAlpacaError(f"{path} can not be read; pass another --out") from None
        if before is None:
            with self._writing():
                part = path.with_name(f".{path.name}.part")
                part.write_text(json.dumps(self.settings, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
                part.replace(path)
        elif before != self.settings:
            differing = [name for name in {**before, **self.settings} if before.get(name) != self.settings.get(name)]
            told = "; ".join(f"{name} {before.get(name)!r}, now {self.settings.get(name)!r}" for name in differing)
            raise ToolAlpacaError(
                f"{self.path} holds answers made with other settings ({told}); pass the same ones, or another --out"
            )

    def _read(self) -> None:
        if not self.path.exists():
            return
        content = self.path.read_bytes()
        whole = content.rfind(b"\n") + 1
        for number, line in enumerate(content[:whole].splitlines(), 1):
            try:
                record = json.loads(line)
                self.records[record["id"]] = record
            except (ValueError, KeyError, TypeError):
                raise ToolAlpacaError(
                    f"line {number} of {self.path} can not be read; remove the line, and it is made again"
                ) from None
        if whole < len(content):  # cut off by a kill or a full disk
            with self._writing(), self.path.open("r+b") as file:
                file.truncate(whole)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise ToolAlpacaError(
                f"{self.path} can not be written ({error.strerror or error}); what is finished is kept: make room, or mend "
                "its permissions, and run the same command again"
            ) from None
