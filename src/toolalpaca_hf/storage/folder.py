"""The folder a command writes: what may be in it, with which settings it goes on, and what a Ctrl-C leaves."""

import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import InterruptedRunError, OptionError, SettingsMismatchError
from .files import disk_errors, file_lock, read_json, write_json

# What folders of others hold as well: it says of none that a command wrote it.
COMMON = "metrics.json report.md report.html report.json curve.svg train_data.json model_index.json".split()
CLAIMS = ("config.json", "create.json", "entries.json", "run.json", "settings.json")  # written before anything is made
COMMON += ["config.json", "settings.json"]
_VERSION = b'"toolalpaca_hf":'


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


@contextmanager
def output_folder(out: Path, kind: str, own: Sequence[str], overwrite: bool = False) -> Iterator[None]:
    """Refuse a folder that holds other data than a command writes there (`kind`, by the patterns `own`).

    A folder that only has names of [`COMMON`] counts as other data. With `overwrite`, the files that match `own` are
    moved aside. They are restored if the `with` block makes nothing, and deleted otherwise.

    Raises:
        [`OptionError`]: It holds other data, or is a file.
        [`StorageError`]: It cannot be used, or another run is to be overwritten while it works.
    """
    lock, aside = out / ".replaced.lock", out / ".replaced"
    with disk_errors(out, "pass another --out"):
        if aside.is_dir():  # an earlier call was killed
            with file_lock(lock, out):
                _settle(aside)
        mine = _own_files(out, kind, own, overwrite)
    if not (overwrite and mine):
        yield
        return
    for other in out.rglob(".*lock"):
        with file_lock(other, out):  # what another run works on is not removed
            pass
    with file_lock(lock, out):
        try:
            with disk_errors(out):
                write_json(aside / "own.json", list(own))  # another command may come after a kill
                _move(mine, out, aside / "moving")
                (aside / "moving").rename(aside / "old")
            yield
        finally:
            with disk_errors(out):
                _settle(aside)


def _own_files(out: Path, kind: str, own: Sequence[str], overwrite: bool) -> list[Path]:
    """What a command wrote into a folder; other data is refused, also with `overwrite` where names are the same."""
    if not out.exists():
        file = next((place for place in out.parents if place.exists() and not place.is_dir()), None)
        if file:
            raise OptionError(f"{out} cannot be made: {file} is a file", option="--out", fix="pass another")
        return []
    if not out.is_dir():
        raise OptionError(f"{out} is a file", option="--out", fix="pass a folder")
    present = [path.name for path in sorted(out.iterdir()) if not path.name.startswith(".") and _holds(path)]
    found = [path for pattern in own for path in out.glob(pattern)]
    # The settings that [`claim_settings`] wrote before a kill, or anything that only the command makes.
    claimed = [path for path in found if path.name in CLAIMS and path.is_file() and _VERSION in path.read_bytes()]
    if claimed or any(path.is_file() and path.name not in COMMON for path in found):
        return found
    if present and ((same := any(map(_holds, found))) or not overwrite):
        names = ", ".join(present[:3]) + (", ..." if len(present) > 3 else "")
        fix = "pass another" if same else "pass another, or --overwrite to write there"
        raise OptionError(f"{out} holds other data ({names}), not {kind}", option="--out", fix=fix)
    return []


def _holds(path: Path) -> bool:
    """Whether a path is more than folders that a kill left without a file."""
    return not path.is_dir() or any(each.is_file() and each.name[0] != "." for each in path.rglob("*"))


def _move(paths: Iterable[Path], start: Path, end: Path) -> None:
    for path in filter(os.path.lexists, sorted(paths)):  # what is in a folder goes with it
        (place := end / path.relative_to(start)).parent.mkdir(parents=True, exist_ok=True)
        path.replace(place)


def _settle(aside: Path) -> None:
    """Put back what was set aside, unless more than settings and logs has taken its place."""
    out, old, moving, own = aside.parent, aside / "old", aside / "moving", aside / "own.json"
    if old.is_dir() and own.is_file() and not moving.is_dir():
        new = [path for pattern in read_json(own) for path in out.glob(pattern)]
        made = (path for top in new if top.name != "logs" for path in (top, *top.rglob("*")))
        if not any(path.is_file() and path.stat().st_size and not path.name.endswith(CLAIMS) for path in made):
            _move(new, out, aside / "new")
            old.rename(moving)
    if moving.is_dir():  # not all of it is there, or here: the rest was never replaced
        _move([path for path in moving.rglob("*") if path.is_symlink() or not path.is_dir()], moving, out)
    shutil.rmtree(aside, ignore_errors=True)


@contextmanager
def interruptible(kept: Callable[[], str]) -> Iterator[None]:
    """Where the `with` block is stopped by Ctrl-C, an [`InterruptedRunError`] says what is kept, and how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        raise InterruptedRunError(f"interrupted: {kept()}") from None
