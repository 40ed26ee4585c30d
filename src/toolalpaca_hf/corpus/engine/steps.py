"""The stages of a corpus as steps of a datatrove pipeline; an API is a document, named by its place in the list.

Imported where a pipeline is made: it needs datatrove.
"""

import json
import sys
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from datatrove.data import Document, DocumentsPipeline
from datatrove.pipeline.base import PipelineStep
from datatrove.utils.logging import logger

from ...data import ListedApi
from ...data.slugs import Slugs
from ...errors import ToolAlpacaError
from ..asking.ask import Ask, AskError, OutOfBudget
from ..asking.endpoint import EndpointAsk
from ..asking.request_cache import RequestCache
from ..asking.watched import WatchedAsk
from .folder import CorpusFolder, api_of
from .settings import BuildSettings


class ReadWaiting(PipelineStep):
    """Reads what a stage has not been finished with: of the list, or of what the stage before has made.

    Args:
        folder (`Path`): Of the corpus.
        stage (`str`): One of [`folder.STAGES`].
    """

    type = "Reader"

    def __init__(self, folder: Path, stage: str) -> None:
        self.name, self.folder, self.stage = f"what waits for {stage}", folder, stage
        super().__init__()  # its statistics take the name

    def run(self, data: DocumentsPipeline = None, rank: int = 0, world_size: int = 1) -> DocumentsPipeline:
        """Yield a share of the APIs."""
        folder = CorpusFolder(self.folder)
        slugs = Slugs()
        for index, entry in enumerate(folder.entries()):
            api_id = f"train/{slugs.take(entry.name)}"  # one of its own, whatever was set aside before it
            if index % world_size != rank or folder.has(self.stage, index):
                continue
            if self.stage == "toolset":
                made: dict[str, Any] = {"entry": asdict(entry), "id": api_id}
            else:
                made = {"api": folder.read("toolset", index)["api"]}
                if self.stage == "simulation":
                    made["taken"] = folder.read("screen", index)["taken"]
            yield Document(json.dumps(made), str(index))


class WriteParts(PipelineStep):
    """Keeps what a stage has made of an API.

    Args:
        folder (`Path`): Of the corpus.
        stage (`str`): One of [`folder.STAGES`].
    """

    type = "Writer"

    def __init__(self, folder: Path, stage: str) -> None:
        self.name, self.folder, self.stage = f"parts of {stage}", folder, stage
        super().__init__()  # its statistics take the name

    def run(self, data: DocumentsPipeline, rank: int = 0, world_size: int = 1) -> DocumentsPipeline:
        """Write each document, and hand it on."""
        folder = CorpusFolder(self.folder)
        for document in data or ():
            folder.write(self.stage, int(document.id), json.loads(document.text))
            self.stat_update("apis")
            yield document


