"""Files that are whole or what they were before, locks between runs, and errors of a disk."""

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import InputError, NotFoundError, ToolAlpacaError


class StorageError(ToolAlpacaError):
    """A file or folder cannot be used: no room, no permission, damaged; `file` names it."""


class FileInUseError(StorageError):
    """Another run writes to the file or folder."""


@contextmanager
def disk_errors(
    path: str | Path, fix: str = "free space, fix its permissions, or pass another --out"
) -> Iterator[None]:
    """Turn an `OSError` inside the `with` block into a [`StorageError`] that names `path` and says what to do."""
    try:
        yield
    except OSError as error:
        problem = f"cannot be written ({error.strerror or error}); what is finished is kept"
        raise StorageError(problem, file=path, fix=fix) from None


@contextmanager
def file_lock(lock: str | Path, path: str | Path | None = None) -> Iterator[None]:
    """Keep other runs out while the `with` block lasts, by a `lock` file that stands for `path`; where another run has
    it, raise [`FileInUseError`]."""
    from filelock import FileLock, Timeout  # 0.1 s to import

    held = FileLock(lock)
    with disk_errors(path or lock):
        try:
            held.acquire(timeout=0)
        except Timeout:  # an OSError, too
            fix = "wait, or pass another --out"
            raise FileInUseError("another run writes to it", file=path or lock, fix=fix) from None
    try:
        yield
    finally:
        held.release()


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """A path to write to, which takes the place of `path` at the end of the `with` block, or vanishes with an error.

    The folder is made where there is none.

    Example:

    ```python
    >>> with atomic_path("rows.txt") as part:
    ...     _ = part.write_text("whole")
    >>> Path("rows.txt").read_text()
    'whole'
    ```
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_native_id()}.part")
    try:
        yield part
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def atomic_write(path: str | Path, content: str | bytes) -> None:
    """Write a file so that it is whole or what it was before, also after a crash of the machine.

    The folder is made where there is none. Text is written as UTF-8; half a surrogate pair is replaced. Where that
    fails, a [`StorageError`] says so.
    """
    with disk_errors(path), atomic_path(path) as part, part.open("wb") as file:
        file.write(content if isinstance(content, bytes) else content.encode("utf-8", "replace"))
        file.flush()
        os.fsync(file.fileno())  # else a crash of the machine can leave the name without the content


def write_json(path: str | Path, value: Any, indent: int | None = 1) -> None:
    """Write a value as JSON with [`atomic_write`]."""
    atomic_write(path, json.dumps(value, ensure_ascii=False, indent=indent) + "\n")


def strict_json(text: str | bytes) -> Any:
    """Parse JSON; `NaN` and infinities, which JSON does not have, are a `ValueError`."""

    def refuse(name: str) -> None:
        raise ValueError(f"{name} is not JSON")

    return json.loads(text, parse_constant=refuse)


def read_json(path: str | Path, fix: str = "remove it, and it is made again") -> Any:
    """Read a file of JSON: a [`NotFoundError`] without it, an [`InputError`] if it cannot be read or is not JSON."""
    try:
        return json.loads(Path(path).read_bytes())
    except FileNotFoundError:
        raise NotFoundError("no such file", file=path) from None
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror or error})", file=path, fix=fix) from None
    except (ValueError, RecursionError):
        raise InputError("is not JSON", file=path, fix=fix) from None
