"""Pushes a model's evaluation results to its repo: reports as files, figures in the card, whose rest stays."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from itertools import product
from pathlib import Path
from typing import Any
from urllib.parse import quote

import yaml
from huggingface_hub import EvalResult, EvalResultEntry, ModelCard, eval_result_entries_to_yaml
from huggingface_hub.repocard import REGEX_YAML_BLOCK
from huggingface_hub.repocard_data import eval_results_to_model_index, model_index_to_eval_results
from huggingface_hub.utils import yaml_dump

from ..errors import InputError, OptionError
from ..evaluation import model_index
from ..storage import read_json, read_text
from .client import check_repo_id, connect
from .push import Content, Manifest, without_places

PUSHED = ("metrics.json", "report.md", "report.html")  # of a run; only the first has to be there

SCORES = ("ast", "process verdict")  # the first that a run has stands for its suite on the Hub

SOURCE = "toolalpaca-hf"  # `source_name` of our results; it identifies an earlier push of the same suite
KEY = "model-index"
_SUITE = re.compile(r"/evaluation/([^/]+)/metrics\.json$")

WAYS = {"with_calls": "with calls", "without_calls": "calls disabled"}
AGAIN = "run toolalpaca evaluate again"
OTHER = "pass a folder that toolalpaca evaluate wrote"


@dataclass(frozen=True)
class EvaluationRun:
    """An output folder of `toolalpaca evaluate`."""

    suite: str  # as a folder's name in the repo
    files: dict[str, bytes]  # those of `PUSHED` that are there
    results: list[EvalResult]  # for a model card, without their source
    model: str
    about: str  # the number of instructions, and how many failed
    rates: dict[str, dict[str, Any]]  # each with its interval, by name


def read_run(folder: str | Path) -> EvaluationRun:
    """Read an output folder of `toolalpaca evaluate` or `toolalpaca toolformer evaluate`.

    Raises [`InputError`] if `metrics.json` is not whole, [`OptionError`] if no folder can be named after the suite.
    """
    folder = Path(folder)
    path = folder / "metrics.json"
    metrics: dict[str, Any] = read_json(path, AGAIN, dict)
    tasks = all(isinstance(metrics.get(name), list) for name in ("results", "tools"))
    suite = "toolformer" if tasks else metrics.get("suite")
    if not isinstance(suite, str) or not suite:
        fix = "score the recorded file with --trajectories and --suite" if "judge" in metrics else OTHER
        raise InputError("names no suite", file=path, fix=fix)
    # A user's own suite is named after its file, which may have any name.
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", suite).strip("-.")
    if not name:
        raise OptionError(f"{suite!r} is no name for a suite", fix="pass one with letters or digits")
    present = [file for file in PUSHED if (folder / file).is_file()]
    files = {file: without_places(read_text(folder / file, OTHER), metrics).encode() for file in present}
    if tasks:
        about = f"Tools at hand: {', '.join(map(str, metrics['tools'])) or 'none'}."
        model, rates, results = _toolformer(path, metrics)
        return EvaluationRun(name, files, results, model, about, rates)
    rates = _rates(path, metrics)
    results = [EvalResult(**result) for result in model_index(metrics)]
    absent = sum(metrics[key] for key in ("failed", "missing") if type(metrics.get(key)) is int)
    about = f"{metrics['n']} instructions{f'; {absent} failed or missing, which count as wrong' if absent else ''}."
    return EvaluationRun(name, files, results, str(metrics.get("model") or ""), about, rates)


def _rates(path: Path, metrics: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Every rate by its name in words."""
    if type(metrics.get("n")) is not int or metrics["n"] < 1:
        raise InputError("has no number of instructions `n`", file=path, fix=OTHER)
    try:
        found = {**metrics.get("calls", {}), **metrics.get("judge_rates", {})}
        if "process_verdict" in metrics:
            found["process_verdict"] = metrics["process_verdict"]
        rates = {name.replace("_", " "): {"value": None, **rate} for name, rate in found.items()}
    except (AttributeError, TypeError):  # something is no mapping
        raise InputError("holds figures in an unknown layout", file=path, fix=AGAIN) from None
    if not rates and "judge" not in metrics:
        raise InputError("holds no figure", file=path, fix=OTHER)
    for name, rate in rates.items():
        shares = [rate.get(part) for part in ("value", "low", "high")]
        numbers = [share for share in shares if isinstance(share, int | float) and not isinstance(share, bool)]
        wrong = len(numbers) < len(shares) or not all(0 <= share <= 1 for share in numbers)
        if rate["value"] is not None and (wrong or "n" not in rate):
            raise InputError(f"has {shares} for {name}, where shares are expected", file=path, fix=AGAIN)
    return rates


