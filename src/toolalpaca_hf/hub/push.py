"""What to push to a repo, such as a dataset whose card fits its files, and pushing what has changed in one commit."""

import io
import os
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, DatasetCard, HfApi, get_token
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError
from huggingface_hub.repocard import REGEX_YAML_BLOCK

from ..data import PLACEHOLDER
from ..errors import InputError, NotFoundError, OptionError
from ..openapi import TOKEN_TEXT, mapping
from ..report import markdown_text
from ..schema import REDACTED
from ..storage import read_text
from .client import check_repo_id, check_token, connect, hub_errors

Content = Path | bytes

NEVER = {  # what is never published, by the reason
    "hidden": ".*",
    "pickled, which can run code when it is opened": "*.bin *.pt *.pth",
    "a checkpoint of the training": "checkpoint-* global_step* _superseded",
    "state of the training": "optimizer* scheduler* scaler* rng_state* trainer_state.json",
    "a log": "*.log log_history.json runs logs",
    "made for publishing": "_publish",
}

TEXT = (".md", ".json", ".jsonl", ".yaml", ".yml", ".txt", ".jinja", ".html", ".csv", ".model")

DATASET_FILES = ("README.md", "report.json", "LICENSE*", "NOTICE*", "*.parquet", "*/*.parquet")
REPO = "path/to/this/repo"  # stands in a card for the repo's id until there is one

# Suites that are tasks of a benchmark, and their splits of the config `instructions`.
TASKS = {"simulated": "eval_simulated", "real": "eval_real"}

BUILD = "build the dataset again with a script of dataset_scripts/"

_SECRETS = re.compile(TOKEN_TEXT.encode())
_MARKS = (*b"hf_ sk- ghp_ gho_ ghu_ ghs_ ghr_ github_pat_ glpat- xox AKIA".split(), b"PRIVATE KEY-----")
_SECRET_NAMES = re.compile(r"(TOKEN|KEY|SECRET|PASSWORD)S?$")


@dataclass(frozen=True)
class Manifest:
    """What to push to a repo."""

    repo_type: str  # `model`, `dataset` or `space`, which is Gradio's
    files: dict[str, Content]  # by path in the repo, including `README.md`
    message: str  # of the commit
    left_out: dict[str, str]  # reason by path of what is not pushed
    owned: tuple[str, ...]  # patterns of repo files to delete unless pushed again, such as old shards
    merge_card: Callable[[str], str] | None = None  # makes the card from the repo's current one, "" if there is none
    must_exist: bool = False  # whether the repo must exist already

    @property
    def card(self) -> str:
        return as_bytes(self.files["README.md"]).decode("utf-8")

    def sizes(self) -> dict[str, int]:
        return {path: len(c) if isinstance(c, bytes) else c.stat().st_size for path, c in self.files.items()}


def as_bytes(content: Content) -> bytes:
    return content if isinstance(content, bytes) else content.read_bytes()


def select_files(folder: Path, wanted: Sequence[str]) -> tuple[dict[str, Content], dict[str, str]]:
    """The files of a folder that match, by path in the repo; and what is left out, with the reason."""
    if not folder.is_dir():
        raise NotFoundError("no such folder", file=folder, fix="pass the one to publish")
    try:
        found = {
            path.relative_to(folder).as_posix(): path for pattern in wanted for path in sorted(folder.glob(pattern))
        }
        files: dict[str, Content] = {name: path for name, path in found.items() if path.is_file() and not _never(name)}
        kept = {folder, *(place for name in files for place in (found[name], *found[name].parents))}
        rest = [path for path in (*folder.glob("*"), *folder.glob("*/*")) if path not in kept and path.parent in kept]
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror or error})", file=folder) from None
    names = sorted(path.relative_to(folder).as_posix() + "/" * path.is_dir() for path in rest)
    return files, {name: _never(name) or "no part of a published repo" for name in names}


def _never(name: str) -> str:
    """Why a path is not published whatever is wanted; empty where it may be."""
    tried = ((why, part, each) for part in name.split("/") for why, names in NEVER.items() for each in names.split())
    return next((why for why, part, each in tried if fnmatchcase(part, each)), "")


def dataset_manifest(folder: str | Path, repo_id: str) -> Manifest:
    """Collect what to push from a folder that a script of `dataset_scripts/` wrote.

    Each pattern of the card's `configs` must match files, each Parquet file belong to one, and numbers of rows agree.

    Raises [`OptionError`] if the repo id is none, [`InputError`] if card or Parquet are absent, or do not fit.

    Example:

    ```python
    >>> push(dataset_manifest("build/toolalpaca", "me/toolalpaca"), "me/toolalpaca")  # doctest: +SKIP
    ```
    """
    folder = Path(folder)
    check_repo_id(repo_id)
    files, left_out = select_files(folder, DATASET_FILES)
    card = folder / "README.md"
    parquet = {path: folder / path for path in files if path.endswith(".parquet")}
    if "README.md" not in files or not parquet:
        raise InputError("has no README.md or no Parquet file", file=folder, fix=BUILD)
    text = read_text(card, BUILD)
    _check(card, text, parquet)
    files["README.md"] = text.replace(REPO, repo_id).encode("utf-8")
    if tasks := [
        {"id": name, "config": "instructions", "split": split}
        for name, split in TASKS.items()
        if any(path.startswith(f"instructions/{split}-") for path in parquet)
    ]:  # what makes a dataset repo a benchmark on the Hub
        about = "Instructions for documented APIs, with the calls that solve them; scored by rule on whole rollouts."
        content = {"name": repo_id.split("/")[-1], "description": about, "evaluation_framework": "toolalpaca-hf"}
        files["eval.yaml"] = yaml.safe_dump(content | {"tasks": tasks}, sort_keys=False).encode("utf-8")
    return Manifest("dataset", files, "Upload dataset with toolalpaca-hf", left_out, ("*.parquet", "*/*.parquet"))


