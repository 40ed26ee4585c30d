"""Connects to the Hub: checks endpoint, repo id and token, and translates its errors; and fetches a model from it:
complete, as safetensors, at a fixed revision, then usable offline."""

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from traceback import walk_tb
from typing import Any
from urllib.parse import urlsplit

from filelock import FileLock
from huggingface_hub import HfApi, constants, get_cached_repo_tree, get_token, snapshot_download
from huggingface_hub import errors as hf
from huggingface_hub.utils import validate_repo_id

from ..checkpoints import hub_answers
from ..errors import InputError, OptionError, ToolAlpacaError, needing
from ..formats import Prompt
from ..storage import atomic_path, disk_errors, write_json

LOGIN = "log in with `hf auth login` or set HF_TOKEN"
_QUOTA = re.compile(r"quota|storage", re.IGNORECASE)
_INVALID_TOKEN = "Invalid credentials in Authorization header"

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


class HubError(ToolAlpacaError):
    """The Hub rejected a request, or cannot be reached; `status` is HTTP's, if it answered. No token is in it."""

    def __init__(self, problem: str, status: int | None = None, fix: str | None = None) -> None:
        super().__init__(problem, fix=fix)
        self.status = status


def connect(token: str | None = None, endpoint: str | None = None) -> HfApi:
    """Create a Hub client without contacting the Hub; defaults come from `HF_TOKEN` and `HF_ENDPOINT`."""
    token = (token or "").strip() or None
    api = HfApi(endpoint=endpoint.rstrip("/") if endpoint else None, token=token, library_name="toolalpaca-hf")
    address = urlsplit(api.endpoint)
    if address.scheme not in ("http", "https") or not address.hostname or address.username:
        raise OptionError("no address of a Hub", option="HF_ENDPOINT", fix="pass one such as https://huggingface.co")
    return api


def check_repo_id(repo_id: str) -> None:
    """Raise an [`OptionError`] unless the id is like `me/my-model`."""
    try:
        validate_repo_id(repo_id)
    except ValueError:
        raise OptionError(f"{repo_id!r} is no repo id", option="--repo-id", fix="pass me/my-model") from None
    if "/" not in repo_id:
        raise OptionError(f"{repo_id!r} names no namespace", option="--repo-id", fix=f"pass one such as me/{repo_id}")


def check_token(api: HfApi) -> None:
    if not (api.token or get_token()):
        raise OptionError("a push needs a token", option="HF_TOKEN", fix=LOGIN)


def check_push(repo_id: str) -> None:
    """Raise an [`OptionError`] before long work, without contacting the Hub, where a push would fail after it."""
    check_repo_id(repo_id)
    check_token(connect())


