"""The stages of a corpus, and the screen, as steps of a datatrove pipeline; imported only where one is built."""

import sys
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, replace
from itertools import chain
from pathlib import Path
from typing import Any

from datatrove.data import Document
from datatrove.pipeline.base import PipelineStep
from datatrove.pipeline.filters.base_filter import BaseFilter
from datatrove.pipeline.writers.disk_base import DiskWriter
from datatrove.utils.logging import logger

from ...data import ListedApi, Slugs
from ...errors import ToolAlpacaError
from ...llm import Ask, BudgetExceeded, CachedAsk, LLMError, RequestCache, RequestRejected, Unanswered, UsageTracker
from .. import instructions
from ..config import CorpusConfig, prompt_hashes
from ..decontamination import BigramIndex, Decontaminator, Screen
from ..simulation import simulate
from ..toolset import building
from .collect import CorpusFolder, api_from_dict


class Stage(PipelineStep):
    """Processes the APIs that a stage has not finished, and writes the part of each as soon as it is done."""

    type = "Stage"
    stage = ""  # one of `STAGES`

    def __init__(self, folder: Path, config: CorpusConfig) -> None:
        super().__init__()
        self._folder, self._config = CorpusFolder(folder), config

    def run(self, data: object = None, rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        """Process a shard of the APIs; each document is an API without text, identified by its index in the list."""
        for index, made in self.results(rank, world_size):
            self._folder.write(self.stage, index, made)
            self.stat_update("apis")
            yield Document("", str(index))

    @abstractmethod
    def results(self, rank: int, world_size: int) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield the parts of a shard of the APIs, each with the API's index."""


class ModelStage(Stage):
    """Asks models about several APIs at once; the task fails, after all others, where one had no answer."""

    preload = ("toolalpaca_hf.llm.client", "openai.resources.chat")

    @abstractmethod
    def split(self, index: int, entry: ListedApi, api_id: str) -> list[Any]:
        """The jobs of an API, which can run concurrently."""

    @abstractmethod
    def process(self, job: Any, ask: Ask) -> dict[str, Any]:
        """Do a job; raises [`LLMError`] if the endpoint cannot answer."""

    @abstractmethod
    def failure(self, job: Any, reason: str | None) -> dict[str, Any]:
        """The record of a job that failed for good, or of none."""

    def join(self, results: list[dict[str, Any]]) -> dict[str, Any]:
        """Combine the results of an API's jobs into its part."""
        return results[0] if results else {**self.failure(None, None), "asked": {}}

    def results(self, rank: int, world_size: int) -> Iterator[tuple[int, dict[str, Any]]]:
        run, slugs = self._config.run, Slugs()
        cache = RequestCache(self._folder.path / "requests.sqlite", shared_disk=run.executor != "local")
        ask = CachedAsk(self._config.roles, cache, self._config.budget, run.concurrency)
        pool = ThreadPoolExecutor(run.concurrency, thread_name_prefix="asking")
        pending: dict[Future[dict[str, Any] | ToolAlpacaError], tuple[int, list[Any], int]] = {}
        unfinished: dict[int, ToolAlpacaError] = {}

        def completed() -> Iterator[tuple[int, dict[str, Any]]]:
            for future in wait(pending, return_when=FIRST_COMPLETED).done:
                index, results, number = pending.pop(future)
                result = future.result()
                if isinstance(result, ToolAlpacaError):
                    unfinished.setdefault(index, result)
                else:
                    results[number] = result
                    if None not in results:
                        yield index, self.join(results)

        # A thread that comes back from the network or the disk, perhaps with a lock in its hands, waits so long for
        # another to stop computing: 5 ms by default, and there are many.
        interval = sys.getswitchinterval()
        sys.setswitchinterval(0.0005)
        try:
            for index, entry in enumerate(self._folder.entries()):
                api_id = f"train/{slugs.take(entry.name)}"  # one of its own, whatever was set aside before it
                if index % world_size != rank or self._folder.has(self.stage, index):
                    continue
                jobs = self.split(index, entry, api_id)
                results: list[Any] = [None] * len(jobs)
                if not jobs:
                    yield index, self.join(results)
                for number, job in enumerate(jobs):
                    pending[pool.submit(self._guarded, job, ask)] = (index, results, number)
                    while len(pending) >= run.concurrency * 2:
                        yield from completed()
                # The budget is spent, or answers cannot be kept: whatever else is asked fails, too.
                if any(not isinstance(error, LLMError) for error in unfinished.values()):
                    break
            while pending:
                yield from completed()
        finally:
            pool.shutdown(cancel_futures=True)
            sys.setswitchinterval(interval)
            cache.close()
        if unfinished:
            raise ToolAlpacaError(f"{len(unfinished)} APIs are unfinished: {next(iter(unfinished.values()))}")

    def _guarded(self, job: Any, ask: Ask) -> dict[str, Any] | ToolAlpacaError:
        """The result of a job, or the error that left it unfinished."""
        settled = (RequestRejected, Unanswered) if self._config.run.set_aside_failed else (RequestRejected,)
        tracker = UsageTracker(ask, settled)
        try:
            made = self.process(job, tracker)
        except (LLMError, BudgetExceeded) as error:
            made = self.failure(job, str(error))
        # A bug that one answer in ten thousand meets must not cost the others.
        except Exception as error:
            logger.exception(error)
            made = self.failure(job, f"{type(error).__name__}: {error}")
        # Whoever caught it, what was made without an answer is not what would have been made with it.
        return tracker.stopped or {**made, "asked": dict(sorted(tracker.usage.items()))}


class BuildToolset(ModelStage):
    name, stage = "build the APIs", "toolset"

    def split(self, index: int, entry: ListedApi, api_id: str) -> list[Any]:
        return [{"entry": asdict(entry), "id": api_id}]

    def process(self, job: Any, ask: Ask) -> dict[str, Any]:
        built = building.build_api(ListedApi(**job["entry"]), ask, self._config.toolset)
        api = None if built.api is None else asdict(replace(built.api, id=job["id"]))
        return {**job, **vars(built), "api": api, "prompts": prompt_hashes(building.PROMPTS)}

    def failure(self, job: Any, reason: str | None) -> dict[str, Any]:
        return {**job, "api": None, "set_aside": reason, "attempts": {}, "violations": []}


class WriteInstructions(ModelStage):
    name, stage = "write instructions", "instructions"

    def split(self, index: int, entry: ListedApi, api_id: str) -> list[Any]:
        api = self._folder.api(index)
        return [api] if api is not None else []

    def process(self, job: Any, ask: Ask) -> dict[str, Any]:
        rejected: list[tuple[str, str]] = []
        found = instructions.write_instructions(api_from_dict(job), ask, self._config.instructions, rejected)
        left_out = [{"instruction": text, "reason": reason} for text, reason in rejected]
        written = {"written": list(map(asdict, found)), "left_out": left_out, "failure": None}
        return {**written, "prompts": prompt_hashes(instructions.PROMPTS)}

    def failure(self, job: Any, reason: str | None) -> dict[str, Any]:
        return {"written": [], "left_out": [], "failure": reason}


class Simulate(ModelStage):
    name, stage = "simulate", "simulation"

    def split(self, index: int, entry: ListedApi, api_id: str) -> list[Any]:
        row, taken = self._folder.api(index), self._folder.read("screen", index)["taken"]
        api = api_from_dict(row) if row is not None else None
        return [(api, number, written) for number, written in enumerate(taken)]

    def process(self, job: Any, ask: Ask) -> dict[str, Any]:
        api, number, taken = job
        written = instructions.WrittenInstruction(**taken)
        done = simulate.simulate(api, written, ask, self._config.simulation, number)
        return {"trajectory": asdict(done.trajectory), "gates": done.gates, "provenance": done.provenance}

    def failure(self, job: Any, reason: str | None) -> dict[str, Any]:
        return {"trajectory": None, "failure": reason}

    def join(self, results: list[dict[str, Any]]) -> dict[str, Any]:
        return {"instances": results}


class DropCopies(Stage):
    """Sets aside APIs whose document copies that of an earlier one. Must run as a single task."""

    name, stage = "drop copied documents", "copies"

    def results(self, rank: int, world_size: int) -> Iterator[tuple[int, dict[str, Any]]]:
        accepted = BigramIndex()
        for index in range(len(self._folder.entries())):
            api, reason = self._folder.read("toolset", index)["api"], None
            if api is not None:
                own = building.own_bigrams(api["documentation"])
                share, name = accepted.nearest(own)
                if share >= self._config.screen.documents:
                    reason = f"its document is that of {name}"
                else:
                    accepted.add(own, api["id"])
            yield index, {"set_aside": reason}


class Decontaminate(Stage):
    """Accepts new instructions that are in no evaluation set, in list order. Must run as a single task."""

    name, stage = "decontaminate instructions", "screen"

    def results(self, rank: int, world_size: int) -> Iterator[tuple[int, dict[str, Any]]]:
        settings = self._config.screen
        evaluation = chain.from_iterable(Screen(settings.evaluation).texts().values())
        decontaminator = Decontaminator(evaluation, settings.threshold, settings.contained)
        for index in range(len(self._folder.entries())):
            taken, left_out = [], []
            api = self._folder.read("toolset", index)["api"]
            for written in self._folder.read("instructions", index)["written"]:
                text = written["instruction"]
                reason = decontaminator.reason(api["id"], text) or decontaminator.leaked(written["details"])
                if reason is None:
                    decontaminator.accept(api["id"], text)
                    taken.append(written)
                else:
                    left_out.append({"instruction": text, "reason": reason})
            yield index, {"taken": taken, "left_out": left_out}


STEPS = {step.stage: step for step in (BuildToolset, DropCopies, WriteInstructions, Decontaminate, Simulate)}


class ScreenFilter(BaseFilter):
    """Drops documents whose text or metadata holds an instruction of a benchmark, see [`Screen`]; a writer gets them.

    Example:

    ```python
    >>> from datatrove.data import Document
    >>> ScreenFilter("sample").filter(Document("Where can I get plums for no more than 4 a kilo?", id="0"))
    (False, 'sample: is in the evaluation set')
    ```
    """

    name = "Benchmark screen"

    def __init__(self, against: str | Sequence[str] = "published", exclusion_writer: DiskWriter | None = None) -> None:
        super().__init__(exclusion_writer)  # type: ignore[arg-type]  # declared without `None`, its default
        self.screen = Screen(against)

    def filter(self, doc: Document) -> bool | tuple[bool, str]:
        leak = self.screen.leak({"text": doc.text, "metadata": doc.metadata})
        return True if leak is None else (False, f"{leak[0]}: {leak[1]}")
