"""Annotation as a resumable pipeline of tasks, one per shard of texts, and the report of what it kept."""

import hashlib
import json
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from ... import __version__
from ...checkpoints import load_tokenizer, resolve_model
from ...errors import InputError, NotFoundError, OptionError
from ...executors import run_pipeline, unfinished_tasks, watching
from ...report import render, write_texts
from ...storage import JsonlLog, claim_settings, write_json
from ..rows import SUFFIXES, BadRow, hub_rows, read_rows
from ..tools import ResultCache, Tool, execute, open_tools, prompt_for
from .annotator import Annotator, Document, Execute
from .config import THRESHOLDS, AnnotationConfig, settings_for

ROUND = 4  # texts annotated together, hundreds of sampled calls at once; a killed task loses at most so many
NO_MODEL = "pass another --model"
TEXT_FIELDS = ("text", "raw_content", "content")  # everywhere, in CCNet, in RefinedWeb's layout
DATE_FIELDS = ("date", "date_published", "date_download", "timestamp")  # the last two of CCNet and C4
_ERRORS = 5  # of a tool, in the report
_LARGE = 50_000_000  # bytes of input that is not read ahead to count its texts for a progress bar


class AnnotateStep:
    """A datatrove step that annotates its task's shard, continuing `annotated-RANK.jsonl` if it exists."""

    def __init__(self, config: AnnotationConfig) -> None:
        self._config = config.absolute()

    def __call__(self, data: Any = None, rank: int = 0, world_size: int = 1) -> Iterator[Any]:
        yield from data or ()
        config, out = self._config, Path(self._config.out)
        with ExitStack() as stack:
            log = stack.enter_context(JsonlLog(out / f"annotated-{rank:05d}.jsonl", key=None))
            # A text's candidates are written before its row, so there may be extra ones.
            every = JsonlLog(out / f"candidates-{rank:05d}.jsonl", key=None, limit=log.count)
            candidates = stack.enter_context(every) if config.candidates else None
            left = None if config.limit is None else max(0, config.limit - log.count)
            documents = read_texts(config.source, rank, world_size, config.split, config.text_field, log.count)
            documents, annotator = islice(documents, left), None
            while some := list(islice(documents, ROUND)):
                annotator = annotator or load_annotator(config, stack.enter_context(config_tools(config)), rank)
                found = annotator.annotate(some)
                if candidates:
                    candidates.append(*(annotated.candidates_row() for annotated in found))
                log.append(*(annotated.row for annotated in found))


