"""Prepares a training run's folder for publication: weights (merged, sharded), tokenizer, settings and card."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub import split_state_dict_into_shards_factory

from ..checkpoints import SMOLLM2, resolve_model
from ..errors import InputError, OptionError, needing
from ..formats import ReactPrompt, UpstreamPrompt
from ..storage import atomic_path, disk_errors, read_json, read_yaml
from .client import INDEX, check_push, check_repo_id, connect, indexed
from .model_card import CardFacts, licence_of, model_card, template_for
from .push import Content, Manifest, as_bytes, select_files
from .results import evaluation_files, read_run, with_kept_results, with_source

SHARD_BYTES = 5_000_000_000  # of a file of weights: one that fails on its way costs minutes, not hours

MADE, SAVE = "_publish", "save the model again"
WANTED = (
    "config.json generation_config.json *.safetensors model.safetensors.index.json adapter_config.json "
    "tokenizer.json tokenizer.model tokenizer_config.json special_tokens_map.json added_tokens.json vocab.json "
    "vocab.txt merges.txt chat_template.jinja config.yaml metrics.json LICENSE* NOTICE*"
).split()
TOKEN_IDS = ("bos_token_id", "eos_token_id", "pad_token_id")
OWNED = (
    "*.safetensors model.safetensors.index.json adapter_config.json pytorch_model*.bin pytorch_model.bin.index.json"
).split()


def check_publishable(
    settings: Mapping[str, Any], repo_id: str, base_model: str | None = None, licence: str | None = None
) -> None:
    """Fail before training, without contacting the Hub, where publishing would fail after it; `settings` is the run's
    `config.yaml`, the others are as in [`model_manifest`]."""
    check_push(repo_id)
    base = _base_of(settings, base_model)
    licence_of(template_for(settings, {}, base), base, licence)


def model_manifest(
    run: str | Path,
    repo_id: str,
    results: Sequence[str | Path] = (),
    merge: bool = False,
    card: str | None = None,
    base_model: str | None = None,
    licence: str | None = None,
    evaluated_as: str | None = None,
    endpoint: str | None = None,
    shard_bytes: int = SHARD_BYTES,
) -> Manifest:
    """Collect what to push from a training run's folder: safetensors, tokenizer, settings, evaluations and a card.

    Checkpoints, optimizer states, pickles, logs, hidden files and local paths are left out.

    Args:
        run (`str` or `Path`): Written by `recipes/sft.py`: full weights, or an adapter, pushed as such unless `merge`.
        results (`Sequence[str | Path]`, *optional*): Output folders of `toolalpaca evaluate`, one per suite.
        card (`str`, *optional*): A template of `model_cards/`; chosen by the run's settings by default.
        base_model (`str`, *optional*): The base's Hub id, for a run that was trained from a folder.
        licence (`str`, *optional*): The weights' licence as a Hub identifier, if the template does not know it.
        evaluated_as (`str`, *optional*): The model's name in `results`, if not the run's folder or `repo_id`.

    Raises:
        [`InputError`]: The folder is no finished run or has no safetensors, or a figure of the card is missing.
        [`OptionError`]: The base model or the licence is not known, or results are another model's.
    """
    run = Path(run)
    check_repo_id(repo_id)
    files, left_out = select_files(run, WANTED)
    left_out.pop("README.md", None)  # the run's own account, which the card replaces
    settings = read_yaml(run / "config.yaml", "pass a folder that recipes/sft.py wrote")
    metrics = read_json(run / "metrics.json", "finish the training", dict)
    base = _base_of(settings, base_model)
    adapter = read_json(run / "adapter_config.json", "train again", dict) if "adapter_config.json" in files else None
    if merge:
        if adapter is None:
            raise OptionError(f"{run} holds no adapter to merge", option="--merge", fix="publish it without")
        files = {path: content for path, content in files.items() if not path.startswith("adapter_")}
        files |= merge_adapter(run)
    if not any(path.endswith(".safetensors") for path in files):
        raise InputError("no weights as safetensors", file=run, fix="save them so (`save_pretrained` does)")
    files = shard_weights(run, files, shard_bytes)
    card = card or template_for(settings, metrics, base)
    public = _public(settings) | {"model_name_or_path": base}
    files["config.yaml"] = yaml.safe_dump(public, sort_keys=True, allow_unicode=True).encode("utf-8")
    if adapter is not None and not merge:
        files["adapter_config.json"] = _dump(adapter | {"base_model_name_or_path": base, "revision": None})
    else:
        # Native tool calls end with a token, and Toolformer's are inline.
        react = settings.get("dataset_config") != "chat" and card != "toolformer"
        stops = [prompt.stop.rstrip() for prompt in (ReactPrompt, UpstreamPrompt)] if react else []
        files["generation_config.json"] = _generation_config(files, stops)
    evaluations = [read_run(folder) for folder in results]
    for folder, scored in zip(results, (evaluation.model for evaluation in evaluations), strict=True):
        if scored and not {scored, Path(scored).name} & {run.name, str(run), repo_id, evaluated_as}:
            fix = f"pass its own results, or --evaluated-as {scored} if it is"
            raise OptionError(f"{folder} scores {scored}, which is not this model", option="--results", fix=fix)
    if len({evaluation.suite for evaluation in evaluations}) < len(evaluations):
        raise OptionError("two folders score the same suite", option="--results", fix="pass one of them")
    files |= evaluation_files(evaluations)
    kind = "merged" if merge else "full" if adapter is None else "adapter"
    results_by_suite = with_source(evaluations, connect(endpoint=endpoint).endpoint, repo_id)
    text = model_card(CardFacts(repo_id, settings, metrics, base, kind, licence, evaluations, results_by_suite), card)
    files["README.md"] = text.encode("utf-8")
    merge_card = partial(with_kept_results, text, name=repo_id.split("/")[-1])
    message = "Upload model with toolalpaca-hf"
    return Manifest("model", dict(sorted(files.items())), message, left_out, tuple(OWNED), merge_card)


def _base_of(settings: Mapping[str, Any], named: str | None) -> str:
    base = str(named or settings.get("model_name_or_path") or "")
    if base == "smollm2":
        return SMOLLM2
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", base) or (not named and Path(base).is_dir()):
        problem = f"the run started from {base or 'an unnamed model'}, which is no id of the Hub"
        raise OptionError(problem, option="--base-model", fix="pass its id")
    return base


def _public(value: Any) -> Any:
    """A setting with only the names of this machine's folders, which nobody else has."""
    if isinstance(value, dict):
        return {name: _public(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_public(item) for item in value]
    return Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value


def _dump(value: Any, sort_keys: bool = False) -> bytes:
    return (json.dumps(value, indent=2, sort_keys=sort_keys) + "\n").encode("utf-8")


def _generation_config(files: Mapping[str, Content], stops: list[str]) -> bytes:
    """The model's own, with the places where a turn ends: the tokenizer's end, and before an observation."""

    def read(name: str) -> dict[str, Any]:
        path = files.get(name)
        found = read_json(path, "train again") if isinstance(path, Path) else {}
        return found if isinstance(found, dict) else {}

    own = {name: value for name, value in read("config.json").items() if name in TOKEN_IDS}
    config = own | read("generation_config.json")
    config.pop("_from_model_config", None)
    end = read("tokenizer_config.json").get("eos_token")
    end = end.get("content") if isinstance(end, dict) else end
    tokens = {token.get("content"): token.get("id") for token in read("tokenizer.json").get("added_tokens", [])}
    ends = config.get("eos_token_id")
    ends = ends if isinstance(ends, list) else [] if ends is None else [ends]
    if end in tokens and tokens[end] not in ends:
        config["eos_token_id"] = [*ends, tokens[end]]
    if stops:
        config["stop_strings"] = stops
    return _dump(config, sort_keys=True)


def merge_adapter(run: Path) -> dict[str, Content]:
    """Merge the run's adapter into its base, once, under `RUN/_publish/merged`; returns files by name."""
    folder = run / MADE / "merged"
    mark = folder / "merged.json"
    try:
        with (run / "adapter_model.safetensors").open("rb") as file:
            digest = hashlib.file_digest(file, "sha256")
        digest.update((run / "adapter_config.json").read_bytes())
        made = {"adapter": digest.hexdigest()}
        if not (mark.is_file() and json.loads(mark.read_text(encoding="utf-8")) == made):
            mark.unlink(missing_ok=True)
            with needing("merging", "train"):
                from peft import AutoPeftModelForCausalLM, PeftConfig
            config = PeftConfig.from_pretrained(str(run))
            # Use the base's own precision, not the 4 bits it may have been trained in: rounding twice is worse.
            config.base_model_name_or_path = resolve_model(str(config.base_model_name_or_path))
            model: Any = AutoPeftModelForCausalLM.from_pretrained(str(run), config=config, dtype="auto")
            model.merge_and_unload(safe_merge=True).save_pretrained(folder)
            mark.write_text(json.dumps(made), encoding="utf-8")
        return {path.name: path for path in sorted(folder.iterdir()) if path != mark and path.name != "README.md"}
    except (OSError, ValueError, RuntimeError) as error:
        raise InputError(f"its adapter cannot be merged: {' '.join(str(error).split())}", file=run) from None


def shard_weights(run: Path, files: Mapping[str, Content], shard_bytes: int) -> dict[str, Content]:
    """Split oversized weight files into shards below `RUN/_publish`; returns the files unchanged if there are none."""
    weights = {
        name: path
        for name, path in files.items()
        if fnmatchcase(name, "model*.safetensors") and isinstance(path, Path)
    }
    sizes = {tensor: (path, size) for name, path in weights.items() for tensor, size in _sizes(name, path)}
    if INDEX in files and (absent := indexed(INDEX, as_bytes(files[INDEX]), SAVE) - set(weights)):
        raise InputError(f"names {min(absent)}, which is not there", file=run / INDEX, fix=SAVE)
    if not any(path.stat().st_size > shard_bytes for path in weights.values()):
        return dict(files)
    with disk_errors(run / MADE, "free some space"):
        made = _cut(sizes, run / MADE / f"shards-{shard_bytes}", shard_bytes)
    return {name: content for name, content in files.items() if name not in weights and name != INDEX} | made


def _sizes(name: str, path: Path) -> list[tuple[str, int]]:
    """Name and bytes of every tensor of a whole file."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy"), path.open("rb") as file:
            head = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    except (SafetensorError, OSError) as error:
        raise InputError(f"no whole file of weights ({error})", file=name, fix=SAVE) from None
    places = {tensor: entry["data_offsets"] for tensor, entry in head.items() if tensor != "__metadata__"}
    return [(tensor, end - start) for tensor, (start, end) in places.items()]


def _cut(sizes: Mapping[str, tuple[Path, int]], folder: Path, shard_bytes: int) -> dict[str, Content]:
    from safetensors import safe_open
    from safetensors.torch import save_file

    split = split_state_dict_into_shards_factory(
        dict(sizes),
        get_storage_size=lambda found: found[1],
        filename_pattern="model{suffix}.safetensors",
        get_storage_id=lambda _: None,
        max_shard_size=shard_bytes,
    )
    made: dict[str, Content] = {}
    for name, tensors in split.filename_to_tensors.items():
        target = folder / name
        newest = max(sizes[tensor][0].stat().st_mtime for tensor in tensors)
        if not (target.is_file() and target.stat().st_mtime > newest):
            state = {}
            for tensor in tensors:
                with safe_open(sizes[tensor][0], framework="pt") as opened:
                    state[tensor] = opened.get_tensor(tensor)
            with atomic_path(target) as part:
                save_file(state, part, metadata={"format": "pt"})
        made[name] = target
    made[INDEX] = _dump({"metadata": split.metadata, "weight_map": dict(sorted(split.tensor_to_filename.items()))})
    return made
