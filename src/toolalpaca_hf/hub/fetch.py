"""Fetches a model from the Hub: complete, as safetensors, at a fixed revision, then usable offline."""

import json
import re
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from filelock import FileLock
from huggingface_hub import HfApi, constants, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HTTPError, OfflineModeIsEnabled

from ..errors import InputError, OptionError, needing
from ..formats import Prompt
from ..storage import atomic_path, disk_errors, write_json
from .errors import HubError, check_repo_id, connect, hub_errors

RISK = (  # said whenever pickles are fetched
    "pickled weights (.bin) can hold code that runs when they are opened; they are read here with "
    "torch.load(weights_only=True), which refuses everything but tensors, yet take them only from people you trust"
)

INDEX, BIN_INDEX = "model.safetensors.index.json", "pytorch_model.bin.index.json"
BINS = re.compile(r"(pytorch_model(-\d{5}-of-\d{5})?|adapter_model)\.bin")  # pickles of transformers and PEFT

FETCH = "fetch it again, or another revision"
FILES = ("*.json", "*.jinja", "*.txt", "*.model", "*.md", "*.yaml", "LICENSE*", "NOTICE*")
WEIGHTS = ("model*.safetensors", "adapter_model.safetensors")
PICKLED = ("pytorch_model*.bin", "adapter_model.bin")


@dataclass(frozen=True)
class FetchedModel:
    """A model on this machine."""

    folder: Path  # for `from_pretrained`
    revision: str  # commit; pass it to [`fetch`] to get exactly these files again
    converted: bool  # to safetensors, here


def fetch(
    repo_id: str,
    revision: str | None = None,
    allow_bin: bool = False,
    token: str | None = None,
    endpoint: str | None = None,
    prompt: Prompt | None = None,
) -> FetchedModel:
    """Fetch a model into the Hub's cache, where `from_pretrained` finds it.

    Only safetensors are taken as weights, and no code. Interrupted downloads resume; offline, a complete model in the
    cache is used.

    Args:
        allow_bin (`bool`, *optional*): Load pickled weights, with `weights_only=True`, where there are no others.
        prompt ([`Prompt`], *optional*): What the model was trained with: its templates and stops are added where the
            repo has no chat template, in another folder; the Hub's cache stays what it is.

    Raises:
        [`OptionError`]: The repo has only pickled weights, and `allow_bin` is not set.
        [`HubError`]: The Hub refuses or cannot be reached, or the repo has no weights.
        [`InputError`]: What is in the cache is not whole, or pickles hold anything but tensors.
    """
    check_repo_id(repo_id)
    api = connect(token, endpoint)
    refused = OptionError(f"{repo_id} has only pickled weights: {RISK}", option="--allow-bin", fix="pass it")
    room = disk_errors(constants.HF_HUB_CACHE, "free some space, or set HF_HOME to another folder")
    with room, hub_errors(api, repo_id, revision, fetching=True):
        pickled = _only_pickled(api, repo_id, revision)
        if pickled and not allow_bin:
            raise refused
        # Which weights the cache has is known once it is found.
        weights = () if pickled is None else PICKLED if pickled else WEIGHTS
        folder = Path(
            snapshot_download(
                repo_id,
                revision=revision,
                token=api.token,
                endpoint=api.endpoint,
                allow_patterns=[*FILES, *weights],
                ignore_patterns=["*/*"],  # reports, other formats and other checkpoints
                local_files_only=pickled is None,
                library_name="toolalpaca-hf",
            )
        )
    if pickled is None and not _has_weights(folder, WEIGHTS):
        pickled = _has_weights(folder, PICKLED)
        if pickled and not allow_bin:
            raise refused
    _check_whole(repo_id, folder, bool(pickled))
    made, place = Path(constants.HF_HOME) / "toolalpaca_hf", f"{repo_id.replace('/', '--')}/{folder.name}"
    usable = convert(folder, made / "converted" / place) if pickled else folder
    if prompt is not None and not _has_chat_template(folder):
        with needing("adding templates", "train"):  # here, as publishing imports this module and needs no torch
            from ..training import add_templates
        usable = add_templates(usable, prompt, made / "templates" / prompt.name / place)
    return FetchedModel(usable, folder.name, bool(pickled))


