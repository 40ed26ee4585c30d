"""From a list of APIs to a corpus: what it will cost, and the stages, each run as tasks of a datatrove pipeline."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from ...data import ListedApi
from ...errors import OptionError, ToolAlpacaError
from ...executors import Executor, QueuedError, noted_failure, queued_job, run_pipeline, watching
from ...llm import CachedAsk, RequestCache, Usage, cost
from ...schema import Api
from ..config import CorpusConfig
from ..decontamination import Screen
from .collect import SEQUENTIAL, STAGES, CorpusFolder, collect, documents_hash


def build_corpus(
    entries: Sequence[ListedApi],
    out: str | Path,
    config: CorpusConfig,
    progress: bool = False,
    tell: Callable[[str], None] = lambda message: None,
    apis: Sequence[Api] = (),
) -> dict[str, Any]:
    """Build a corpus. Run again after an interruption, it resumes, asks nothing twice and writes the same files.

    Args:
        entries (`Sequence[ListedApi]`): The APIs, see [`load_entries`].
        tell (`Callable`, *optional*): Receives messages for the user.
        apis (`Sequence[Api]`, *optional*): The entries' APIs, in their order, where they are documented already.

    Returns:
        `dict`: The content of `corpus.json`: settings, counts, calls, tokens and cost.

    Raises:
        [`BudgetExceeded`]: The budget is spent.
        [`QueuedError`]: A stage was submitted to Slurm and has not finished.
        [`ToolAlpacaError`]: There are no APIs, or a stage cannot be finished.

    Example:

    ```python
    >>> config = CorpusConfig.load("recipes/corpus/default.yaml")  # doctest: +SKIP
    >>> build_corpus(load_entries("apis.json"), "corpus", config)["kept"]  # doctest: +SKIP
    1042
    ```
    """
    if not entries:
        raise OptionError("there is no API to build", option="--apis", fix="pass a list with others")
    settings = config.output_settings() | ({"documents": documents_hash(apis)} if apis else {})
    # A file of instructions that is absent is found now, not after hours, and one that was edited leaves others out.
    settings |= {"evaluation_files": files} if (files := Screen(config.screen.evaluation).files) else {}
    with CorpusFolder(out).opened(settings, entries) as folder:
        for index, api in enumerate(apis):
            folder.write_documented(index, api, entries[index])
        with closing(RequestCache(folder.path / "requests.sqlite", config.run.executor != "local")) as cache:
            if any(folder.finished(stage) < len(entries) for stage in STAGES):
                try:
                    enforced = CachedAsk(config.roles, cache, config.budget).check()
                except ToolAlpacaError:
                    if not cache.spent():  # a refused call makes nothing that takes the place of an earlier corpus
                        cache.close()
                        cache.path.unlink()
                    raise
                for role in [role for role, is_so in enforced.items() if not is_so]:
                    where = config.roles[role].local or config.roles[role].endpoint
                    tell(f"{where} does not hold the {role} to JSON schemas: texts are validated")
            for stage in STAGES:
                with _progress_bar(folder, stage, len(entries), cache, config, progress):
                    _run(folder, stage, cache, config, tell)
            return collect(folder, settings, config.roles)


def _run(
    folder: CorpusFolder, stage: str, cache: RequestCache, config: CorpusConfig, tell: Callable[[str], None]
) -> None:
    from .stages import STEPS

    total = len(folder.entries())
    if folder.finished(stage) == total:
        return
    executor: Executor = "local" if stage in SEQUENTIAL else config.run.executor
    tasks = 1 if stage in SEQUENTIAL else config.run.tasks
    # Another number of tasks cuts the work otherwise, so its markers are others.
    logs = folder.path / "logs" / f"{stage}-{tasks}"
    # Whatever it was cut into: two that work on one stage would ask everything twice.
    for submitted in sorted(logs.parent.glob(f"{stage}-*")):
        if job := queued_job(submitted):
            fix = "run the same command again once it is through"
            raise QueuedError(f"the stage {stage!r} is Slurm's job {job}", fix=fix)
    for index in range(total):  # a marker says nothing of a part that was removed since
        if not folder.has(stage, index):
            (logs / "completions" / f"{index % tasks:05d}").unlink(missing_ok=True)
    if executor == "slurm":
        # What failed there has not been shown to anybody yet.
        config.budget.check(cache, config.roles)
        if failure := noted_failure(logs, tasks):
            tell(f"the stage {stage!r} is submitted again; before, it failed: {failure}")
    step, workers = STEPS[stage](folder.path, config), config.run.workers
    try:
        run_pipeline([step], executor=executor, tasks=tasks, workers=workers, logging_dir=logs, slurm=config.slurm)
    except ToolAlpacaError:
        config.budget.check(cache, config.roles)
        raise
    if folder.finished(stage) < total:
        fix = "run the same command again once its jobs are through"
        raise QueuedError(f"the stage {stage!r} was submitted to Slurm", fix=fix)


@contextmanager
def _progress_bar(
    folder: CorpusFolder, stage: str, total: int, cache: RequestCache, config: CorpusConfig, progress: bool
) -> Iterator[None]:
    """Driven by the files on disk, whichever process or machine wrote them."""
    bar = tqdm(total=total, desc=STAGES[stage], unit="API", disable=None if progress else True)

    def look() -> None:
        spent = cache.spent()
        calls, tokens = _totals(spent)
        money = cost(spent, config.roles)
        bar.n = folder.finished(stage)
        bar.set_postfix_str(f"{calls:,} calls, {tokens:,} tokens" + (f", {money:,.2f} spent" if money else ""))

    with bar, watching(look, 0.5) if progress else nullcontext():
        yield


def _totals(spent: Mapping[str, Usage]) -> tuple[int, int]:
    tokens = sum(role.prompt_tokens + role.completion_tokens for role in spent.values())
    return sum(role.calls for role in spent.values()), tokens


TURNS = 3.0  # of the assistant in an instance: the paper's have 1.9 calls, and each ends with a response
RETRIED = 1.15  # calls for each that would do if every answer were in order
# Tokens of a question and of its answer, by role, where no limit of the settings is below; the averages of a folder's
# own calls take precedence.
EXPECTED = {"author": (2600, 700), "user": (1900, 350), "assistant": (1500, 90), "executor": (900, 120)}


@dataclass(frozen=True)
class Estimate:
    """Expected calls, tokens and cost, and how many calls have been made."""

    apis: int
    roles: dict[str, Usage]
    cost: float
    done: int

    def __str__(self) -> str:
        row = "  {:<10}{:>8,} calls{:>14,} tokens"
        lines = [f"for {self.apis:,} APIs are expected, roughly:"]
        for role, spent in self.roles.items():
            asked = row.format(role, spent.calls, spent.prompt_tokens)
            lines.append(f"{asked} asked{spent.completion_tokens:>14,} tokens answered")
        calls, tokens = _totals(self.roles)
        money = f"cost {self.cost:,.2f}" if self.cost else "no prices are set"
        lines.append(f"{row.format('together', calls, tokens)}; {money}")
        if self.done:
            lines.append(f"{self.done:,} calls have been made already and are not made again")
        return "\n".join(lines)


def estimate(apis: int, config: CorpusConfig, out: str | Path) -> Estimate:
    """Estimate the calls, tokens and cost of a whole corpus, including what its folder `out` has already spent.

    Example:

    ```python
    >>> config = CorpusConfig.load(given={"models": {"endpoint": "http://127.0.0.1:8000/v1", "model": "SmolLM2"}})
    >>> estimate(100, config, "nowhere").roles["author"].calls
    345
    ```
    """
    settings, toolset = config.instructions, config.toolset
    instances = apis * settings.per_style * len(settings.styles)
    batches = -(-settings.per_style // settings.batch) * len(settings.styles)
    document = toolset.introduction_tokens + toolset.functions_tokens + toolset.document_tokens  # in three answers
    played = RETRIED * instances if config.simulation.executor == "llm" else 0.0
    # Calls of each role, and the limit on the tokens of an answer.
    work = {
        "author": (RETRIED * apis * 3, document / 3),
        "user": (RETRIED * apis * batches + settings.details * instances, settings.max_tokens),
        "assistant": (RETRIED * instances * TURNS, config.simulation.limits.turn_tokens),
        "executor": (played * (TURNS - 1), config.simulation.answer_tokens),
    }
    spent: dict[str, Usage] = {}
    path = Path(out) / "requests.sqlite"
    if path.is_file():
        with closing(RequestCache(path, shared_disk=config.run.executor != "local")) as cache:
            spent = cache.spent()
    expected = {}
    for role, (count, limit) in work.items():
        asked, answered = EXPECTED[role][0], min(EXPECTED[role][1], limit)
        if (before := spent.get(role)) is not None and before.calls >= 10:
            asked, answered = before.prompt_tokens / before.calls, before.completion_tokens / before.calls
        expected[role] = Usage(round(count), round(count * asked), round(count * answered))
    return Estimate(apis, expected, cost(expected, config.roles), _totals(spent)[0])