def annotate(config: AnnotationConfig) -> dict[str, Any]:
    """Annotate texts; if interrupted and called again, resume at the first missing text.

    Returns the contents of `report.json`; empty if the tasks are still pending, as on Slurm. What cannot be used is a
    [`ToolAlpacaError`], as is a task that failed.
    """
    out, tasks, workers = Path(config.out), config.tasks, config.workers or config.tasks
    local = config.executor == "local"
    files_of(config.source)  # a wrong name is reported at once
    if out.resolve().is_relative_to(Path(config.source).resolve()):
        problem = f"{out} lies in the folder of --input, where its files would be texts"
        raise OptionError(problem, option="--out", fix="pass a folder outside of it")
    with config_tools(config) as tools:
        for tool in tools.values():
            prompt_for(tool)
        chosen = {name: replace(config.settings.of(name), **config.thresholds) for name in tools}
    if config.thresholds:
        config = replace(config, settings=replace(config.settings, tools=chosen), thresholds={})
    if local:
        load_tokenizer(config.model, NO_MODEL)  # a wrong one is reported before the folder is claimed for it
    if config.endpoint:
        from ...llm import ModelClient

        ModelClient(config.endpoint, config.model)  # refuses a URL that holds a key before it is written anywhere
    settings = config.deciding() | {"tasks": tasks, "texts": _hash_of(config.source)}
    claim_settings(out / "config.json", settings, "an annotation", toolalpaca_hf=__version__)
    if config.threads is None and local and (processes := min(workers, tasks)) > 1:  # another machine has other cores
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        config = replace(config, threads=max(1, cores // processes))
    how: dict[str, Any] = {"executor": config.executor, "tasks": tasks, "workers": workers, "slurm": config.slurm}
    with _progress_bar(config) if config.progress else nullcontext():
        run_pipeline([AnnotateStep(config)], logging_dir=out / "logs", **how)
    # On Slurm the tasks are still pending; running the same command after them writes the report.
    return {} if unfinished_tasks(out / "logs", tasks) else write_report(out)


def config_tools(config: AnnotationConfig) -> AbstractContextManager[dict[str, Tool]]:
    if not (config.tools or config.own or config.api):
        raise OptionError("names no tool", option="--tools", fix="pass calculator, say")
    return open_tools(config.tools, config.api, config.own() if config.own else (), **config.context)


def load_annotator(config: AnnotationConfig, tools: Mapping[str, Tool], rank: int = 0) -> Annotator:
    """Create an [`Annotator`] from a config and open tools; tasks share the available GPUs."""
    prompts = {tool.name: prompt_for(tool, config.markers) for tool in tools.values()}
    settings, markers = config.settings, config.markers
    for tool in tools.values():
        tool.check()
    cache = ResultCache(Path(config.out) / "results.sqlite", shared_disk=config.executor != "local")
    if config.endpoint:
        from transformers import AutoConfig

        from .sample import EndpointSampler, EndpointScorer

        tokenizer = load_tokenizer(config.model, NO_MODEL)
        scorer = EndpointScorer(config.endpoint, config.served_model or config.model, tokenizer, markers)
        scorer.check()
        sampler = EndpointSampler(scorer, markers, settings.temperature, settings.call_tokens)
        sampler.check()
        context = scorer.server.context_length()
        with suppress(OSError, ValueError):  # where it does not say: of the model, if this is more than a tokenizer
            context = context or _length_of(AutoConfig.from_pretrained(resolve_model(config.model)))
    else:
        import torch

        from ...inference import load_model
        from ...precision import default_device
        from .sample import LocalScorer, Sampler

        if config.threads:
            torch.set_num_threads(config.threads)
        device = default_device()
        if device.type != "cpu":
            device = torch.device(device.type, rank % torch.accelerator.device_count())
        model, tokenizer = load_model(resolve_model(config.model), str(device), config.dtype)
        scorer = LocalScorer(model, tokenizer, markers=markers)
        sampler = Sampler(scorer, markers, settings.temperature, settings.call_tokens)
        context = _length_of(model.config)
    annotator = Annotator(scorer, sampler, prompts, executor_of(tools, cache, config), markers, settings)
    if context:  # a text has to fit twice after the longest prompt, plus a call
        longest = max(len(prompt.head) + len(prompt.tail) for prompt in annotator.prompts.values())
        annotator.room = max(0, (context - longest - settings.call_tokens) // 2)
    return annotator


def _length_of(config: Any) -> int | None:
    return getattr(config.get_text_config(decoder=True), "max_position_embeddings", None)


def executor_of(tools: Mapping[str, Tool], cache: ResultCache, config: AnnotationConfig) -> Execute:
    """What executes an annotation's calls."""
    return partial(execute, tools=tools, timeout=config.settings.timeout, cache=cache, markers=config.markers)


@contextmanager
def _progress_bar(config: AnnotationConfig) -> Iterator[None]:
    """Driven by the files on disk, whichever process or machine wrote them."""
    from tqdm.auto import tqdm

    read, total, files = Counter[Path](), None, files_of(config.source)
    if files and sum(path.stat().st_size for _, path in files) < _LARGE:
        total = sum(1 for _ in islice(read_texts(config.source), config.limit and config.limit * config.tasks))

    def look() -> None:
        for path in Path(config.out).glob("annotated-*.jsonl"):
            with path.open("rb") as file:
                file.seek(read[path])
                while piece := file.read(1 << 20):
                    bar.update(piece.count(b"\n"))
                read[path] = file.tell()

    with tqdm(total=total, unit=" texts", smoothing=0) as bar:
        look()
        bar.initial = bar.n  # what was there on entering says nothing about the speed
        with watching(look, 1.0):
            yield


def read_texts(
    source: str, rank: int = 0, tasks: int = 1, split: str = "train", text_field: str | None = None, skip: int = 0
) -> Iterator[Document]:
    """Yield the shard of a task (whole files if there are as many as tasks, else every `tasks`-th row) of a file, a
    folder ([`SUFFIXES`]) or a Hub dataset, `allenai/c4:en`. Ids are made of file and row, not of the number of tasks.
    """
    files = files_of(source)
    shards: list[tuple[str, Path | None]] = [(source.split("/")[-1].replace(":", "-"), None)]
    if files is not None:
        # Files with the same stem keep their suffix.
        taken = Counter(part for name, _ in files for part in {name, _stem(name)})
        shards = [(name if taken[_stem(name)] > 1 else _stem(name), path) for name, path in files]
    by_file = len(shards) >= tasks
    name, _, config = source.partition(":")
    for shard, path in shards[rank::tasks] if by_file else shards:
        hub = hub_rows(name, config or None, split, "check --input", streaming=True)
        rows = enumerate(hub if path is None else read_rows(path, tolerant=True))
        for index, row in rows if by_file else islice(rows, rank, None, tasks):
            skip -= 1
            if skip < 0:
                yield _document(f"toolformer/{shard}/{index}", row, text_field)


def files_of(source: str) -> list[tuple[str, Path]] | None:
    """The files of a path with their relative names; `None` if it may be a Hub dataset."""
    path = Path(source)
    if path.is_file():
        return [(path.name, path)]
    if path.is_dir():
        found = [file for file in sorted(path.rglob("*")) if file.name.endswith(SUFFIXES)]
        if not found:
            problem = f"holds no file that ends in {', '.join(SUFFIXES)}"
            raise InputError(problem, file=source, fix="pass another --input")
        return [(str(file.relative_to(path)), file) for file in found]
    if source.endswith(SUFFIXES) or source.startswith((".", "/", "~")) or source.count("/") > 1:
        fix = "pass a file, a folder or the name of a Hub dataset as --input"
        raise NotFoundError("no such file", file=source, fix=fix)
    return None


def _hash_of(source: str) -> str:
    """Of a source's files by name, size and beginning: what has other texts must not go on from those before."""
    digest = hashlib.sha256()
    for name, path in files_of(source) or ():
        with suppress(OSError), path.open("rb") as file:  # reading it will say so
            digest.update(f"{name}\0{path.stat().st_size}\0".encode("utf-8", "replace") + file.read(1 << 16))
    return digest.hexdigest()[:16]


def _stem(name: str) -> str:
    return name.removesuffix(max((suffix for suffix in SUFFIXES if name.endswith(suffix)), key=len, default=""))


def _document(id: str, row: Any, text_field: str | None) -> Document:
    if isinstance(row, str):
        row = {"text": row}
    if not isinstance(row, dict):
        return Document(id, "", problem=row.reason if isinstance(row, BadRow) else "no JSON object")
    fields = (text_field,) if text_field else TEXT_FIELDS
    meta = {"url": row["url"]} if isinstance(row.get("url"), str) else {}
    if date := next((row[name] for name in DATE_FIELDS if row.get(name)), None):
        meta["date"] = str(date)
    if row.get("id") is not None:
        meta["source_id"] = str(row["id"])
    text = next((row[name] for name in fields if isinstance(row.get(name), str)), None)
    return Document(id, text or "", meta, f"no text in {' or '.join(fields)}" if text is None else None)


def write_report(folder: str | Path) -> dict[str, Any]:
    """Write the report as JSON, Markdown and HTML; lower thresholds than the run's τ_f need its candidates."""
    folder, outcomes = Path(folder), Counter[str]()
    calls, errors = defaultdict[str, Counter[str]](Counter), defaultdict[str, Counter[str]](Counter)
    kept: dict[str, dict[str, Counter[str]]] = {}
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        for row in _lines(folder, "annotated"):
            outcomes[row["outcome"]] += 1
            for call in row["calls"]:
                calls[call["tool"]]["calls"] += 1
            for tool, sampled in row.get("sampled", {}).items():
                errors[tool].update(sampled.pop("errors", {}))
                calls[tool].update(sampled)
            if not config["candidates"]:
                _count(kept, row["calls"])
        for row in _lines(folder, "candidates") if config["candidates"] else ():
            _count(kept, row["candidates"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"cannot be read as an annotation ({error})", file=folder, fix="annotate again") from None
    tools, rows, failed = {}, [], []
    for tool in sorted(set(calls) | set(kept)):
        often = dict(errors[tool].most_common(_ERRORS))
        if rest := errors[tool].total() - sum(often.values()):
            often["other errors"] = rest
        tools[tool] = {**calls[tool], "errors": often, "kept": kept.get(tool, {})}
        counts = [kept.get(tool, {}).get(str(threshold), {}) for threshold in THRESHOLDS]
        shown = [f"{count.get('texts', 0):,} ({count.get('calls', 0):,})" for count in counts]
        tau_f = config["settings"]["tools"].get(tool, {}).get("tau_f", settings_for(tool).tau_f)
        made = [f"{calls[tool][name]:,}" for name in ("candidates", "executed", "calls")]
        rows.append((tool, *made[:2], *shown, f"{made[2]}, {tau_f:g}"))
        failed += [(tool, error, f"{count:,}") for error, count in often.items()]
    report = {"texts": outcomes.total(), "outcomes": dict(outcomes.most_common()), "tools": tools, "config": config}
    write_json(folder / "report.json", report, indent=2)
    heads = ("tool", "candidates", "executed", *(f"τ_f = {threshold}" for threshold in THRESHOLDS), "written, at τ_f")
    counted = [(outcome, f"{count:,}") for outcome, count in report["outcomes"].items()]
    values = {"report": report, "outcomes": counted, "heads": heads, "rows": rows, "failed": failed}
    kinds = ("report.md", "report.html")
    write_texts(folder, {kind: render(__package__ or "", f"{kind}.jinja", **values) for kind in kinds})
    return report


def read_candidates(folder: str | Path) -> Iterator[dict[str, Any]]:
    """The saved candidates of an annotation, each with the `id` of its text."""
    for row in _lines(Path(folder), "candidates"):
        yield from ({"id": row["id"], **candidate} for candidate in row["candidates"])


def _lines(folder: Path, kind: str) -> Iterator[dict[str, Any]]:
    for path in sorted(folder.glob(f"{kind}-*.jsonl")):
        with path.open(encoding="utf-8") as file:
            yield from map(json.loads, file)


def _count(kept: dict[str, dict[str, Counter[str]]], candidates: Iterable[Mapping[str, Any]]) -> None:
    """Count the candidates of a text that reach each threshold."""
    gains: dict[str, list[float]] = {}
    for candidate in candidates:
        if candidate["gain"] is not None:
            gains.setdefault(candidate["tool"], []).append(candidate["gain"])
    for tool, found in gains.items():
        for threshold in THRESHOLDS:
            calls = sum(gain >= threshold for gain in found)
            kept.setdefault(tool, {}).setdefault(str(threshold), Counter()).update(calls=calls, texts=int(calls > 0))