def _has_chat_template(folder: Path) -> bool:
    if (folder / "chat_template.jinja").exists():
        return True
    with suppress(OSError, ValueError, AttributeError):
        return bool(json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8")).get("chat_template"))
    return False


def _only_pickled(api: HfApi, repo_id: str, revision: str | None) -> bool | None:
    """Whether a repo has only pickled weights; `None` if only the cache can tell."""
    try:
        names = api.list_repo_files(repo_id, revision=revision)
    except (OfflineModeIsEnabled, HTTPError) as error:
        if isinstance(error, HfHubHTTPError) and error.response.status_code < 500:
            raise
        return None
    if any(fnmatchcase(name, pattern) for name in names for pattern in WEIGHTS if "/" not in name):
        return False
    if any(BINS.fullmatch(name) for name in names):
        return True
    raise HubError(f"{repo_id} at {revision or 'main'} has no weights", fix="is it a model of transformers?")


def _has_weights(folder: Path, patterns: tuple[str, ...]) -> bool:
    return any(path for pattern in patterns for path in folder.glob(pattern))


def _check_whole(repo_id: str, folder: Path, pickled: bool) -> None:
    """Reject an incomplete snapshot, as an interrupted download leaves it."""
    names = {path.name for path in folder.iterdir()}
    index = BIN_INDEX if pickled else INDEX
    missing = set()
    if index in names:
        missing = indexed(str(folder / index), (folder / index).read_bytes(), FETCH) - names
    elif not _has_weights(folder, PICKLED if pickled else WEIGHTS):
        missing = {"weights"}
    if not names & {"config.json", "adapter_config.json"}:
        missing.add("config.json")
    if missing:
        problem = f"not whole ({', '.join(sorted(map(str, missing)))} missing)"
        raise InputError(problem, file=repo_id, fix="fetch it again with the network")


def indexed(name: str, index: bytes, fix: str) -> set[str]:
    try:
        return set(map(str, json.loads(index)["weight_map"].values()))
    except (ValueError, KeyError, AttributeError, TypeError):
        raise InputError("no index of weights", file=name, fix=fix) from None


def convert(snapshot: Path, out: Path) -> Path:
    """Copy a snapshot with its pickled weights converted to safetensors, file by file: an interrupted one resumes."""
    with needing("converting", "train"), disk_errors(out, "free some space"):
        out.mkdir(parents=True, exist_ok=True)
        with FileLock(out.with_name(f".{out.name}.lock")):
            if not (out / "converted.json").is_file():
                _convert(snapshot, out)
    return out


def _convert(snapshot: Path, out: Path) -> None:
    bins = sorted(path for path in snapshot.iterdir() if BINS.fullmatch(path.name))
    index = snapshot / BIN_INDEX
    if index.is_file():
        content = index.read_bytes()
        names = indexed(str(index), content, FETCH)
        if foreign := [name for name in names if not BINS.fullmatch(name)]:
            raise InputError(f"names {foreign[0]!r}, which is no file of weights", file=index, fix=FETCH)
        if absent := names - {path.name for path in bins}:
            raise InputError(f"names {min(absent)}, which is not there", file=index, fix=FETCH)
        renamed = json.loads(content)
        renamed["weight_map"] = {name: _renamed(file) for name, file in renamed["weight_map"].items()}
        write_json(out / INDEX, renamed, indent=2)
    for path in bins:
        if not (out / _renamed(path.name)).is_file():
            _write(path, out / _renamed(path.name))
    for path in sorted(snapshot.iterdir()):
        if path.is_file() and path not in bins and path != index:
            shutil.copyfile(path, out / path.name)
    write_json(out / "converted.json", {"revision": snapshot.name, "from": [path.name for path in bins]}, indent=2)


def _renamed(name: str) -> str:
    return name.replace("pytorch_model", "model").removesuffix(".bin") + ".safetensors"


def _write(path: Path, target: Path) -> None:
    import pickle

    import torch
    from safetensors.torch import save_file

    state: Any = None
    try:
        try:
            state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except RuntimeError:  # an older layout than mmap reads
            state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        pass  # what `weights_only` refuses
    except (RuntimeError, EOFError) as error:
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"no whole file of weights ({said})", file=path, fix=FETCH) from None
    if not isinstance(state, Mapping) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise InputError("holds more than tensors, which could run code", file=path, fix="take safetensors instead")
    with atomic_path(target) as part:
        save_file(_unshared(state), part, metadata={"format": "pt"})


def _unshared(state: Mapping[str, Any]) -> dict[str, Any]:
    """Tensors that share no memory and hold none beyond their own: safetensors accepts no others."""
    seen: set[int] = set()
    found = {}
    for name, tensor in state.items():
        storage = tensor.untyped_storage()
        whole = tensor.is_contiguous() and storage.nbytes() == tensor.nbytes
        found[name] = tensor if whole and storage.data_ptr() not in seen else tensor.clone().contiguous()
        seen.add(storage.data_ptr())
    return found
