"""Tables and pages: Jinja as every report uses it, where each value that a template prints passes one filter."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, partial
from html import escape as escape_html
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import OptionError, needing
from .escaping import markdown_text, visible

if TYPE_CHECKING:
    from jinja2 import Environment
    from rich.text import Text

NONE = "–"  # stands where there is no figure
Tokens = Sequence[tuple[str, bool]]  # the text of each, and whether it is trained


def finite(value: Any) -> float | None:
    """The value where it is a finite number, else `None`."""
    usable = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if usable else None


def rate_text(rate: Mapping[str, Any] | None, sign: str = "", key: str = "value") -> str:
    """A rate of shares between 0 and 1, which has `low`, `high` and the key, in percent with its interval; with the
    sign `"+"`, a difference.

    Example:

    ```python
    >>> rate_text({"value": 0.63, "low": 0.531, "high": 0.722, "n": 100}), rate_text(None)
    ('63.0 (53.1 to 72.2)', '–')
    ```
    """
    value, low, high = (finite((rate or {}).get(name)) for name in (key, "low", "high"))
    if value is None:
        return NONE
    interval = "" if low is None or high is None else f" ({100 * low:{sign}.1f} to {100 * high:{sign}.1f})"
    return f"{100 * value:{sign}.1f}{interval}"


def _keep_markup(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def markdown_table(
    head: Sequence[str],
    rows: Iterable[Sequence[object]],
    text_columns: int | None = None,
    escape: Callable[[str], str] = _keep_markup,
) -> str:
    """A table in GitHub's Markdown.

    Args:
        text_columns (`int`, *optional*): How many columns hold text; those after them hold numbers, aligned right.
        escape (`Callable`, *optional*): What each cell passes; [`markdown_text`] lets no markup in.

    Example:

    ```python
    >>> print(markdown_table(("a", "n"), [("x | y", 1)], 1))
    | a | n |
    | --- | ---: |
    | x \\| y | 1 |
    ```
    """
    left = len(head) if text_columns is None else text_columns
    lines = [[escape(str(cell)) for cell in row] for row in (head, *rows)]
    lines.insert(1, ["---"] * left + ["---:"] * (len(head) - left))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def render(package: str, template: str, **values: Any) -> str:
    """Render `templates/TEMPLATE` of a package.

    `NAME.html.jinja` is escaped for HTML and may extend `page.html.jinja` of this room; `NAME.md.jinja` has
    `table(head, rows, text_columns)`. Every text that is printed is made visible; `| safe` lets markup through.
    Raises [`MissingDependencyError`] without jinja2.
    """
    return _environment(package, template.endswith(".html.jinja")).get_template(template).render(values)


@cache
def _environment(package: str, html: bool) -> "Environment":
    with needing("writing a report", "evaluate"):
        from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
        from markupsafe import Markup
    escape = visible if html else markdown_text

    def finalize(value: Any) -> Any:
        return escape(value) if isinstance(value, str) and not isinstance(value, Markup) else value

    environment = Environment(
        loader=ChoiceLoader([PackageLoader(package), PackageLoader("toolalpaca_hf.report")]),
        autoescape=html,
        undefined=StrictUndefined,
        finalize=finalize,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    # Between tags quotes mean nothing, and JSON is full of them.
    environment.filters["between_tags"] = lambda text: Markup(escape_html(visible(str(text)), quote=False))
    if not html:
        table = partial(markdown_table, escape=markdown_text)
        environment.globals["table"] = lambda *args, **options: Markup(table(*args, **options))
    return environment


def write_texts(folder: Path, texts: Mapping[str, str]) -> None:
    """Write the files of a report, by name, into a folder that is made where it does not exist.

    Raises:
        [`OptionError`]: The folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            # JSON can spell half a surrogate pair, which no file can hold.
            (folder / name).write_text(text, encoding="utf-8", errors="replace", newline="\n")
    except OSError as error:
        problem = f"cannot be written ({error.strerror})"
        raise OptionError(problem, file=folder, option="--out", fix="pass another folder") from error


def token_texts(
    ids: Sequence[int], trained: Sequence[bool], decode: Callable[[list[int]], str]
) -> list[tuple[str, bool]]:
    """The text of each token of a row, and whether it is trained; tokens that hold parts of one character stand
    together. `decode` is the tokenizer's.

    Example:

    ```python
    >>> token_texts([72, 105], [False, True], lambda ids: "".join(map(chr, ids)))
    [('H', False), ('i', True)]
    ```
    """
    found: list[tuple[str, bool]] = []
    start = 0
    for end in range(1, len(ids) + 1):
        # A leading space is dropped from the first token of a text by some tokenizers, so each is read behind another.
        before = ids[start - 1 : start] if start else []
        text = decode([*before, *ids[start:end]])[len(decode(list(before))) if before else 0 :]
        if text.endswith("\ufffd") and end < len(ids) and end - start < 8:
            continue
        found.append((text, bool(trained[start])))
        start = end
    return found


def terminal_tokens(tokens: Tokens) -> "Text":
    """The tokens for a terminal: trained ones on green, each second one in another shade."""
    from rich.text import Text

    text = Text()
    for number, (piece, is_trained) in enumerate(tokens):
        style = ("black on green" if number % 2 else "black on bright_green") if is_trained else "dim" * (number % 2)
        text.append(visible(piece).replace("\n", "↵\n"), style=style)
    return text


def token_page(title: str, sections: Sequence[tuple[str, Tokens]], outlined: bool = True) -> str:
    """A page of tokens, or of longer parts, in sections: trained ones are marked, every second one may be
    `outlined`.

    Example:

    ```python
    >>> "<mark>" in token_page("Row 0", [("sft", [("Thought:", False), (" go", True)])])
    True
    ```
    """
    return render(__package__ or "", "tokens.html.jinja", title=title, sections=sections, outlined=outlined)