def _toolformer(path: Path, metrics: Mapping[str, Any]) -> tuple[str, dict[str, Any], list[EvalResult]]:
    """The name of the single model, each rate with its interval, and the results for a card."""
    rates: dict[str, Any] = {}
    results = []
    try:
        models = sorted({row["model"] for row in metrics["results"]})
        for row, (way, words) in product(metrics["results"], WAYS.items()):
            if (rate := row.get(way)) and rate["value"] is not None:
                rates[f"{row['title']}, {words} (n = {rate['n']})"] = rate
                about = ("text-generation", row["task"], row["title"], row["measure"], _percent(rate["value"]))
                interval = f"95% interval {_percent(rate['low'])} to {_percent(rate['high'])}, n = {rate['n']}"
                name, config = f"{words} (%; {interval})", f"{row['task']}, {way}"
                task = "Toolformer's tasks"
                results.append(EvalResult(*about, task_name=task, metric_name=name, metric_config=config))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise InputError(f"holds figures in an unknown layout ({error})", file=path, fix="evaluate again") from None
    if len(models) != 1:
        raise InputError(f"holds figures of {len(models)} models", file=path, fix="evaluate only the published one")
    if not results:
        raise InputError("holds no figure", file=path, fix="evaluate a task")
    return str(models[0]), rates, results


def _percent(value: Any) -> float:
    if type(value) not in (int, float) or not 0 <= value <= 1:
        raise ValueError(f"{value!r} is no share")
    return round(100 * value, 1)


def results_manifest(
    runs: Sequence[EvaluationRun],
    repo_id: str,
    endpoint: str | None = None,
    revision: str | None = None,
    benchmark: str | None = None,
) -> Manifest:
    """Collect what a push of evaluation results to an existing model repo writes.

    These are `evaluation/SUITE/metrics.json`, `report.md` and `report.html`, and the figures in the card's
    `model-index`; other results and the rest of the card stay.

    Args:
        benchmark (`str`, *optional*): Dataset repo with an `eval.yaml`: `.eval_results/` gets the process verdict
            (and BFCL's) as well, which the Hub shows on the model's page and the benchmark's leaderboard.

    Raises [`OptionError`] if there is no run, two have one suite, or a repo id is none.
    """
    check_repo_id(repo_id)
    if not runs:
        raise OptionError("no results to push", fix="pass a folder that toolalpaca evaluate wrote")
    suites = [run.suite for run in runs]
    if len(set(suites)) < len(suites):
        raise OptionError(f"two runs share evaluation/{max(suites, key=suites.count)}", fix="pass one of them")
    name, results = repo_id.split("/")[-1], with_source(runs, connect(endpoint=endpoint).endpoint, repo_id, revision)
    empty = files("toolalpaca_hf.hub").joinpath("card.md").read_text(encoding="utf-8").replace("$name", name)

    def merge_card(card: str) -> str:
        return put_results(card if card.strip() else empty, name, results)

    contents = evaluation_files(runs) | _entries(runs, results, benchmark) | {"README.md": merge_card("").encode()}
    # An earlier run's report must not remain next to this run's metrics.
    owned = tuple(f"evaluation/{suite}/{file}" for suite in suites for file in PUSHED)
    return Manifest("model", contents, f"Evaluation results: {' and '.join(suites)}", {}, owned, merge_card, True)


def _entries(
    runs: Sequence[EvaluationRun], results: Mapping[str, list[EvalResult]], benchmark: str | None
) -> dict[str, Content]:
    """`.eval_results/*.yaml` by path: for each suite, its score and where it comes from."""
    if not benchmark:
        return {}
    check_repo_id(benchmark)
    files: dict[str, Content] = {}
    for run in runs:
        name = next((name for name in SCORES if name in run.rates), None)
        value = run.rates[name]["value"] if name else None
        if value is not None and results[run.suite]:
            source = {"source_name": "Evaluation", "source_url": results[run.suite][0].source_url}
            notes = f"{name}, percent; {run.about}"
            entry = EvalResultEntry(benchmark, run.suite, _percent(value), notes=notes, **source)
            text = yaml.safe_dump(eval_result_entries_to_yaml([entry]), sort_keys=False)
            files[f".eval_results/{SOURCE}-{run.suite}.yaml"] = text.encode("utf-8")
    return files


