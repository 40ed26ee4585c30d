"""The lists of public APIs that corpus construction starts from, in both published layouts."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ToolAlpacaError
from .raw import read_json
from .report import Report


@dataclass(frozen=True)
class ListedApi:
    """One entry of a list of public APIs.

    Args:
        name, description, link, category (`str`): As published; empty where absent.
        auth (`str`, *optional*, defaults to `""`): Kind of authentication, in the dict layout alone.
    """

    name: str
    description: str
    link: str
    category: str
    auth: str = ""


def read_api_list(path: str | Path, report: Report | None = None) -> list[ListedApi]:
    """Read `{"count", "entries": [{"API", ...}]}` or a plain list of `{"Name", ...}`.

    Args:
        path (`str` or `Path`): `public_apis.json`, or another list.
        report ([`Report`], *optional*): Receives the counts and the entries set aside, as config `api_list`.

    Returns:
        `list[ListedApi]`: The entries that have a name.

    Raises:
        ToolAlpacaError: The file is missing, not JSON, or has neither layout.

    Example:

    ```python
    >>> read_api_list("../shared/data/toolalpaca/public_apis.json")[0].name  # doctest: +SKIP
    'AdoptAPet'
    ```
    """
    path, report = Path(path), report if report is not None else Report()
    data = read_json(path)
    entries: Any = data.get("entries") if isinstance(data, dict) else data
    if not isinstance(entries, list):
        raise ToolAlpacaError(f'{path} is not a list of public APIs; it needs {{"entries": [...]}} or a plain list')
    listed = []
    for index, entry in enumerate(entries):
        name = (entry.get("API") or entry.get("Name")) if isinstance(entry, dict) else None
        if not isinstance(name, str) or not name.strip():
            report.set_aside("api_list", path.name, f"entry {index}", "has no API or Name")
            continue
        fields = (str(entry.get(key) or "") for key in ("Description", "Link", "Category", "Auth"))
        listed.append(ListedApi(name, *fields))
        report.keep("api_list", path.name)
    if not listed:
        raise ToolAlpacaError(f"{path} names no API; pass upstream's public_apis.json or a list of that layout")
    return listed
