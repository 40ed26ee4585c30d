"""Where published files live: pinned revision, git blob id, download that resumes, cache under `HF_HOME`, local copies.

Every file is checked by its git blob id (the SHA-1 of `blob <size>\\0` and the bytes), so what is read is what was
published, whichever way it came.
"""

import hashlib
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from huggingface_hub import constants
from huggingface_hub.utils import WeakFileLock
from tqdm import tqdm

from .errors import ToolAlpacaError

REPO = "tangqiaoyu/ToolAlpaca"
COMMIT = "189069998d64a7baf1b4a1c3c4b2e75eb9d05532"
BASE_URL = f"https://raw.githubusercontent.com/{REPO}/{COMMIT}"
BASE_URL_VARIABLE = "TOOLALPACA_HF_BASE_URL"
"""Environment variable that names a mirror; what it serves is held to the same git blob ids."""

ATTEMPTS = 4
"""How often a download is begun again without having gained a byte."""


@dataclass(frozen=True)
class Published:
    """A file of the upstream repository: its path and the git blob ids it may have (the first is the published one)."""

    path: str
    blob_ids: tuple[str, ...] = ()


FILES: dict[str, Published] = {
    "train_data": Published("data/train_data.json", ("441f8164081af8d994cc949f16870720ada4e8db",)),
    "eval_simulated": Published("data/eval_simulated.json", ("65b54fb85e9956742c022ce835705e8fb72db118",)),
    # The second is a known copy whose API keys are redacted to `***`: fine as a local file.
    "eval_real": Published(
        "data/eval_real.json",
        ("8394f883f31735149037a20caf3058b1863edda4", "e54a164ba3ca81a5b3e37a5109cc310cd9e71068"),
    ),
    "public_apis": Published("data/public_apis.json", ("529bf716f8e9a5de9eb39f0b76b1c6d99a83770c",)),
    # No id is known beforehand: the first download's is reported, remembered, and binding from then on.
    "agent_prompts": Published("agent/agent_prompts.py"),
    "tools": Published("agent/tools.py"),
    "evaluation_prompt": Published("prompts/Evaluation.txt"),
}
"""What is fetched from upstream, by short name."""


@dataclass(frozen=True)
class Source:
    """A file that is read, and what is known about it.

    Args:
        path (`Path`): Where it is.
        blob_id (`str`): Git blob id of its bytes.
        origin (`str`): `"upstream"` (downloaded and verified), `"local"` or `"sample"`.
        note (`str`, *optional*, defaults to `""`): What a reader should know, such as a deviation from the publication.
    """

    path: Path
    blob_id: str
    origin: str = "local"
    note: str = ""


def git_blob_id(path: str | Path) -> str:
    """Git blob id of a file: the SHA-1 of `blob <size>\\0` followed by its bytes.

    Args:
        path (`str` or `Path`): The file.

    Returns:
        `str`: 40 hexadecimal digits, as `git hash-object` prints them.

    Raises:
        ToolAlpacaError: The file is missing or unreadable.

    Example:

    ```python
    >>> git_blob_id("/dev/null")
    'e69de29bb2d1d6434b8b29ae775ad8c2e48c5391'
    ```
    """
    try:
        with open(path, "rb") as file:
            digest = hashlib.sha1(b"blob %d\0" % os.fstat(file.fileno()).st_size, usedforsecurity=False)
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    except FileNotFoundError:
        raise ToolAlpacaError(f"{path} does not exist; check the path, or use --source sample or upstream") from None
    except OSError as error:
        raise ToolAlpacaError(f"{path} can not be read ({error.strerror}); pass a readable file") from None
    return digest.hexdigest()


OPTIONS = {
    "agent_prompts": "--prompt-dir FOLDER",
    "tools": "--prompt-dir FOLDER",
    "evaluation_prompt": "--judge-prompt FILE",
}
"""With which option a file that is at hand is named; `--data-dir` otherwise."""