def _check(card: Path, text: str, parquet: dict[str, Path]) -> None:
    wrong = partial(InputError, file=card, fix=BUILD)
    if holes := PLACEHOLDER.findall(text):
        raise wrong(f"has no value for {', '.join(holes)}")
    try:
        metadata = DatasetCard(text).data.to_dict()
        infos = metadata["dataset_info"]
        infos = infos if isinstance(infos, list) else [infos]
        rows = {(info["config_name"], part["name"]): part["num_examples"] for info in infos for part in info["splits"]}
        data = [(made["config_name"], part) for made in metadata["configs"] for part in made["data_files"]]
        patterns = {(config, part["split"]): part["path"] for config, part in data}
    except (ValueError, yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise wrong(f"has metadata that cannot be read ({' '.join(str(error).split())})") from None
    if not REGEX_YAML_BLOCK.search(text) or not patterns:
        raise wrong("names no configs")
    taken = set()
    for (config, split), pattern in patterns.items():
        found = [path for path in parquet if fnmatchcase(path, str(pattern))]
        taken |= set(found)
        counted = sum(_rows(parquet[path]) for path in found)
        if not found:
            raise wrong(f"names {pattern}, which no file matches")
        if (said := rows.get((config, split))) != counted:
            raise wrong(f"says {said} rows of {config}/{split}, the Parquet files have {counted}")
    if extra := sorted(set(parquet) - taken):
        raise wrong(f"names no config for {extra[0]}")


def _rows(path: Path) -> int:
    try:
        return pq.read_metadata(path).num_rows
    except (OSError, pa.ArrowInvalid) as error:
        raise InputError(f"no whole Parquet file ({error})", file=path, fix=BUILD) from None


def without_places(text: str, metrics: Mapping[str, Any]) -> str:
    """A run's text without the servers and folders that its `metrics.json` or `run.json` names; their names stay."""
    settings, judge = (mapping(metrics.get(key)) for key in ("settings", "judge_settings"))
    said = " ".join(str(server) for server in (settings.get("endpoint"), settings.get("calls"), judge.get("endpoint")))
    places = dict.fromkeys(re.findall(r"https?://\S+", said), REDACTED)
    names = [str(name) for name in (metrics.get("model"), settings.get("model"), settings.get("apis"))]
    places |= {name: Path(name).name for name in names if Path(name).is_absolute()}
    for place in sorted(places, key=len, reverse=True):
        for form in (place, markdown_text(place)):
            text = text.replace(form, places[place])
    return text


def _matches(name: str, pattern: str) -> bool:
    # `*` does not match a slash, so `*.json` matches only the folder's own files.
    parts, patterns = name.split("/"), pattern.split("/")
    return len(parts) == len(patterns) and all(map(fnmatchcase, parts, patterns))


def check_no_secrets(manifest: Manifest, token: str | None = None) -> None:
    """Raise an [`InputError`] that names a file, text or Parquet, which holds a token: a secret of the environment
    (`HF_TOKEN` and such), the logged-in user's, or what looks like a private key or a token of a known service."""
    known = {token, get_token(), *(value for name, value in os.environ.items() if _SECRET_NAMES.search(name))}
    # Anything shorter may be an ordinary word.
    secrets = {value.strip().encode() for value in known if value and len(value.strip()) >= 12}
    for path, content in manifest.files.items():
        try:
            for text in _texts(path, content):
                # A plain search is many times faster than the pattern, and most texts contain none of these.
                marked = any(mark in text for mark in _MARKS) and _SECRETS.search(text)
                if marked or any(secret in text for secret in secrets):
                    raise InputError("holds what looks like a token", file=path, fix="take it out and revoke it")
        except (OSError, pa.ArrowInvalid) as error:
            raise InputError(f"cannot be read ({error})", file=path, fix="make it again") from None


def _texts(path: str, content: Content) -> Iterator[bytes]:
    if path.endswith(".parquet"):
        with pq.ParquetFile(content if isinstance(content, Path) else io.BytesIO(content)) as file:
            for batch in file.iter_batches():
                for column in batch.columns:
                    # A column's strings are contiguous in one of its buffers.
                    yield from (buffer.to_pybytes() for buffer in column.buffers() if buffer is not None)
    elif path.endswith(TEXT) or "." not in path:
        yield as_bytes(content)


@dataclass(frozen=True)
class PushResult:
    """The outcome of a push."""

    url: str  # of the commit or pull request; of the repo if nothing has changed
    changed: bool
    private: bool

    def __str__(self) -> str:
        return f"{'pushed' if self.changed else 'nothing has changed, so no commit was made'}: {self.url}"


def push(
    manifest: Manifest,
    repo_id: str,
    token: str | None = None,
    endpoint: str | None = None,
    public: bool = False,
    revision: str | None = None,
    create_pr: bool = False,
) -> PushResult:
    """Push a manifest to a repo in one commit, creating the repo if needed.

    An interrupted push resumes without sending files again. The repo's other files stay, but for `manifest.owned`.

    Args:
        token, endpoint (`str`, *optional*): Default to `HF_TOKEN` or the logged-in user's, and to `HF_ENDPOINT`.
        public (`bool`, *optional*, defaults to `False`): Make the repo public. A public one is never made private.
        revision (`str`, *optional*, defaults to `"main"`): The branch, or `refs/pr/N` to add to a pull request.

    Raises:
        [`InputError`]: A file holds a token, or the repo's card cannot be read.
        [`OptionError`]: The repo id, the address or the token is none.
        [`HubError`]: The Hub refuses, or cannot be reached.
    """
    check_repo_id(repo_id)
    api = connect(token, endpoint)
    check_no_secrets(manifest, token)
    with hub_errors(api, repo_id, revision, manifest.repo_type):
        check_token(api)
        private = _repo(api, repo_id, manifest, public, revision, create_pr)
        try:
            return _push(api, manifest, repo_id, private, revision, create_pr)
        except HfHubHTTPError as error:
            if error.response.status_code not in (409, 412):
                raise
            # Somebody else committed after the repo was read: read it again.
            return _push(api, manifest, repo_id, private, revision, create_pr)


def _repo(api: HfApi, repo_id: str, manifest: Manifest, public: bool, revision: str | None, create_pr: bool) -> bool:
    """Ensure that the repo exists, and has the revision; returns whether it is private."""
    kind = manifest.repo_type
    try:
        private = bool(api.repo_info(repo_id, repo_type=kind, revision=revision).private)
    except RepositoryNotFoundError:
        if create_pr or manifest.must_exist or revision not in (None, "main"):  # which a new one has not
            raise
        for used in {"model", "dataset", "space"} - {kind}:
            # The Hub would accept both, and readers would confuse them.
            if api.repo_exists(repo_id, repo_type=used):
                problem = f"{repo_id} is a {used} repo and this is a {kind}"
                raise OptionError(problem, option="--repo-id", fix="pass another") from None
        sdk = "gradio" if kind == "space" else None
        api.create_repo(repo_id, repo_type=kind, private=not public, exist_ok=True, space_sdk=sdk)
        return not public
    if private and public and not create_pr:
        api.update_repo_settings(repo_id, repo_type=kind, private=False)
        return False
    return private


def _push(
    api: HfApi, manifest: Manifest, repo_id: str, private: bool, revision: str | None, create_pr: bool
) -> PushResult:
    kind = manifest.repo_type
    head = api.repo_info(repo_id, repo_type=kind, revision=revision).sha
    there = api.list_repo_files(repo_id, revision=head, repo_type=kind)
    files = dict(manifest.files)
    if manifest.merge_card is not None:
        files["README.md"] = _merged_card(api, manifest, repo_id, head, "README.md" in there)
    # The client skips unchanged files, and makes no empty commit.
    additions = [CommitOperationAdd(path, content) for path, content in files.items()]
    owned = [path for path in there if any(_matches(path, pattern) for pattern in manifest.owned)]
    deletions = [CommitOperationDelete(path) for path in owned if path not in manifest.files]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*commit a data file")  # a Space shows the data that it holds
        where = {"repo_type": kind, "revision": revision, "create_pr": create_pr, "parent_commit": head}
        commit = api.create_commit(repo_id, [*additions, *deletions], commit_message=manifest.message, **where)
    if commit.oid == head:
        return PushResult(f"{api.endpoint}/{'' if kind == 'model' else f'{kind}s/'}{repo_id}", False, private)
    return PushResult(str(commit.pr_url or commit.commit_url), True, private)


def _merged_card(api: HfApi, manifest: Manifest, repo_id: str, head: str | None, exists: bool) -> bytes:
    assert manifest.merge_card is not None
    content = b""
    if exists:
        with TemporaryDirectory() as folder:
            content = Path(api.hf_hub_download(repo_id, "README.md", revision=head, local_dir=folder)).read_bytes()
    where = f"README.md of {repo_id}"
    try:
        card = content.decode("utf-8-sig")
        merged = manifest.merge_card(card)
    except UnicodeDecodeError:
        raise InputError("not UTF-8", file=where, fix="fix it and try again") from None
    except InputError as error:
        raise InputError(error.problem, file=where, fix=error.fix) from None
    return content if exists and merged == card else merged.encode("utf-8")