class AskingStep(PipelineStep):
    """A stage that asks models: several APIs, or instructions of one, at once.

    What the endpoint can not answer, or the budget not pay, leaves its API unfinished, and fails the task once everything
    else is done.

    Args:
        folder (`Path`): Of the corpus.
        settings ([`BuildSettings`]): How it is made.
    """

    type = "Stage"
    preload = (
        "toolalpaca_hf.agent.model_server",
        "toolalpaca_hf.corpus.simulation.executor",
        "toolalpaca_hf.corpus.simulation.stage",
        "openai.resources.chat",
    )

    def __init__(self, folder: Path, settings: BuildSettings) -> None:
        super().__init__()
        # What does not decide the result is no reason to refuse to go on.
        self.folder, self.deciding, self._settings = folder, settings.deciding(), settings

    def units(self, given: dict[str, Any]) -> list[Any]:
        """What can be done at once for an API."""
        return [given]

    @abstractmethod
    def one(self, unit: Any, ask: Ask) -> dict[str, Any]:
        """Do one of them.

        Raises:
            [`AskError`]: The endpoint can not answer.
        """

    @abstractmethod
    def failed(self, unit: Any, reason: str) -> dict[str, Any]:
        """What is kept of one that came to nothing."""

    def whole(self, results: list[dict[str, Any]]) -> dict[str, Any]:
        """What is kept of the API."""
        return results[0]

    def run(self, data: DocumentsPipeline, rank: int = 0, world_size: int = 1) -> DocumentsPipeline:
        """Yield each API as soon as all that is asked for it is answered.

        Raises:
            [`OutOfBudget`]: The budget is spent.
            [`ToolAlpacaError`]: Some are unfinished.
        """
        settings = self._settings
        cache = RequestCache(self.folder / "requests.sqlite", shared_disk=settings.run.executor != "local")
        ask = EndpointAsk(settings.roles, cache, settings.made_budget(), settings.run.concurrency)
        pool = ThreadPoolExecutor(settings.run.concurrency, thread_name_prefix="asking")
        unfinished: dict[str, ToolAlpacaError] = {}
        # A thread that comes back from the network or the disk, perhaps with a lock in its hands, waits so long for
        # another to stop computing: 5 ms by default, and there are many.
        interval = sys.getswitchinterval()
        sys.setswitchinterval(0.0005)
        try:
            for document, results in self._results(data, ask, pool, unfinished):
                document.text = json.dumps(self.whole(results))
                self.stat_update("apis")
                yield document
        finally:
            pool.shutdown(cancel_futures=True)
            sys.setswitchinterval(interval)
            cache.close()
        for error in unfinished.values():
            if isinstance(error, OutOfBudget):
                raise error
            raise ToolAlpacaError(f"{len(unfinished)} APIs are unfinished: {error}")

    def _results(
        self, data: DocumentsPipeline, ask: Ask, pool: ThreadPoolExecutor, unfinished: dict[str, ToolAlpacaError]
    ) -> Iterator[tuple[Document, list[dict[str, Any]]]]:
        under_way: dict[Future[dict[str, Any] | ToolAlpacaError], tuple[Document, list[Any], int]] = {}
        left: dict[str, int] = {}
        enough = self._settings.run.concurrency * 2

        def come_in() -> Iterator[tuple[Document, list[dict[str, Any]]]]:
            for future in wait(under_way, return_when=FIRST_COMPLETED).done:
                document, results, number = under_way.pop(future)
                result = future.result()
                if isinstance(result, ToolAlpacaError):
                    unfinished.setdefault(document.id, result)
                else:
                    results[number] = result
                left[document.id] -= 1
                if not left[document.id]:
                    del left[document.id]
                    if document.id not in unfinished:
                        yield document, results

        for document in data or ():
            units = self.units(json.loads(document.text))
            if not units:
                yield document, []
                continue
            left[document.id], results = len(units), [None] * len(units)
            for number, unit in enumerate(units):
                under_way[pool.submit(self._guarded, unit, ask)] = (document, results, number)
                while len(under_way) >= enough:
                    yield from come_in()
            if any(isinstance(error, OutOfBudget) for error in unfinished.values()):
                break
        while under_way:
            yield from come_in()

    def _guarded(self, unit: Any, ask: Ask) -> dict[str, Any] | ToolAlpacaError:
        """What came of a unit, or why it is unfinished."""
        watched = WatchedAsk(ask, self._settings.run.set_aside_failed)
        try:
            made = self.one(unit, watched)
        except (AskError, OutOfBudget) as error:
            made = self.failed(unit, str(error))
        # A mistake in here, met by one answer in ten thousand, is no reason to lose the others.
        except Exception as error:
            logger.exception(error)
            made = self.failed(unit, f"{type(error).__name__}: {error}")
        # Whoever caught it, what was made without an answer is not what would have been made with it.
        return watched.stopped or {**made, "asked": watched.account()}


class BuildToolset(AskingStep):
    """An entry of the list becomes an API."""

    name = "build the APIs"

    def one(self, unit: dict[str, Any], ask: Ask) -> dict[str, Any]:
        """Build one."""
        from ..toolset.building import build_api

        built = build_api(ListedApi(**unit["entry"]), ask, self._settings.toolset)
        api = None if built.api is None else asdict(replace(built.api, id=unit["id"]))
        told = {"attempts": dict(built.attempts), "violations": list(built.violations)}
        return {**unit, "api": api, "set_aside": built.set_aside, **told}

    def failed(self, unit: dict[str, Any], reason: str) -> dict[str, Any]:
        """An entry that is set aside."""
        return {**unit, "api": None, "set_aside": reason, "attempts": {}, "violations": []}