def evaluation_files(runs: Sequence[EvaluationRun]) -> dict[str, Content]:
    return {f"evaluation/{run.suite}/{name}": content for run in runs for name, content in run.files.items()}


def with_source(
    runs: Sequence[EvaluationRun], endpoint: str, repo_id: str, revision: str | None = None
) -> dict[str, list[EvalResult]]:
    """The results of evaluations by suite, each with its source: the `metrics.json` in the repo."""
    # A pull request's files are on its branch once it is merged.
    branch = "main" if not revision or revision.startswith("refs/") else quote(revision, safe="")
    where = f"{endpoint}/{repo_id}/blob/{branch}/evaluation"
    sources = {run.suite: {"source_name": SOURCE, "source_url": f"{where}/{run.suite}/metrics.json"} for run in runs}
    return {run.suite: [replace(result, **sources[run.suite]) for result in run.results] for run in runs}


def put_results(readme: str, name: str, results: Mapping[str, Sequence[EvalResult]]) -> str:
    """Put results by suite into a card: those of the same suite or, unattributed, metric are replaced, no more."""
    metadata = _metadata(readme)
    new = [entry for suite, found in results.items() for entry in _card_entries(suite, found)]
    index = _merged(metadata.get(KEY) or [{"name": name, "results": []}], new, results)
    before, after = _entries_of(metadata), _entries_of({KEY: index})
    same = len(before) == len(after) and all(entry in before for entry in after)
    return readme if same else _with_index(readme, index)


def _merged(index: Sequence[Mapping[str, Any]], new: list[Any], suites: Iterable[str]) -> list[dict[str, Any]]:
    """An index with new entries in place of those of the same suites or, unattributed, metrics."""
    replaced = {key for entry in new for key in _keys(entry)}
    merged = [{**model, "results": _kept(model["results"], suites, replaced)} for model in index]
    merged[0]["results"] += new
    return merged


def _entries_of(metadata: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [entry for model in metadata.get(KEY) or [] for entry in model["results"]]


def _sorted(metadata: Mapping[str, Any]) -> list[str]:
    return sorted(map(repr, _entries_of(metadata)))  # their order does not matter


def _with_index(readme: str, index: list[dict[str, Any]]) -> str:
    head, text, rest = _split(readme)
    line_break = "\r\n" if "\r\n" in readme else "\n"
    changed = _spliced(text, index, line_break)
    card = f"{head}{changed}{rest}" if head else f"---{line_break}{changed}{line_break}---{line_break}{rest}"
    if _metadata(card) != _metadata(readme) | {KEY: index}:
        raise InputError("has metadata that would be harmed", file="README.md", fix=f"write {KEY} without anchors")
    return card


def with_kept_results(ours: str, theirs: str, name: str) -> str:
    """A new card with the results that only the earlier one has; the earlier one, if both then say the same."""
    try:
        there = _metadata(theirs)
    except InputError:  # it holds nothing to keep
        return ours
    new = _entries_of(_metadata(ours))
    suites = [match[1] for entry in new if (match := _SUITE.search(str((entry.get("source") or {}).get("url"))))]
    index = _merged([{"name": name, "results": _entries_of(there)}], new, suites)
    ours = _with_index(ours, index) if len(index[0]["results"]) > len(new) else ours
    mine = _metadata(ours)
    alike = {**mine, KEY: _sorted(mine)} == {**there, KEY: _sorted(there)}
    return theirs if alike and _split(ours)[2] == _split(theirs)[2] else ours


def _split(readme: str) -> tuple[str, str, str]:
    """A card before, in and behind its metadata."""
    block = REGEX_YAML_BLOCK.search(readme)
    return (readme[: block.start(2)], block.group(2), readme[block.end(2) :]) if block else ("", "", readme)


def _metadata(readme: str) -> dict[str, Any]:
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


def _card_entries(suite: str, results: Sequence[EvalResult]) -> list[dict[str, Any]]:
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
    entries: Sequence[Mapping[str, Any]], suites: Iterable[str], replaced: set[tuple[Any, ...]]
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
            return text[: key.start_mark.index] + dumped + text[len(text[: _end(value)].rstrip()) :]
    return f"{text}{line_break}{dumped}" if text.strip() else dumped


def _end(node: yaml.Node) -> int:
    """Where a node's text ends; YAML's own mark for a block comes after the comments that follow it."""
    if not isinstance(node, yaml.CollectionNode) or node.flow_style or not node.value:
        return node.end_mark.index
    last = node.value[-1]
    return _end(last[1] if isinstance(last, tuple) else last)
