"""Files that are whole or what they were before, logs that grow by a row, locks, and errors of a disk."""

import atexit
import json
import math
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from io import FileIO
from itertools import chain
from pathlib import Path
from typing import Any

from ..errors import InputError, NotFoundError, ToolAlpacaError

Row = dict[str, Any]


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
def file_lock(lock: str | Path, path: str | Path | None = None, option: str = "--out") -> Iterator[None]:
    """Keep other runs out in the `with` block, by a `lock` file for `path`; if one has it, a [`FileInUseError`]."""
    from filelock import FileLock, Timeout  # 0.1 s to import

    with disk_errors(path or lock):
        try:
            held = FileLock(lock).acquire(timeout=0)
        except Timeout:  # an OSError, too
            fix = f"wait, or pass another {option}"
            raise FileInUseError("another run writes to it", file=path or lock, fix=fix) from None
    with held:
        yield


@cache
def hold_folder(folder: Path, option: str) -> None:
    """Keep other runs out of a folder until this process ends, which may ask for it again; raises as [`file_lock`]."""
    held = file_lock(folder / ".lock", folder, option)
    held.__enter__()
    atexit.register(held.__exit__, None, None, None)


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


def atomic_write(path: str | Path, content: str | bytes | Iterable[str]) -> None:
    """Write a file, and its folder, so that it is whole or what it was before, also after a crash of the machine.

    Text, whole or in pieces, is written as UTF-8; half a surrogate pair is replaced. Where that fails, a
    [`StorageError`] says so.
    """
    with disk_errors(path), atomic_path(path) as part, part.open("wb") as file:
        for piece in (content,) if isinstance(content, str | bytes) else content:
            file.write(piece if isinstance(piece, bytes) else piece.encode("utf-8", "replace"))
        file.flush()
        os.fsync(file.fileno())  # else a crash of the machine can leave the name without the content


def write_json(path: str | Path, value: Any, indent: int | None = 1) -> None:
    """Write a value as JSON with [`atomic_write`]."""
    encoder = json.JSONEncoder(ensure_ascii=False, indent=indent)
    atomic_write(path, chain([encoder.encode(value)] if indent is None else encoder.iterencode(value), "\n"))


class Streamed(list[Any]):
    """A list for [`write_json`], with an `indent`, whose items are made while it is written."""

    def __init__(self, items: Callable[[], Iterator[Any]]) -> None:
        self._items = items

    def __bool__(self) -> bool:
        return next(iter(self), self) is not self

    def __iter__(self) -> Iterator[Any]:
        return self._items()