class WriteInstructions(AskingStep):
    """Instructions are written for an API."""

    name = "write instructions"

    def units(self, given: dict[str, Any]) -> list[Any]:
        """None for an API that was set aside."""
        return [given["api"]] if given["api"] is not None else []

    def one(self, unit: dict[str, Any], ask: Ask) -> dict[str, Any]:
        """Write them."""
        from ..instructions.writing import write_instructions

        rejected: list[tuple[str, str]] = []
        written = write_instructions(api_of(unit), ask, self._settings.instructions, rejected)
        left_out = [{"instruction": text, "reason": reason} for text, reason in rejected]
        return {"written": [asdict(one) for one in written], "left_out": left_out, "failure": None}

    def failed(self, unit: dict[str, Any], reason: str) -> dict[str, Any]:
        """An API without any."""
        return {"written": [], "left_out": [], "failure": reason}

    def whole(self, results: list[dict[str, Any]]) -> dict[str, Any]:
        """What is kept."""
        return results[0] if results else {"written": [], "left_out": [], "failure": None, "asked": {}}


class ScreenInstructions(PipelineStep):
    """Takes the instructions that are new and in no evaluation set, in the order of the list. One task alone.

    Args:
        folder (`Path`): Of the corpus.
        settings ([`BuildSettings`]): How it is made.
    """

    type, name = "Stage", "screen instructions"

    def __init__(self, folder: Path, settings: BuildSettings) -> None:
        super().__init__()
        self.folder, self.deciding, self._settings = folder, settings.deciding(), settings

    def run(self, data: DocumentsPipeline = None, rank: int = 0, world_size: int = 1) -> DocumentsPipeline:
        """Yield each API with what was taken of its instructions."""
        from ..duplicates import Screen

        folder, how = CorpusFolder(self.folder), self._settings.screen
        screen = Screen(self._settings.evaluation_instructions(), how.threshold, how.contained)
        for index in range(len(folder.entries())):
            taken, left_out = [], []
            api = folder.read("toolset", index)["api"]
            for written in folder.read("instructions", index)["written"]:
                reason = screen.reason(api["id"], written["instruction"])
                if reason is None:
                    screen.accept(api["id"], written["instruction"])
                    taken.append(written)
                else:
                    left_out.append({"instruction": written["instruction"], "reason": reason})
            self.stat_update("taken", value=len(taken))
            yield Document(json.dumps({"taken": taken, "left_out": left_out}), str(index))


class Simulate(AskingStep):
    """Instructions are played through."""

    name = "simulate"

    def units(self, given: dict[str, Any]) -> list[Any]:
        """Each instruction."""
        api = api_of(given["api"]) if given["api"] is not None else None
        return [(api, index, written) for index, written in enumerate(given["taken"])]

    def one(self, unit: Any, ask: Ask) -> dict[str, Any]:
        """Play one."""
        from ..instructions.writing import WrittenInstruction
        from ..simulation.simulate import simulate

        api, index, written = unit
        done = simulate(api, WrittenInstruction(**written), ask, self._settings.simulation, index)
        return {"trajectory": asdict(done.trajectory), "gates": done.gates, "provenance": done.provenance}

    def failed(self, unit: Any, reason: str) -> dict[str, Any]:
        """An instruction that came to nothing."""
        return {"trajectory": None, "instruction": unit[2]["instruction"], "failure": reason}

    def whole(self, results: list[dict[str, Any]]) -> dict[str, Any]:
        """All of an API's."""
        return {"instances": results}


def steps_of(stage: str, folder: Path, settings: BuildSettings) -> Sequence[PipelineStep]:
    """The pipeline of a stage.

    Args:
        stage (`str`): One of [`folder.STAGES`].
        folder (`Path`): Of the corpus.
        settings ([`BuildSettings`]): How it is made.
    """
    if stage == "screen":
        return [ScreenInstructions(folder, settings), WriteParts(folder, stage)]
    asking = {"toolset": BuildToolset, "instructions": WriteInstructions, "simulation": Simulate}[stage]
    return [ReadWaiting(folder, stage), asking(folder, settings), WriteParts(folder, stage)]
