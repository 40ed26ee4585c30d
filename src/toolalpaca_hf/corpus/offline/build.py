"""A corpus without any endpoint, in the same folder and the same files as one that models made."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from ...data import ListedApi
from ...errors import ToolAlpacaError
from ..engine.collect import collect
from ..engine.folder import CorpusFolder
from .instances import OfflineSettings, offline_apis, offline_instances


def build_offline_corpus(
    apis: str | Path | Sequence[str | Path],
    out: str | Path,
    settings: OfflineSettings | None = None,
    limit: int | None = None,
    progress: bool = False,
) -> dict[str, Any]:
    """Make a corpus of given APIs by rules; see [`build_offline`]. Interrupted and called again, it goes on.

    Args:
        apis (`str`, `Path` or a sequence of them): See [`offline_apis`].
        out (`str` or `Path`): The folder.
        settings ([`OfflineSettings`], *optional*): How.
        limit (`int`, *optional*): Only the first so many APIs.
        progress (`bool`, *optional*, defaults to `False`): Whether to show a progress bar.

    Returns:
        `dict`: What `corpus.json` says.

    Raises:
        [`ToolAlpacaError`]: A file can not be read, or the folder not be used.

    Example:

    ```python
    >>> build_offline_corpus("sample", "corpus-offline", OfflineSettings(per_api=1), limit=2)["kept"]
    2
    ```
    """
    settings = settings or OfflineSettings()
    found = offline_apis(apis)[:limit]
    entries = [ListedApi(api.name, api.description, api.link, api.category) for api in found]
    deciding = {"source": "offline", **asdict(settings)}
    deciding["gates"].pop("count", None)
    with CorpusFolder(out).opened(deciding, entries) as folder:
        for index, api in enumerate(tqdm(found, desc="simulating", unit="API", disable=not progress)):
            if folder.has("simulation", index):
                continue
            try:
                instances, reason = offline_instances(api, settings), None
            except ToolAlpacaError as error:
                instances, reason = [], str(error)
            aside = reason or (None if api.functions else "it documents no function")
            entry = {"id": api.id, "entry": asdict(entries[index])}
            told = {"set_aside": aside, "attempts": {}, "violations": [], "asked": {}}
            folder.write("toolset", index, {**entry, "api": asdict(api) if aside is None else None, **told})
            folder.write("copies", index, {"set_aside": None})
            taken = [
                {"instruction": one.trajectory.instruction, "details": one.trajectory.hint}
                | one.provenance["instruction"]
                for one in instances
            ]
            folder.write("instructions", index, {"written": taken, "left_out": [], "failure": None, "asked": {}})
            folder.write("screen", index, {"taken": taken, "left_out": []})
            made = [
                {"trajectory": asdict(one.trajectory), "gates": one.gates, "provenance": one.provenance, "asked": {}}
                for one in instances
            ]
            folder.write("simulation", index, {"instances": made})
        return collect(folder, deciding, {})
