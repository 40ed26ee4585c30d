"""The folder a command writes: what may be in it, with which settings it goes on, and what a Ctrl-C leaves."""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import InterruptedRunError, OptionError, SettingsMismatchError
from .files import StorageError, file_lock, read_json, write_json

# What folders of others hold as well: it says of none that a command wrote it.
COMMON = "metrics.json report.md report.html report.json curve.svg train_data.json logs".split()
COMMON += "corpus data dataset before model after".split()


def differences(before: Any, now: Any, name: str = "") -> dict[str, tuple[Any, Any]]:
    """In which fields two settings (nested mappings) differ; `name` stands before their fields' names.

    Example:

    ```python
    >>> differences({"model": "a", "limits": {"steps": 10}}, {"model": "a", "limits": {"steps": 12}})
    {'limits.steps': (10, 12)}
    ```
    """
    if before == now:
        return {}
    if isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        before, now = dict(enumerate(before)), dict(enumerate(now))
    if not (isinstance(before, Mapping) and isinstance(now, Mapping)):
        return {name: (before, now)}
    found: dict[str, tuple[Any, Any]] = {}
    for key in {**before, **now}:
        there = (before.get(key), now.get(key))
        field = f"{name}.{key}".lstrip(".")
        # A setting that was not there yet is not one of None.
        found |= differences(*there, field) or ({} if key in before and key in now else {field: there})
    return found


def check_settings(folder: str | Path, holds: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Refuse to go on with a folder made with other settings: a [`SettingsMismatchError`] names each field."""
    if found := differences(before, now):
        raise SettingsMismatchError(folder, holds, found)


def claim_settings(
    path: str | Path, settings: Mapping[str, Any], holds: str, made: str | Path | None = None, **more: Any
) -> None:
    """Let only a run with the same settings go on: they are in a JSON file, which is written where there is none.

    Args:
        holds (`str`), made (`str` or `Path`, *optional*): For the error: what was made, and where if elsewhere.
        more (*optional*): What else is noted in the file, and may differ.

    Raises [`SettingsMismatchError`] or [`InputError`] if the settings are others, or cannot be read.

    Example:

    ```python
    >>> claim_settings("runs/x/settings.json", {"limit": 1}, "a run")
    >>> claim_settings("runs/x/settings.json", {"limit": 1}, "a run")  # goes on; with 2 it would not
    ```
    """
    now: dict[str, Any] = json.loads(json.dumps(settings))
    if not Path(path).exists():
        return write_json(path, now | more)
    known = {name: value for name, value in read_json(path, "pass another --out", dict).items() if name in now}
    check_settings(made or Path(path).parent, holds, known, now)


def check_output_folder(out: Path, kind: str, own: Sequence[str], overwrite: bool = False) -> None:
    """Refuse a folder that holds other data than a command writes there (`kind`, by the patterns `own`).

    Names in [`COMMON`] alone do not make it the command's. With `overwrite`, only files of `own` are removed.

    Raises:
        [`OptionError`]: It holds other data, or is a file.
        [`StorageError`]: It cannot be used, or another run is to be overwritten while it works.
    """
    try:
        if not out.exists():
            file = next((place for place in out.parents if place.exists() and not place.is_dir()), None)
            if file:
                raise OptionError(f"{out} cannot be made: {file} is a file", option="--out", fix="pass another")
            return
        if not out.is_dir():
            raise OptionError(f"{out} is a file", option="--out", fix="pass a folder")
        present = [path.name for path in sorted(out.iterdir()) if not path.name.startswith(".")]
        mine = [path for pattern in own for path in out.glob(pattern)]
        mine = mine if {path.name for path in mine}.difference(COMMON) else []
        if present and not mine and not overwrite:
            names = ", ".join(present[:3]) + (", ..." if len(present) > 3 else "")
            problem = f"{out} holds other data ({names}), not {kind}"
            raise OptionError(problem, option="--out", fix="pass another, or --overwrite to write there")
        for lock in out.rglob(".*lock") if overwrite and mine else ():
            with file_lock(lock, out):  # what another run works on is not removed
                pass
        for path in mine if overwrite else ():
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    except OSError as error:
        raise StorageError(f"cannot be used ({error.strerror or error})", file=out, fix="pass another --out") from None


@contextmanager
def interruptible(kept: Callable[[], str]) -> Iterator[None]:
    """Where the `with` block is stopped by Ctrl-C, an [`InterruptedRunError`] says what is kept, and how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        raise InterruptedRunError(f"interrupted: {kept()}") from None