@contextmanager
def hub_errors(
    api: HfApi, repo_id: str, revision: str | None = None, repo_type: str = "model", fetching: bool = False
) -> Iterator[None]:
    """Translate huggingface_hub's exceptions to a [`HubError`], without the token."""
    endpoint = api.endpoint
    absent = f"there is no {repo_type} repo {repo_id} at {endpoint} that your token may see"
    create = "" if fetching else f"create it with `hf repos create {repo_id}`, "
    check_name = f"check its name, {create}or {LOGIN}"

    def clean(said: object) -> str:
        text = " ".join(str(said or "").split())
        for secret in filter(None, (api.token, get_token())):
            text = text.replace(str(secret), "***")
        return text

    def refused(said: str, status: int | None = None) -> HubError:
        if status in (None, 402, 403, 413, 507) and _QUOTA.search(said):
            fix = f"free some at {endpoint}/settings/billing, push with --public, or push to another namespace"
            return HubError(f"there is no storage left for {repo_id} ({said})", status, fix)
        what = "does not hand over" if fetching else "refuses the push to"
        problem = f"{endpoint} {what} {repo_id}{f' with status {status}' if status else ''} ({said})"
        return HubError(problem, status, "fix what it names and try again")

    def answered(error: hf.HfHubHTTPError) -> HubError:
        status, headers = error.response.status_code, error.response.headers
        message = clean(error.server_message)
        if status == 401 and headers.get("X-Error-Message") != _INVALID_TOKEN:
            return HubError(absent, status, check_name)  # huggingface_hub knows a missing repo by a 401 only on https
        if status in (403, 507) and _QUOTA.search(message):
            return refused(message, status)
        if str(error.response.request.url).endswith("/api/repos/create"):
            problem = f"your token may not create a repo under {repo_id.split('/')[0]}"
            forbidden = problem, "push to a namespace of your own, or use a token with write access to this one"
        elif fetching:
            forbidden = f"your token may not read {repo_id}", "ask its owner for access"
        else:
            forbidden = f"your token may not write to {repo_id}", "use one that may, or open a pull request with --pr"
        seconds = headers.get("Retry-After", "")
        wait = f"{seconds} seconds" if seconds.isdigit() else "some minutes"
        changed = f"{repo_id} was changed by somebody else at the same time, twice", "try again"
        said = {
            401: (f"{endpoint} does not accept the token", LOGIN),
            403: forbidden,
            409: changed,
            412: changed,
            429: (f"{endpoint} has had too many requests from you", f"wait {wait} and try again"),
        }
        if status >= 500:
            said[status] = f"{endpoint} fails with status {status}", "try again later"
        if status not in said:
            return refused(message, status)
        problem, fix = said[status]
        return HubError(problem + (f" ({message})" if message else ""), status, fix)

    offline = " and without HF_HUB_OFFLINE" if constants.is_offline_mode() else ""
    absent_here = f"{repo_id} at {revision or 'main'} is not whole in the cache and {endpoint} cannot be reached"
    oidc = "HF_OIDC_RESOURCE is set, but no token comes of it"
    known = (  # offline is the cause of what is not in the cache, which comes before it
        (hf.HFValidationError, f"{repo_id!r} is no repo id", None, "pass one such as me/my-model"),
        (hf.GatedRepoError, f"{repo_id} is gated", 403, f"ask for access at {endpoint}/{repo_id} and try again"),
        (hf.RepositoryNotFoundError, absent, 404, check_name),
        (hf.RevisionNotFoundError, f"{repo_id} has no revision {revision or 'main'}", 404, "pass one that it has"),
        (hf.LocalEntryNotFoundError, absent_here, None, f"fetch it once with the network{offline}"),
        (hf.OfflineModeIsEnabled, f"nothing is pushed to {repo_id}, as HF_HUB_OFFLINE is set", None, "unset it"),
        (hf.OIDCError, oidc, None, "unset it and set HF_TOKEN, or fix the CI's permissions"),
        (UnicodeEncodeError, "the token is none of the Hub's", None, LOGIN),
    )

    def translated(error: BaseException | None) -> HubError | None:
        for kind, problem, status, fix in known:
            if isinstance(error, kind):
                return HubError(problem, status, fix)
        match error:
            case hf.HfHubHTTPError():
                return answered(error)
            case hf.HTTPError():  # huggingface_hub's name for the errors of whichever HTTP library it chose
                fix = "check the network, or HF_ENDPOINT, and try again"
                return HubError(f"{endpoint} cannot be reached ({type(error).__name__})", fix=fix)
            case RuntimeError() if isinstance(error.__cause__, hf.HTTPError):  # an upload that failed
                return translated(error.__cause__)
            case KeyError() | ValueError() if not _is_of_client(error):
                return None  # a bug of ours must surface as one
            case KeyError() | json.JSONDecodeError():
                return HubError(f"{endpoint} does not answer as a Hub does", fix="check HF_ENDPOINT")
            case ValueError():  # what the client makes of the Hub's own check of the card, and of a full store
                said = clean(error)
                if said.startswith("LFS batch API"):
                    return refused(said)
                problem = f"{endpoint} does not accept the metadata in README.md of {repo_id} ({said})"
                return HubError(problem, fix="fix it and try again")
        return None

    try:
        yield
    except Exception as error:
        if found := translated(error):
            raise found from None
        raise


def _is_of_client(error: Exception) -> bool:
    names = (str(frame.f_globals.get("__name__")) for frame, _ in walk_tb(error.__traceback__))
    return any(name.partition(".")[0] == "huggingface_hub" for name in names)


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

    Only safetensors are taken as weights, and no code. Downloads resume; offline, a whole model in the cache is used.

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
        download = partial(
            snapshot_download,
            repo_id,
            revision=revision,
            token=api.token,
            endpoint=api.endpoint,
            allow_patterns=[*FILES, *weights],
            ignore_patterns=["*/*"],  # reports, other formats and other checkpoints
            local_files_only=pickled is None,
            library_name="toolalpaca-hf",
        )
        folder = Path(download())
        if cut := _cut_off(repo_id, folder):
            if pickled is None:
                problem = f"not whole ({', '.join(path.name for path in cut)} cut off)"
                raise InputError(problem, file=repo_id, fix="fetch it again with the network")
            for path in cut:  # the client takes what is there for whole
                path.resolve().unlink(missing_ok=True)  # two names may share it
                path.unlink(missing_ok=True)
            download()
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
    if not hub_answers(api.endpoint):
        return None
    try:
        names = api.list_repo_files(repo_id, revision=revision)
    except (hf.OfflineModeIsEnabled, hf.HTTPError) as error:
        if isinstance(error, hf.HfHubHTTPError) and error.response.status_code < 500:
            raise
        return None
    if any(fnmatchcase(name, pattern) for name in names for pattern in WEIGHTS if "/" not in name):
        return False
    if any(BINS.fullmatch(name) for name in names):
        return True
    raise HubError(f"{repo_id} at {revision or 'main'} has no weights", fix="is it a model of transformers?")


def _has_weights(folder: Path, patterns: tuple[str, ...]) -> bool:
    return any(path for pattern in patterns for path in folder.glob(pattern))


def _cut_off(repo_id: str, folder: Path) -> list[Path]:
    """Files of a snapshot that are shorter than the Hub says, where the cache knows it."""
    with suppress(hf.CachedRepoTreeNotFoundError):
        sizes = {file.path: file.size or 0 for file in get_cached_repo_tree(repo_id, revision=folder.name)}
        return [path for path in folder.iterdir() if path.is_file() and path.stat().st_size < sizes.get(path.name, 0)]
    return []


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
