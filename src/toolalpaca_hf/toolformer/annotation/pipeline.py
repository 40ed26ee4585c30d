"""Annotation as a resumable pipeline of tasks, one per shard."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from ... import __version__
from ...checkpoints import load_tokenizer, resolve_model
from ...errors import OptionError
from ...executors import run_pipeline, unfinished_tasks, watching
from ...storage import JsonlLog, SettingsClaim
from ..markers import ToolCall
from ..tools import ResultCache, Tool, ToolResult, execute, open_tools, prompt_for
from .annotator import Annotator, Execute
from .config import AnnotationConfig
from .readers import count_texts, files_of, read_texts
from .report import write_report

ROUND = 4  # texts annotated together, hundreds of sampled calls at once; a killed task loses at most so many
NO_MODEL = "pass another --model"


class AnnotateStep:
    """A datatrove step that annotates its task's shard, continuing `annotated-RANK.jsonl` if it exists."""

    def __init__(self, config: AnnotationConfig) -> None:
        self.settings = config.deciding()  # what a pipeline's markers are for
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

    Returns the contents of `report.json`; empty if the tasks are still pending, as on Slurm.

    Raises:
        [`ToolAlpacaError`]: The input, the model, a tool or the folder cannot be used, or a task failed.
    """
    out, tasks, workers = Path(config.out), config.tasks, config.workers or config.tasks
    local = config.executor == "local"
    files_of(config.source)  # a wrong name is reported at once
    with config_tools(config) as tools:
        for tool in tools.values():
            prompt_for(tool)
        config = config.with_thresholds(list(tools))
    if local:
        load_tokenizer(config.model, NO_MODEL)  # a wrong one is reported before the folder is claimed for it
    if config.endpoint:
        from ...llm import ModelClient

        ModelClient(config.endpoint, config.model)  # refuses a URL that holds a key before it is written anywhere
    claim = SettingsClaim(out / "config.json", config.deciding() | {"tasks": tasks}, "an annotation")
    claim.claim(toolalpaca_hf=__version__)
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
    from .sample import Proposer

    prompts = {tool.name: prompt_for(tool, config.markers) for tool in tools.values()}
    settings, markers = config.settings, config.markers
    for tool in tools.values():
        tool.check()
    execute_all = executor_of(tools, ResultCache(Path(config.out) / "results.sqlite"), config)
    if config.endpoint:
        from .endpoint import EndpointSampler, EndpointScorer

        tokenizer = load_tokenizer(config.model, NO_MODEL)
        scorer = EndpointScorer(config.endpoint, config.served_model or config.model, tokenizer, markers)
        scorer.check()
        sampler = EndpointSampler(scorer, markers, settings.temperature, settings.call_tokens)
        sampler.check()
        context = scorer.server.context_length() or _context_length(config.model)
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
        context = getattr(model.config, "max_position_embeddings", None)
    proposer, room = Proposer(sampler, prompts), None
    if context:  # a text has to fit twice after the longest prompt, plus a call
        longest = max(len(prompt.head) + len(prompt.tail) for prompt in proposer.prompts.values())
        room = max(0, (context - longest - settings.call_tokens) // 2)
    return Annotator(scorer, proposer, execute_all, list(prompts), markers, settings, room)


def executor_of(tools: Mapping[str, Tool], cache: ResultCache, config: AnnotationConfig) -> Execute:
    """A function that executes calls, batching those with the same date and URL."""

    def execute_all(calls: Sequence[tuple[ToolCall, Mapping[str, Any]]]) -> list[ToolResult]:
        found: dict[int, ToolResult] = {}
        dates: dict[tuple[str, str], list[int]] = {}
        for n, (_, meta) in enumerate(calls):
            dates.setdefault((str(meta.get("date")), str(meta.get("url"))), []).append(n)
        for places in dates.values():
            dated = {name: tool.for_document(calls[places[0]][1]) for name, tool in tools.items()}
            some = [calls[n][0] for n in places]
            results = execute(some, dated, config.settings.timeout, cache=cache, markers=config.markers)
            found |= dict(zip(places, results, strict=True))
        return [found[n] for n in range(len(calls))]

    return execute_all


def _context_length(name: str) -> int | None:
    """The maximum context of a checkpoint, or `None` if its configuration does not say."""
    from transformers import AutoConfig

    try:
        return getattr(AutoConfig.from_pretrained(resolve_model(name)), "max_position_embeddings", None)
    except (OSError, ValueError):
        return None


@contextmanager
def _progress_bar(config: AnnotationConfig) -> Iterator[None]:
    """Driven by the files on disk, whichever process or machine wrote them."""
    from tqdm.auto import tqdm

    total = count_texts(config.source)
    seen: dict[Path, tuple[int, int]] = {}

    def written() -> int:
        for path in Path(config.out).glob("annotated-*.jsonl"):
            at, lines = seen.get(path, (0, 0))
            with path.open("rb") as file:
                file.seek(at)
                while piece := file.read(1 << 20):
                    lines += piece.count(b"\n")
                seen[path] = (file.tell(), lines)
        return sum(lines for _, lines in seen.values())

    total = min(total, config.limit * config.tasks) if total and config.limit else total
    with (
        tqdm(total=total, initial=written(), unit=" texts") as bar,
        watching(lambda: bar.update(written() - bar.n), 1.0),
    ):
        yield