def local_source(path: str | Path, name: str | None = None, origin: str = "local") -> Source:
    """Describe a local file; one that should be an upstream file but differs is noted, not refused.

    Args:
        path (`str` or `Path`): The file.
        name (`str`, *optional*): Its short name in [`FILES`]; taken from the file name where it is one of them.
        origin (`str`, *optional*, defaults to `"local"`): Where it comes from.

    Returns:
        [`Source`]: Path, git blob id and note.

    Raises:
        ToolAlpacaError: The file is missing or unreadable.
    """
    path = Path(path)
    blob_id = git_blob_id(path)
    known = FILES[name or path.stem].blob_ids if (name or path.stem) in FILES else ()
    note = ""
    if known and blob_id not in known:
        note = f"differs from the published file (git blob {known[0]})"
    elif blob_id in known[1:]:
        note = f"redacted copy of the published file (git blob {known[0]})"
    return Source(path, blob_id, origin, note)


def cache_folder() -> Path:
    """Where downloads land: `HF_HOME/toolalpaca_hf/COMMIT`."""
    return Path(constants.HF_HOME) / "toolalpaca_hf" / COMMIT


def fetch(
    name: str,
    data_dir: str | Path | None = None,
    cache_dir: str | Path | None = None,
    base_url: str | None = None,
) -> Source:
    """Get one upstream file: from `data_dir`, else from the cache, else from the network.

    Args:
        name (`str`): Short name, a key of [`FILES`].
        data_dir (`str` or `Path`, *optional*): Folder whose files come first, flat or laid out as upstream's repository.
        cache_dir (`str` or `Path`, *optional*, defaults to [`cache_folder`]): Where downloads are kept.
        base_url (`str`, *optional*): Mirror to load from; defaults to `$TOOLALPACA_HF_BASE_URL`, then to GitHub.

    Returns:
        [`Source`]: The file. A local file may differ from the published one (its `note` says so); a download may not.

    Raises:
        ToolAlpacaError: The name is unknown, the network can not be reached, or the bytes are not the published ones.

    Example:

    ```python
    >>> fetch("eval_simulated", data_dir="../shared/data/toolalpaca").note  # doctest: +SKIP
    ''
    ```
    """
    if name not in FILES:
        raise ToolAlpacaError(f"unknown upstream file {name!r}; choose one of {', '.join(FILES)}")
    published = FILES[name]
    if data_dir is not None:
        for candidate in (Path(data_dir) / published.path, Path(data_dir) / Path(published.path).name):
            if candidate.exists():
                return local_source(candidate, name)
    target = Path(cache_dir or cache_folder()) / published.path
    url = f"{(base_url or os.environ.get(BASE_URL_VARIABLE) or BASE_URL).rstrip('/')}/{published.path}"
    with _disk_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        # Two processes of one job must not write into the same partial file.
        with WeakFileLock(target.with_name(f".{target.name}.lock")):
            try:
                return _cached_or_downloaded(url, target, published)
            except ToolAlpacaError as error:
                option = OPTIONS.get(name, "--data-dir FOLDER")
                raise ToolAlpacaError(f"{error}: {option} takes {Path(published.path).name} that is at hand") from None


def fetch_prompt_folder(
    data_dir: str | Path | None = None, cache_dir: str | Path | None = None, base_url: str | None = None
) -> Path:
    """Get upstream's `agent_prompts.py` and `tools.py`, and return the folder that holds both.

    Args:
        data_dir, cache_dir, base_url: As in [`fetch`].

    Returns:
        `Path`: The folder, ready for [`formats.upstream_prompt`].

    Raises:
        ToolAlpacaError: As in [`fetch`].

    Example:

    ```python
    >>> fetch_prompt_folder().name  # doctest: +SKIP
    'agent'
    ```
    """
    folders = [fetch(name, data_dir, cache_dir, base_url).path.parent for name in ("agent_prompts", "tools")]
    if folders[0] != folders[1]:  # one local, one not: take both from upstream
        folders = [fetch(name, None, cache_dir, base_url).path.parent for name in ("agent_prompts", "tools")]
    return folders[0]


