"""Published files, from a pinned revision or at hand: each is checked by its git blob id, whichever way it came."""

import hashlib
import os
import re
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import constants
from huggingface_hub.errors import HfHubHTTPError, HTTPError
from huggingface_hub.file_download import http_get
from huggingface_hub.utils import WeakFileLock, logging

from .errors import InputError, NotFoundError, OptionError, ToolAlpacaError
from .storage import atomic_write, disk_errors

REPO = "tangqiaoyu/ToolAlpaca"
COMMIT = "189069998d64a7baf1b4a1c3c4b2e75eb9d05532"
BASE_URL = f"https://raw.githubusercontent.com/{REPO}/{COMMIT}"
BASE_URL_VARIABLE = "TOOLALPACA_HF_BASE_URL"  # names a mirror; what it serves is held to the same git blob ids
ATTEMPTS = 4  # how often a server that is busy is asked


class DownloadError(ToolAlpacaError):
    """A published file cannot be loaded, or what came is another one; `file` is its address."""


@dataclass(frozen=True)
class Published:
    path: str
    blob_ids: tuple[str, ...] = ()  # of git, that it may have; the published one first
    option: str = "--data-dir"  # that names one at hand


# The second is a known copy whose API keys are redacted to `***`: fine as a local file.
_REAL = ("8394f883f31735149037a20caf3058b1863edda4", "e54a164ba3ca81a5b3e37a5109cc310cd9e71068")
# What is fetched from upstream, by short name.
FILES: dict[str, Published] = {
    "train_data": Published("data/train_data.json", ("441f8164081af8d994cc949f16870720ada4e8db",)),
    "eval_simulated": Published("data/eval_simulated.json", ("65b54fb85e9956742c022ce835705e8fb72db118",)),
    "eval_real": Published("data/eval_real.json", _REAL),
    "public_apis": Published("data/public_apis.json", ("529bf716f8e9a5de9eb39f0b76b1c6d99a83770c",)),
    # No id is known beforehand: the first download's is reported, remembered, and binding from then on.
    "agent_prompts": Published("agent/agent_prompts.py", option="--prompt-dir"),
    "tools": Published("agent/tools.py", option="--prompt-dir"),
    "evaluation_prompt": Published("prompts/Evaluation.txt", option="--judge-prompt"),
}


@dataclass(frozen=True)
class Source:
    """A file that is read, and what is known about it."""

    path: Path
    blob_id: str  # git's, of its bytes
    origin: str = "local"  # or `upstream` (downloaded and verified) or `sample`
    note: str = ""  # what a reader should know, such as a deviation


def git_blob_id(path: str | Path) -> str:
    """Git blob id of a file, as `git hash-object` prints it: the SHA-1 of `blob <size>\\0` followed by its bytes.

    A file that is missing is a [`NotFoundError`], one that cannot be read an [`InputError`].

    Example:

    ```python
    >>> git_blob_id("/dev/null")
    'e69de29bb2d1d6434b8b29ae775ad8c2e48c5391'
    ```
    """
    try:
        with open(path, "rb") as file:
            start = b"blob %d\0" % os.fstat(file.fileno()).st_size
            return hashlib.file_digest(file, lambda: hashlib.sha1(start, usedforsecurity=False)).hexdigest()
    except FileNotFoundError:
        fix = "check the path, or use --source sample or upstream"
        raise NotFoundError("does not exist", file=path, fix=fix) from None
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", file=path) from None


def local_source(path: str | Path, name: str | None = None, origin: str = "local") -> Source:
    """Describe a local file; one that should be an upstream file but differs is noted, not refused.

    `name` is its short name in [`FILES`], by default the file's name where it is one of them. Raises as
    [`git_blob_id`].
    """
    path = Path(path)
    blob_id, name = git_blob_id(path), name or path.stem
    known, note = FILES[name].blob_ids if name in FILES else (), ""
    if known and blob_id != known[0]:
        what = "redacted copy of" if blob_id in known else "differs from"
        note = f"{what} the published file (git blob {known[0]})"
    return Source(path, blob_id, origin, note)


def cache_folder() -> Path:
    """Where downloads land: `HF_HOME/toolalpaca_hf/COMMIT`."""
    return Path(constants.HF_HOME) / "toolalpaca_hf" / COMMIT


