"""Reads a list of public APIs from a file or a URL, filters it, and writes the selection."""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from urllib.parse import urlsplit

from ...data import ListedApi, parse_api_list, slug
from ...errors import InputError, OptionError, nearest
from ...openapi import ApiClient, CallLimits, allowed_hosts, is_url
from ...storage import read_text, write_json


@dataclass(frozen=True)
class EntryFilter:
    """Which entries of a list are kept."""

    categories: tuple[str, ...] = ()  # in any case; all if empty
    https: bool = False  # whether HTTPS is required, and stated
    reserved: tuple[tuple[str, str], ...] = ()  # name and link of APIs reserved for evaluation
    limit: int | None = None  # of what is left


@dataclass(frozen=True)
class Selection:
    """The entries kept, and the names of the others by the reason."""

    kept: list[ListedApi]
    left_out: dict[str, list[str]]


def load_entries(source: str | Path, private: Iterable[str] = ()) -> list[ListedApi]:
    """Read a list of public APIs.

    Args:
        source (`str` or `Path`): A file or URL: JSON in either layout of [`parse_api_list`], or public-apis' README,
            `https://raw.githubusercontent.com/public-apis/public-apis/master/README.md`.
        private (`Iterable[str]`, *optional*): Hosts, `host:port`, that may have a private address.

    Raises:
        [`InputError`]: It cannot be read, or holds no such list.
        [`ToolAlpacaError`]: It cannot be loaded.
    """
    place = str(source)
    text = _text_of(place, private)
    if text.lstrip()[:1] in ("{", "["):
        try:
            return parse_api_list(json.loads(text), place)
        except (ValueError, RecursionError) as error:
            raise InputError(f"is not complete JSON ({error})", file=place, fix="get the list again") from None
    if listed := read_tables(text, place):
        return listed
    page = "a web page" if text.lstrip()[:1] == "<" else "neither JSON nor a README with tables of APIs"
    fix = "pass public_apis.json, or the raw README.md of the repository public-apis"
    raise InputError(f"is {page}", file=place, fix=fix)


def read_tables(text: str, place: str = "README.md") -> list[ListedApi]:
    """Parse public-apis' README: `### Category`, then rows `| [API](link) | description | auth | HTTPS | CORS |`."""
    rows, category = [], ""
    for line in text.splitlines():
        if heading := re.match(r"#{1,6}\s+(.*)", line):
            category = heading[1].strip() if line.startswith("### ") else ""
            continue
        cells = [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))]
        if not category or len(cells) < 4 or cells[0].strip(" :-") in ("", "API"):
            continue  # no row, or the head of a table
        named = re.fullmatch(r"[^\w\[]*\[(.+)\]\(\s*(\S*)(?:\s+[\"'].*[\"'])?\s*\).*", cells[0])
        name, link = named.groups() if named else (cells[0], "")
        auth, https = (cell.strip("` ") for cell in cells[2:4])
        about = {"API": name.strip(), "Description": cells[1], "Link": link, "Category": category}
        rows.append(about | {"Auth": auth, "HTTPS": https})
    return parse_api_list(rows, place) if rows else []


def select_entries(entries: Sequence[ListedApi], wanted: EntryFilter) -> Selection:
    """Keep the entries that pass a filter, in their order.

    Raises:
        [`OptionError`]: The list has no such category.

    Example:

    ```python
    >>> tides, ships = ListedApi("Tides", "", "", "Sea"), ListedApi("Ships", "", "", "Travel")
    >>> select_entries([tides, ships], EntryFilter(categories=("sea",))).left_out
    {'is of another category': ['Ships']}
    ```
    """
    categories = {name.casefold() for name in wanted.categories}
    there = {entry.category.casefold(): entry.category for entry in entries}
    if unknown := [name for name in wanted.categories if name.casefold() not in there]:
        known = sorted(filter(None, there.values()))
        fix = f"{nearest(unknown[0], known)}it has {', '.join(known)}"
        raise OptionError(f"the list has no category {unknown[0]!r}", option="--category", fix=fix)
    names = {slug(name) for name, _ in wanted.reserved}
    links = {_bare(link) for _, link in wanted.reserved if link}
    seen: set[tuple[str, str]] = set()
    chosen = Selection([], {})
    for entry in entries:
        link = _bare(entry.link)
        own = (slug(entry.name), link or entry.name.casefold())  # slugs keep only what is ASCII
        checks = {
            "has no name": not entry.name,
            "is of another category": categories and entry.category.casefold() not in categories,
            "is reserved for evaluation": own[0] in names or link in links,
            "has no HTTPS": wanted.https and entry.https is False,
            "is not said to have HTTPS": wanted.https and entry.https is None,
            "is listed twice": own in seen,
            "is over the limit": wanted.limit is not None and len(chosen.kept) >= wanted.limit,
        }
        if reason := next((reason for reason, holds in checks.items() if holds), None):
            chosen.left_out.setdefault(reason, []).append(entry.name or entry.link)
        else:
            seen.add(own)
            chosen.kept.append(entry)
    return chosen


def reserved_names() -> tuple[tuple[str, str], ...]:
    """Name and link (empty if unknown) of the 21 APIs of the two published evaluation sets."""
    text = (files("toolalpaca_hf.corpus.toolset") / "reserved.txt").read_text(encoding="utf-8")
    lines = [line.partition("\t") for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return tuple((name.strip(), link.strip()) for name, _, link in lines)


def write_entries(chosen: Selection, out: Path) -> None:
    """Write the selection as a list of public APIs, and beside it what was left out and why."""
    if not chosen.kept:
        counts = ", ".join(f"{reason}: {len(names)}" for reason, names in chosen.left_out.items())
        raise OptionError(f"no API is left of the list ({counts})", fix="loosen the filters")
    # The list's own names, by ours.
    names = {"API": "name", "Description": "description", "Auth": "auth", "HTTPS": "https"}
    names |= {"Link": "link", "Category": "category"}
    rows = [{theirs: getattr(api, ours) for theirs, ours in names.items()} for api in chosen.kept]
    write_json(out, {"count": len(rows), "entries": rows, "left_out": chosen.left_out}, indent=2)


def _bare(link: str) -> str:
    """A link normalized for comparison."""
    try:
        parts = urlsplit(link)
        return f"{parts.hostname or ''}{parts.path.rstrip('/')}".casefold().removeprefix("www.") or link
    except ValueError:
        return link


def _text_of(place: str, private: Iterable[str]) -> str:
    fix = "pass a list of public APIs"
    if not is_url(place):
        return read_text(place, fix)
    hosts = allowed_hosts({"servers": [{"url": place}]}, private=private)
    with ApiClient(hosts, limits=CallLimits(size=20_000_000)) as sender:
        content = sender.fetch(place)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise InputError("is not UTF-8 text", file=place, fix=fix) from None
