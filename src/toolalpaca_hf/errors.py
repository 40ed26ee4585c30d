"""The exceptions a caller may catch: one base with fields, and a type for each thing a user can fix."""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from difflib import get_close_matches
from os import PathLike
from pathlib import Path
from typing import Any


class ToolAlpacaError(Exception):
    """Something the user can fix. The command line prints it as a sentence, without a traceback; see `status`.

    Code that reacts to an error reads its type and its fields, never its text.

    Args:
        problem (`str`): What is wrong.
        file (`str` or `PathLike`, *optional*): The file or folder it is in.
        row (`int` or `str`, *optional*): The row, line, key or id in the file.
        option (`str`, *optional*): The option or field that has to change, as the user writes it (`--out`).
        fix (`str`, *optional*): What to do, in the imperative.

    Example:

    ```python
    >>> str(InputError("no field 'Instruction'", file="train.json", row=3, fix="add it or remove the row"))
    "train.json, row 3: no field 'Instruction'; add it or remove the row"
    ```
    """

    status = 2  # exit status of the command line: 2 for what was asked, 1 for work that failed

    def __init__(
        self,
        problem: str,
        *,
        file: str | PathLike[str] | None = None,
        row: int | str | None = None,
        option: str | None = None,
        fix: str | None = None,
    ) -> None:
        super().__init__(problem)
        self.problem, self.file, self.row, self.option, self.fix = problem, file, row, option, fix

    def __str__(self) -> str:
        row = None if self.row is None else f"row {self.row}"
        place = [str(part) for part in (self.file, row, self.option) if part is not None]
        text = f"{', '.join(place)}: {self.problem}" if place else self.problem
        return f"{text}; {self.fix}" if self.fix else text


class InputError(ToolAlpacaError):
    """A file, a row or a document cannot be read: `file` and, where there is one, `row` are set."""


class OptionError(ToolAlpacaError):
    """An option or a setting has a value that cannot be used, or two do not fit together: `option` is set."""


class NotFoundError(ToolAlpacaError):
    """A file, folder, model or dataset is absent; `file` names it, `fix` begins with the path spelt most like it."""

    def __init__(
        self, problem: str, *, file: str | PathLike[str] | None = None, fix: str | None = None, **more: Any
    ) -> None:
        if file is not None and problem.startswith("no such") and "did you mean" not in (fix or ""):
            fix = f"{nearest_path(file)}{fix or ''}".strip() or None
        super().__init__(problem, file=file, fix=fix, **more)


class MissingDependencyError(ToolAlpacaError):
    """A package or an extra of this package is not installed; `fix` names the command that installs it."""


class UnsupportedModelError(ToolAlpacaError):
    """A model, tokenizer or template cannot be used exactly for what was asked; found by trying it."""


class SettingsMismatchError(ToolAlpacaError):
    """The folder `file` holds what was made with other settings.

    `differences` has the value there and this run's by field, nested ones as `limits.steps`.
    """

    def __init__(
        self,
        file: str | PathLike[str],
        holds: str,
        differences: Mapping[str, tuple[Any, Any]],
        fix: str = "pass the same ones, or another --out",
    ) -> None:
        super().__init__(f"holds {holds} with other settings", file=file, fix=fix)
        self.differences = dict(differences)

    def __str__(self) -> str:
        lines = [
            f"{name} {_short(name, before)}, now {_short(name, now)}"
            for name, (before, now) in self.differences.items()
        ]
        return "\n  ".join([f"{super().__str__()}:", *lines])


class InterruptedRunError(ToolAlpacaError):
    """A command was stopped by Ctrl-C; the message says what is kept. The exit status is 130, as a shell has it."""

    status = 130


@contextmanager
def needing(doing: str, extras: str) -> Iterator[None]:
    """Turn a failing import into a [`MissingDependencyError`]; extras are named as in `"train,agent"`."""
    try:
        yield
    except ModuleNotFoundError as error:
        fix = f"run `pip install 'toolalpaca-hf[{extras}]'`"
        raise MissingDependencyError(f"{doing} needs {error.name}", fix=fix) from None


def nearest(word: str, known: Iterable[str]) -> str:
    """The beginning of a `fix` for a word that is not known, or nothing where no known one is near.

    Example:

    ```python
    >>> nearest("smaple", ["sample", "simulated"])
    'did you mean sample? '
    ```
    """
    close = get_close_matches(word.lower(), list(known), n=1, cutoff=0.6)
    return f"did you mean {close[0]}? " if close else ""


def nearest_path(path: str | PathLike[str], known: Iterable[str] = ()) -> str:
    """As [`nearest`] for a path that is not there: a known name, else what is like the first part that is missing."""
    if hint := nearest(str(path), known):
        return hint
    path = Path(path)
    with suppress(OSError):
        place = next(part for part in (path, *path.parents) if part.parent.is_dir())
        names = [] if path.exists() else [found.name for found in place.parent.iterdir()]
        if close := get_close_matches(place.name, names, n=1, cutoff=0.6):
            return f"did you mean {place.with_name(close[0])}? "
    return ""


def _short(name: str, value: Any) -> str:
    text, of = repr(value), "APIs and instructions" if name == "apis_hash" else "the content"
    if isinstance(value, str) and len(value) >= 16 and not set(value) - set("0123456789abcdef"):
        return f"{value[:7]}... (a hash of {of})"
    return text if len(text) <= 100 else f"{text[:97]}..."


def run_main(main: Callable[[], object]) -> None:
    """Call a script's main function; a [`ToolAlpacaError`] or Ctrl-C is one sentence and an exit status."""
    try:
        main()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(InterruptedRunError.status)
    except ToolAlpacaError as error:
        # It may quote a file that anybody wrote: nothing in it is to command the terminal.
        text = "".join(letter if letter.isprintable() or letter == "\n" else " " for letter in str(error))
        print(text if isinstance(error, SettingsMismatchError) else " ".join(text.split()), file=sys.stderr)
        sys.exit(type(error).status)  # the errors of servers have HTTP's as `status`