def unambiguous(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An `object_pairs_hook` for JSON: a `ValueError` for a name with two values."""
    # JSON leaves open which value of a repeated name counts, so two readers would make two calls of it.
    value: dict[str, Any] = {}
    for name, item in pairs:
        # Python has True == 1, JSON does not.
        if name in value and (value[name] != item or isinstance(value[name], bool) != isinstance(item, bool)):
            raise ValueError(f"`{name}` has two values")
        value[name] = item
    return value


def finite(digits: str) -> float:
    """A `parse_float` and `parse_constant` for JSON, which has neither `NaN` nor infinities: a `ValueError`."""
    if not math.isfinite(float(digits)):
        raise ValueError(f"{digits} is not a JSON number")
    return float(digits)


STRICT_JSON = json.JSONDecoder(parse_float=finite, parse_constant=finite, object_pairs_hook=unambiguous)


def strict_json(text: str | bytes) -> Any:
    """Parse JSON; a number that is not [`finite`] is a `ValueError`."""
    return json.loads(text, parse_constant=finite)


DEEPEST = 100  # levels: what is nested deeper is no data, and code that follows it would run out of stack


def too_deep(value: Any) -> bool:
    """Whether a JSON value is nested deeper than [`DEEPEST`]."""
    level = [value]
    for _ in range(DEEPEST):
        nested = (one.values() if isinstance(one, dict) else one for one in level if isinstance(one, dict | list))
        level = [part for parts in nested for part in parts]
    return bool(level)


def read_text(path: str | Path, fix: str | None = None) -> str:
    """Read a file of UTF-8: a [`NotFoundError`] without it, an [`InputError`] if it cannot be read."""
    try:
        return Path(path).read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise NotFoundError("no such file", file=path, fix=fix) from None
    except UnicodeDecodeError:
        raise InputError("is not UTF-8 text", file=path, fix=fix) from None
    except IsADirectoryError:
        raise InputError("is a folder", file=path, fix="pass a file of it") from None
    except (OSError, ValueError) as error:  # a ValueError: the name has a null character
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"cannot be read ({reason})", file=path, fix=fix) from None


def read_json(path: str | Path, fix: str | None = None, kind: type | None = None) -> Any:
    """Read a file of JSON as [`read_text`] does; an [`InputError`] also if it is not JSON, or no `dict` or `list`."""
    try:
        found = json.loads(read_text(path, fix))
    except (ValueError, RecursionError):
        raise InputError("is not JSON", file=path, fix=fix or "remove it, and it is made again") from None
    if kind and not isinstance(found, kind):
        raise InputError("no list" if kind is list else "no object", file=path, fix=fix)
    return found


LONGEST_YAML = 500_000  # characters of settings: a second or two


def read_yaml(path: str | Path, fix: str) -> dict[str, Any]:
    """Read a YAML file of names with values as [`read_text`] does; an [`InputError`] also if it is none."""
    import yaml

    if (text := read_text(path, fix)) and len(text) > LONGEST_YAML:
        raise InputError(f"has {len(text):,} characters, and may have {LONGEST_YAML:,}", file=path, fix=fix)
    try:
        found = yaml.safe_load(text)
        json.dumps(found, default=str)  # has keys that are dates, or a node inside itself
    except (yaml.YAMLError, ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise InputError(f"is not YAML: {' '.join(str(error).split())[:200]}", file=path, fix=fix) from None
    if found is not None and not isinstance(found, dict):
        raise InputError(f"holds {str(found)[:60]!r}, where names with values are expected", file=path, fix=fix)
    return found or {}


class JsonlLog:
    """Rows of JSON by a key, in a file that grows with each; the last row of a key counts.

    On entering, other runs are kept out and the end of a line that a kill cut off is removed. Only where each row
    lies is kept in memory, so `rows` can be read in the `with` block.

    Args:
        key (`str`, *optional*, defaults to `"id"`): The field that `rows` are found by; `None` only counts them.
        skip_damaged (`bool`, *optional*, defaults to `False`): Pass over whole lines that cannot be read.
        limit (`int`, *optional*): Remove what is behind so many lines.
        seen (`Callable`, *optional*): Called with each row, one that was there or is added, and the row that it
            replaces or `None`.

    Raises:
        [`FileInUseError`], [`InputError`]: On entering: another run has it; the line `row` is not JSON with `key`.
        [`StorageError`]: It cannot be written.

    Example:

    ```python
    >>> with JsonlLog("rollouts.jsonl") as log:
    ...     log.append({"id": "eval_real/tides/0", "ended": "answered"})
    ...     sorted(log.rows)
    ['eval_real/tides/0']
    ```
    """

    def __init__(
        self,
        path: str | Path,
        key: str | None = "id",
        *,
        skip_damaged: bool = False,
        limit: int | None = None,
        seen: Callable[[Row, Row | None], None] = lambda row, earlier: None,
    ) -> None:
        self.path, self.key, self.skip_damaged, self.limit = Path(path), key, skip_damaged, limit
        self.rows: Mapping[str, Row] = {}
        self.count = 0  # of lines that were there on entering
        self._seen, self._writing = seen, threading.Lock()

    def __enter__(self) -> "JsonlLog":
        with ExitStack() as stack:
            with disk_errors(self.path):
                self.path.parent.mkdir(parents=True, exist_ok=True)
            # Before anything is cut off: the end of a line may be on its way.
            stack.enter_context(file_lock(self.path.with_name(f".{self.path.name}.lock"), self.path))
            with disk_errors(self.path):
                # Without a buffer: one that could not be written would be tried again on closing.
                self._file = stack.enter_context(self.path.open("a+b", buffering=0))
                self.rows = self._places = _Rows(self._file)
                self._read()
            self._held = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()

    def append(self, *rows: Mapping[str, Any]) -> None:
        """Add rows, on disk before this returns; where they cannot be written, none of them is kept.

        May be called by several threads. What has no UTF-8 (half a surrogate pair) is replaced.
        """
        lines = [(json.dumps(row, ensure_ascii=False) + "\n").encode("utf-8", "replace") for row in rows]
        rest = memoryview(b"".join(lines))
        with self._writing, disk_errors(self.path):
            place = before = os.fstat(self._file.fileno()).st_size
            try:
                while rest:
                    rest = rest[self._file.write(rest) :]
                os.fsync(self._file.fileno())
            except OSError:
                with suppress(OSError):
                    self._file.truncate(before)
                raise
            for row, line in zip(rows, lines, strict=True):
                self._keep(dict(row), place, len(line))
                place += len(line)

    def _keep(self, row: Row, place: int, size: int) -> None:
        if self.key:
            earlier = self.rows.get(row[self.key])
            self._places.add(row[self.key], place, size)
            self._seen(row, earlier)

    def _read(self) -> None:
        self.count, whole = 0, 0
        with self.path.open("rb") as file:
            for line in file:
                if not line.endswith(b"\n") or self.count == self.limit:
                    break
                self.count += 1
                try:
                    self._keep(json.loads(line) if self.key else {}, whole, len(line))
                except (ValueError, KeyError, TypeError, RecursionError):
                    if not self.skip_damaged:
                        problem = f"is not JSON with the field {self.key!r}"
                        raise InputError(problem, file=self.path, row=self.count, fix="remove the line") from None
                whole += len(line)
        if whole < self.path.stat().st_size:
            os.truncate(self.path, whole)


class _Rows(Mapping[str, Row]):
    """Rows in an open file, by key."""

    def __init__(self, file: FileIO) -> None:
        self._file, self._places = file, dict[str, int]()

    def add(self, key: str, place: int, size: int) -> None:
        self._places[key] = place << 32 | size  # a number takes a third of the memory of a pair

    def __getitem__(self, key: str) -> Row:
        place, size = divmod(self._places[key], 1 << 32)
        return json.loads(os.pread(self._file.fileno(), size, place))

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


def intact_rows(path: str | Path) -> Iterator[dict[str, Any]]:
    """Rows of JSON lines that another run may be writing: what is no whole object, or no file, is passed over."""
    with suppress(FileNotFoundError), Path(path).open("rb") as file:
        for line in file:
            with suppress(ValueError, RecursionError):
                if isinstance(row := json.loads(line), dict):
                    yield row