def fetch(name: str, data_dir: str | Path | None = None, base_url: str | None = None) -> Source:
    """Get one of [`FILES`]: from `data_dir`, else from the cache (see [`cache_folder`]), else from the network.

    In `data_dir` files lie flat or as upstream has them, and may differ from the published ones (a `note` says so). A
    download comes from `base_url`, by default `$TOOLALPACA_HF_BASE_URL` or GitHub, and may not.

    Raises:
        [`OptionError`], [`DownloadError`], [`StorageError`]: There is no such name; the network cannot be reached, or
            the bytes are not the published ones; the cache cannot be written.

    Example:

    ```python
    >>> fetch("eval_simulated", data_dir="../shared/data/toolalpaca").note  # doctest: +SKIP
    ''
    ```
    """
    if name not in FILES:
        raise OptionError(f"unknown upstream file {name!r}; choose one of {', '.join(FILES)}")
    published = FILES[name]
    if data_dir is not None:
        for candidate in (Path(data_dir) / published.path, Path(data_dir) / Path(published.path).name):
            if candidate.exists():
                return local_source(candidate, name)
    target = cache_folder() / published.path
    url = f"{(base_url or os.environ.get(BASE_URL_VARIABLE) or BASE_URL).rstrip('/')}/{published.path}"
    with disk_errors(target, "free space or point HF_HOME elsewhere"):
        target.parent.mkdir(parents=True, exist_ok=True)
        # Two processes of one job must not write into the same partial file.
        with WeakFileLock(target.with_name(f".{target.name}.lock")):
            return _cached_or_downloaded(url, target, published)


def fetch_prompt_folder(data_dir: str | Path | None = None, base_url: str | None = None) -> Path:
    """Get upstream's `agent_prompts.py` and `tools.py`, see [`fetch`], and return the folder that holds both."""
    for folder in (data_dir, None):  # one local, one not: take both from upstream
        files = [fetch(name, folder, base_url).path for name in ("agent_prompts", "tools")]
        if files[0].parent == files[1].parent:
            break
    return files[0].parent


def _cached_or_downloaded(url: str, target: Path, published: Published) -> Source:
    remembered = target.with_name(f".{target.name}.blob_id")
    noted = re.fullmatch(b"[0-9a-f]{40}", remembered.read_bytes().strip() if remembered.exists() else b"")
    expected = next(iter(published.blob_ids), noted and noted[0].decode())  # a kill can cut off what is noted
    if target.exists():
        if (blob_id := git_blob_id(target)) == expected:
            return Source(target, blob_id, "upstream")
        target.unlink()  # damaged on disk: it is not what was verified when it was stored
    at_hand = f"{published.option} takes a {target.name} that is at hand"
    part = target.with_name(f"{target.name}.part")
    resumed, blob_id = True, ""
    while resumed:  # the earlier part may have been another file's: then once more from the start
        resumed = _download(url, part, at_hand)
        blob_id = git_blob_id(part)
        if expected in (None, blob_id):
            if expected is None:
                first = f"{published.path}: git blob {blob_id}, as first downloaded; kept to from now on"
                print(first, file=sys.stderr)
                atomic_write(remembered, blob_id)
            part.replace(target)
            return Source(target, blob_id, "upstream")
        part.unlink()
    problem = f"has git blob {blob_id} where {expected} is expected, so it is not the published file"
    raise DownloadError(problem, file=url, fix=f"check the network (a proxy may rewrite files); {at_hand}")


def _download(url: str, part: Path, at_hand: str) -> bool:
    """Load `url` into `part`, going on where an earlier attempt stopped; returns whether it did go on."""
    if constants.is_offline_mode():
        raise DownloadError("is not in the cache, and HF_HUB_OFFLINE is set", file=url, fix=f"unset it; {at_hand}")
    resumes = part.exists() and part.stat().st_size > 0
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()  # the client's own retries are part of the sentence that follows
    reason = ""
    try:
        for attempt in range(ATTEMPTS):
            time.sleep(0.2 * 2**attempt if attempt else 0.0)
            size = part.stat().st_size if part.exists() else 0
            try:
                with part.open("ab") as file:
                    # A range counts the bytes of what is sent, so nothing may be compressed.
                    headers = {"Accept-Encoding": "identity"}
                    http_get(url, file, resume_size=size, headers=headers, displayed_filename=part.stem)
                return resumes
            except HfHubHTTPError as error:
                status = error.response.status_code
                if status == 416 and size:
                    return True  # there is no more of it: the blob id says whether that is right
                reason = f"answers {status}"
                if status not in (429, 500, 502, 503, 504):
                    raise DownloadError(reason, file=url, fix=f"check {BASE_URL_VARIABLE}; {at_hand}") from None
            except OSError as error:
                if error.errno is not None:
                    raise  # of this machine's disk
                reason = str(error)
            except HTTPError as error:  # the client has tried several times
                reason = f"cannot be loaded ({' '.join(str(error).split()) or type(error).__name__})"
                break
    finally:
        logging.set_verbosity(verbosity)
    raise DownloadError(reason, file=url, fix=f"connect to the network and try again; {at_hand}")