def _cached_or_downloaded(url: str, target: Path, published: Published) -> Source:
    remembered = target.with_name(f".{target.name}.blob_id")
    expected = published.blob_ids[0] if published.blob_ids else None
    if expected is None and remembered.exists():
        expected = remembered.read_text(encoding="ascii").strip()
    if target.exists():
        if (blob_id := git_blob_id(target)) == expected:
            return Source(target, blob_id, "upstream")
        target.unlink()  # damaged on disk: it is not what was verified when it was stored
    part = target.with_name(f"{target.name}.part")
    for last in (False, True):
        resumed = _download(url, part)
        blob_id = git_blob_id(part)
        if expected is None:
            print(f"{published.path}: git blob {blob_id}, as first downloaded; kept to from now on", file=sys.stderr)
            remembered.write_text(blob_id, encoding="ascii")
        elif blob_id != expected:
            _discard(part)
            if resumed and not last:
                continue  # the earlier part may have been another file's: once more from the start
            raise ToolAlpacaError(
                f"{url} has git blob {blob_id} where {expected} is expected, so it is not the published file; "
                "check the network (a proxy may rewrite files) or pass a local copy"
            )
        os.replace(part, target)
        _discard(part)
        return Source(target, blob_id, "upstream")
    raise AssertionError("unreachable")


def _read_etag(state: Path) -> str | None:
    try:
        return json.loads(state.read_text(encoding="utf-8"))["etag"]
    except (OSError, ValueError, KeyError, TypeError):
        return None  # without it the git blob id still tells whether the pieces belong together


def _discard(part: Path) -> None:
    part.unlink(missing_ok=True)
    part.with_name(f"{part.name}.json").unlink(missing_ok=True)


def _download(url: str, part: Path) -> bool:
    """Load `url` into `part`, going on where an earlier attempt stopped; returns whether it did go on."""
    if constants.is_offline_mode():
        raise ToolAlpacaError(
            f"{part.name.removesuffix('.part')} is not in the cache and HF_HUB_OFFLINE is set; unset it, "
            "or name a folder that holds the file"
        )
    failures, resumed = 0, False
    with httpx.Client(follow_redirects=True, timeout=httpx.Timeout(30.0)) as client:
        while True:
            size = part.stat().st_size if part.exists() else 0
            resumed = resumed or size > 0
            try:
                if _request(client, url, part, size):
                    return resumed
                failures += 1  # the server's file changed, or the part did not fit: it was discarded
                reason = "its partial answers do not fit together"
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                gained = part.exists() and part.stat().st_size > size
                failures = 0 if gained else failures + 1
                reason = str(error) or type(error).__name__
            if failures >= ATTEMPTS:
                raise ToolAlpacaError(
                    f"{url} can not be loaded ({reason}); connect to the network and try again, or name a local folder"
                )
            time.sleep(0.2 * 2**failures if failures else 0.0)


def _request(client: httpx.Client, url: str, part: Path, size: int) -> bool:
    """One request; `True` when `part` is complete, `False` when it was discarded and has to be loaded anew."""
    state = part.with_name(f"{part.name}.json")
    etag = _read_etag(state) if size else None
    headers = {"Accept-Encoding": "identity"}  # a range counts the bytes of what is sent, so nothing may be compressed
    if size:
        headers["Range"] = f"bytes={size}-"
        if etag and not etag.startswith("W/"):
            headers["If-Range"] = etag
    with client.stream("GET", url, headers=headers) as response:
        content_range = response.headers.get("Content-Range", "")
        if response.status_code == 416 and size:
            if content_range == f"bytes */{size}":
                return True  # cut between the last byte and the rename
            _discard(part)
            return False
        if response.status_code == 206:
            changed = etag is not None and response.headers.get("ETag") != etag
            if changed or not content_range.startswith(f"bytes {size}-"):
                _discard(part)
                return False
        elif response.status_code == 200:
            size = 0  # the whole file, whatever was asked for
        elif response.status_code in (429, 500, 502, 503, 504):
            raise httpx.RemoteProtocolError(f"the server answers {response.status_code}")
        else:
            raise ToolAlpacaError(
                f"{url} answers {response.status_code}; check {BASE_URL_VARIABLE}, or name a local folder"
            )
        state.write_text(json.dumps({"etag": response.headers.get("ETag")}), encoding="utf-8")
        length = response.headers.get("Content-Length")
        total = size + int(length) if length else None
        name = part.name.removesuffix(".part")
        with (
            open(part, "ab" if size else "wb") as file,
            tqdm(total=total, initial=size, unit="B", unit_scale=True, desc=name, disable=None) as progress,
        ):
            for chunk in response.iter_raw():
                file.write(chunk)
                progress.update(len(chunk))
    return True


@contextmanager
def _disk_errors(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ToolAlpacaError(
            f"{target} can not be written ({error.strerror or error}); free some space or point HF_HOME elsewhere"
        ) from None
