"""Adds evaluation results to a model card's metadata, leaving everything else as it was."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml
from huggingface_hub import EvalResult, ModelCard
from huggingface_hub.repocard import REGEX_YAML_BLOCK
from huggingface_hub.repocard_data import eval_results_to_model_index, model_index_to_eval_results
from huggingface_hub.utils import yaml_dump

from ..errors import InputError

SOURCE = "toolalpaca-hf"  # `source_name` of our results; it identifies an earlier push of the same suite

KEY = "model-index"

_SUITE = re.compile(r"/evaluation/([^/]+)/metrics\.json$")


def put_results(readme: str, name: str, results: Mapping[str, Sequence[EvalResult]]) -> str:
    """Put evaluation results by suite into a card's metadata; everything else stays, including comments in it.

    Earlier results of the same suite are replaced, as is an unattributed result for the same metric on the same data.
    `name` is the model's, for a card without results.
    """
    index = _read(readme).get(KEY) or [{"name": name, "results": []}]
    before = [entry for model in index for entry in model["results"]]
    new = [entry for suite, found in results.items() for entry in _entries(suite, found)]
    replaced = {key for entry in new for key in _keys(entry)}
    after = _kept(before, results, replaced) + new
    if len(before) == len(after) and all(entry in before for entry in after):
        return readme
    index = [model | {"results": _kept(model["results"], results, replaced)} for model in index]
    index[0]["results"] += new
    return _with_index(readme, index)


def _with_index(readme: str, index: list[dict[str, Any]]) -> str:
    head, text, rest = _split(readme)
    line_break = "\r\n" if "\r\n" in readme else "\n"
    changed = _spliced(text, index, line_break)
    card = f"{head}{changed}{rest}" if head else f"---{line_break}{changed}{line_break}---{line_break}{rest}"
    if _read(card) != _read(readme) | {KEY: index}:
        fix = f"write it as plain YAML, without anchors around {KEY}"
        raise InputError("has metadata that cannot be changed without harm", file="README.md", fix=fix)
    return card


def with_kept_results(ours: str, theirs: str, name: str) -> str:
    """Merge into a new card the results that only the earlier one has: other suites', other people's.

    If both then say the same, `theirs` is returned unchanged; if it cannot be read, it holds nothing to keep.
    """
    try:
        there = _read(theirs)
    except InputError:
        return ours
    before = [entry for model in there.get(KEY) or [] for entry in model["results"]]
    index = _read(ours).get(KEY) or [{"name": name, "results": []}]
    new = [entry for model in index for entry in model["results"]]
    replaced = {key for entry in new for key in _keys(entry)}
    suites = {match[1]: None for entry in new if (match := _SUITE.search(str((entry.get("source") or {}).get("url"))))}
    if kept := _kept(before, suites, replaced):
        index[0] = index[0] | {"results": [*kept, *index[0]["results"]]}
        ours = _with_index(ours, index)
    mine = _read(ours)
    alike = {**mine, KEY: _sorted(mine)} == {**there, KEY: _sorted(there)}
    return theirs if alike and _split(ours)[2] == _split(theirs)[2] else ours


def _sorted(metadata: Mapping[str, Any]) -> list[str]:
    # Their order does not matter.
    return sorted(repr(entry) for model in metadata.get(KEY) or [] for entry in model["results"])


def _split(readme: str) -> tuple[str, str, str]:
    """A card before, in and behind its metadata."""
    block = REGEX_YAML_BLOCK.search(readme)
    return (readme[: block.start(2)], block.group(2), readme[block.end(2) :]) if block else ("", "", readme)


def _read(readme: str) -> dict[str, Any]:
    text = _split(readme)[1]
    try:
        metadata = yaml.safe_load(text) or {}
        if text:
            ModelCard(readme)  # the library's own check of `model-index`
        if any(not isinstance(model["results"], list) for model in metadata.get(KEY) or []):
            raise ValueError(f"{KEY} holds no list of results")
    except (yaml.YAMLError, ValueError, TypeError, KeyError, AttributeError) as error:
        problem = f"has metadata that cannot be read ({' '.join(str(error).split())})"
        raise InputError(problem, file="README.md", fix="fix it and try again") from None
    return metadata


def _entries(suite: str, results: Sequence[EvalResult]) -> list[dict[str, Any]]:
    entries = eval_results_to_model_index("", list(results))[0]["results"] if results else []
    found = model_index_to_eval_results([{"name": "", "results": entries}])[1]
    if not all(result in found for result in results):
        # The library identifies a result by task, dataset type, config, split and revision only.
        raise InputError(f"two results of suite {suite} are the same to a card", fix="name one dataset")
    return entries


def _keys(entry: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """What identifies each metric of an entry. Names may include the interval, so they count only without a config."""
    data = entry["dataset"]
    about = (entry["task"]["type"], *(data.get(key) for key in ("type", "name", "config", "split", "revision")))
    return [(*about, metric["type"], metric.get("config") or metric.get("name")) for metric in entry["metrics"]]


def _kept(
    entries: Sequence[Mapping[str, Any]], suites: Mapping[str, Any], replaced: set[tuple[Any, ...]]
) -> list[dict[str, Any]]:
    kept = []
    for entry in entries:
        source = entry.get("source") or {}
        ours = source.get("name") == SOURCE
        if ours and any(str(source.get("url")).endswith(f"/evaluation/{suite}/metrics.json") for suite in suites):
            continue
        metrics = entry["metrics"]
        if not source:
            metrics = [metric for metric, key in zip(metrics, _keys(entry), strict=True) if key not in replaced]
        if metrics or not entry["metrics"]:
            kept.append({**entry, "metrics": metrics})
    return kept


def _spliced(text: str, index: list[dict[str, Any]], line_break: str) -> str:
    # Dumping the whole metadata again would lose its comments, and read `language: no` as false.
    dumped = yaml_dump({KEY: index}, sort_keys=False, line_break=line_break).rstrip()
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    for key, value in root.value if root else ():
        if key.value == KEY:
            end = len(text[: _end(value)].rstrip())
            return text[: key.start_mark.index] + dumped + text[end:]
    return f"{text}{line_break}{dumped}" if text.strip() else dumped


def _end(node: yaml.Node) -> int:
    """Where a node's text ends; YAML's own mark for a block comes after the comments that follow it."""
    if not isinstance(node, yaml.CollectionNode) or node.flow_style or not node.value:
        return node.end_mark.index
    last = node.value[-1]
    return _end(last[1] if isinstance(last, tuple) else last)
