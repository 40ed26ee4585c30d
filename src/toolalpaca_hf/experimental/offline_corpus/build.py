"""Builds a corpus without an endpoint, in the same folder layout as one made by models."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from ... import corpus
from ...agent import RolloutLimits, Task
from ...corpus import CorpusFolder, Decontaminator, FilterSettings, SimulatedEnvironment, SimulatedInstance
from ...data import ListedApi, Slugs, without_example_keys
from ...errors import InputError, ToolAlpacaError
from ...formats import ROW_TOOLS, select_functions
from ...openapi import is_url, load_api
from ...schema import Api
from ...simulator import FaultPlan, Rng, read_apis, topic_words
from .rules import RuleAssistant, RuleInstruction, RuleUser, put_into_words
from .task_sampler import PlannedCall, SampledTask, TaskSampler
from .wording import PACKAGE

logger = logging.getLogger(__name__)

# The kinds of tasks, in the order in which an API is asked for them; over again where more are wanted.
MIX = ("chain", "single", "details", "pair", "mistaken", "single", "twice", "chain", "details", "single", "unmended")
# Tasks are looked for among pairs of functions: of a thousand, they would take a million trials.
MOST_FUNCTIONS = 40


@dataclass(frozen=True)
class OfflineSettings:
    """How the offline corpus is made."""

    per_api: int = 8  # most instances of an API; one with few functions may have fewer
    seed: int = 0  # decides values, wording and simulated data
    limits: RolloutLimits = field(default_factory=lambda: RolloutLimits(steps=8, tokens=10_000, observation=2000))
    gates: FilterSettings = field(default_factory=lambda: FilterSettings(codes=False))
    # Functions the assistant is shown, the nearest to the instruction; one that needs another is left out.
    max_tools: int = ROW_TOOLS
    faults: FaultPlan | None = None  # lets the simulator fail while the assistant works, which recovers by rule


def build_offline_corpus(
    apis: str | Path | Sequence[str | Path],
    out: str | Path,
    settings: OfflineSettings | None = None,
    limit: int | None = None,
    progress: bool = False,
) -> dict[str, Any]:
    """Build a corpus of given APIs by rules. Called again after an interruption, it resumes.

    The checks are those of a corpus made by models: APIs reserved for evaluation are set aside, and instructions close
    to a published evaluation set or to each other are left out.
    """
    settings, unread = settings or OfflineSettings(), dict[str, str]()
    every = offline_apis(apis, unread)
    if settings.faults is not None:
        settings.faults.check(api.id.rpartition("/")[2] for api in every)
    found = every[:limit]
    entries = [ListedApi(api.name, api.description, api.link, api.category) for api in found]
    reserved = corpus.EntryFilter(reserved=corpus.reserved_names())
    # Each by itself: what is listed twice may be two documents of one title.
    kept_back = (next(iter(corpus.select_entries([entry], reserved).left_out), None) for entry in entries)
    aside = [unread.get(api.id) or reason for api, reason in zip(found, kept_back, strict=True)]
    if all(aside):
        first = f"; the first {aside[0]}" if aside else ""
        raise InputError(f"no API of {apis} is left{first}", fix="pass others")
    output_settings = {"source": "offline", **asdict(settings), "documents": corpus.documents_hash(found)}
    if settings.faults is None:
        del output_settings["faults"]  # folders of before go on
    decontaminator = Decontaminator(chain.from_iterable(corpus.Screen(corpus.PUBLISHED).texts().values()))
    with CorpusFolder(out).opened(output_settings, entries) as folder:
        shown = tqdm(found, desc="simulating", unit="API", disable=None if progress else True)
        for index, api in enumerate(shown):
            if folder.has("simulation", index):
                for written in folder.read("screen", index)["taken"]:
                    decontaminator.accept(api.id, written["instruction"])
                continue
            reason, left_out = aside[index] or (None if api.functions else "it documents no function"), []
            instances: list[SimulatedInstance] = []
            try:
                instances = offline_instances(api, settings, decontaminator, left_out) if reason is None else []
            except ToolAlpacaError as error:
                reason = str(error)
            except Exception as error:  # a bug that one document meets must not cost the others
                logger.warning("%s is set aside", api.id, exc_info=error)
                reason = f"{type(error).__name__}: {error}"
            folder.write_documented(index, api, entries[index], reason)
            taken = [
                {"instruction": one.trajectory.instruction, "details": one.trajectory.hint}
                | one.provenance["instruction"]
                for one in instances
            ]
            refused = [{"instruction": text, "reason": why} for text, why in left_out]
            folder.write("instructions", index, {"written": taken, "left_out": refused, "failure": None, "asked": {}})
            folder.write("screen", index, {"taken": taken, "left_out": []})
            # The part that says it is finished is the last.
            folder.write("simulation", index, {"instances": [{**asdict(one), "asked": {}} for one in instances]})
        return corpus.collect(folder, output_settings, {})


def offline_apis(paths: str | Path | Sequence[str | Path], unread: dict[str, str] | None = None) -> list[Api]:
    """The APIs of files, folders and URLs; a file of a folder that cannot be read is one without functions, and
    `unread` gets the reason by its id."""
    found, slugs = list[Api](), Slugs()
    reasons: dict[str, str] = {} if unread is None else unread
    for path in [paths] if isinstance(paths, str | Path) else paths:
        in_folder = not is_url(str(path)) and Path(path).is_dir()
        inside = sorted(file for file in Path(path).iterdir() if file.is_file()) if in_folder else []
        documents = [file for file in inside if file.suffix.lower() in (".json", ".yaml", ".yml")]
        for file in documents if in_folder else [path]:
            problem = ""
            try:
                read = [load_api(file)] if is_url(str(file)) else read_apis(file)
            except ToolAlpacaError as error:
                if not in_folder:
                    raise
                read, problem = [Api("", Path(file).name)], f"cannot be read: {error}"
            for api in read:
                found.append(replace(without_example_keys(api), id=f"train/{slugs.take(api.name)}"))
                reasons |= {found[-1].id: problem} if problem else {}
    if not any(api.functions for api in found):
        why = "".join(f"; one {problem}" for problem in [*reasons.values()][:1])
        fix = "pass an OpenAPI document, or a raw file with what `toolalpaca apis docs` makes"
        raise InputError(f"{paths} documents no function{why}", fix=fix)
    return found


def offline_instances(
    api: Api,
    settings: OfflineSettings | None = None,
    decontaminator: Decontaminator | None = None,
    left_out: list[tuple[str, str]] | None = None,
) -> list[SimulatedInstance]:
    settings = settings or OfflineSettings()
    if not api.functions:
        return []
    draws = Rng(settings.seed, "offline", api.id, topic=topic_words(api.name))
    sampler = TaskSampler(SimulatedEnvironment(api, settings.seed), settings.seed, settings.limits.observation)
    found: list[SimulatedInstance] = []
    heard: set[str] = set()
    rejected = left_out if left_out is not None else []
    tasks = _mixed(sampler, draws, 2 * settings.per_api)
    while len(found) < settings.per_api:
        instruction = ""
        try:
            if (task := next(tasks, None)) is None:
                break
            own = draws.child(f"instance {len(heard)}")
            said = put_into_words(task, sampler.operations, sampler.parameters, own.child("user"))
            instruction = said.instruction
            if instruction in heard:
                continue
            heard.add(instruction)
            shown = {function.name for function in select_functions(api, instruction, settings.max_tools).functions}
            if hidden := [call.function for call in task.calls if call.function not in shown]:
                rejected.append((instruction, f"{hidden[0]} is not among the {len(shown)} functions nearest to it"))
                continue
            if decontaminator is not None:
                if reason := decontaminator.reason(api.id, instruction) or decontaminator.leaked(said.details_text):
                    rejected.append((instruction, reason))
                    continue
                decontaminator.accept(api.id, instruction)
            found.append(_play(task, said, sampler, settings, own, len(found)))
        # A bug that one document in thousands meets costs only this instance.
        except Exception as error:
            logger.warning("an instance of %s is set aside", api.id, exc_info=error)
            rejected.append((instruction, f"{type(error).__name__}: {error}"))
    return found


def _play(
    task: SampledTask, said: RuleInstruction, sampler: TaskSampler, settings: OfflineSettings, draws: Rng, index: int
) -> SimulatedInstance:
    api = sampler.environment.api
    reads = {function.name for function in api.functions if function.method.lower() == "get" and settings.faults}
    assistant = RuleAssistant(task, said, sampler.parameters, draws.child("assistant"), reads)
    user = RuleUser(said, task.kind == "mistaken", draws.child("answers"))
    rollout = Task(f"{api.id}/{index}", api, said.instruction, said.details_text)
    options: dict[str, Any] = {"max_tools": settings.max_tools, "faults": settings.faults}
    result = sampler.environment.roll_out(rollout, assistant, user, settings.limits, **options)
    provenance = {
        "source": "offline",
        "api": {"id": api.id, "name": api.name, "link": api.link, "category": api.category},
        "instruction": {"style": "rule", "mood": task.kind},
        "models": {"user": "rule", "assistant": "rule", "executor": "schema responder"},
        "prompts": {"wording": corpus.prompt_hash(corpus.prompt_text("offline.txt", PACKAGE))},
        "seed": settings.seed,
        "ended": result.ended,
        **({"error": result.error} if result.error else {}),
        **({"faults": list(result.faults)} if result.faults else {}),
        "tokens": {},
        "retries": {},
    }
    gates = corpus.apply_filters(api, said.instruction, result.trajectory, settings.gates, result.ended)
    return SimulatedInstance(result.trajectory, gates, provenance)


def _mixed(sampler: TaskSampler, draws: Rng, most: int) -> Iterator[SampledTask]:
    """Tasks of all kinds in turn, each function equally often."""

    def singles(name: str) -> list[PlannedCall]:
        return _shuffled(list(sampler.singles(draws.child(name))), draws.child(f"{name} order"))

    def changed(name: str, change: Any, **options: Any) -> list[SampledTask]:
        tasks = (change(call, draws.child(f"{name} {call.function}"), **options) for call in singles(name))
        return [task for task in tasks if task is not None]

    sampler.limit(max(MOST_FUNCTIONS, 2 * most), draws.child("functions"))
    firsts = singles("first")
    if not firsts:
        return
    # Pairs of so many only, whatever is asked for: they give more chains than anybody asks for.
    chains = list(sampler.chains(singles("chain")[:MOST_FUNCTIONS], draws.child("chains")))
    pairs = [(a, b) for a, b in zip(singles("pair"), firsts, strict=False) if a.function != b.function]
    kinds = {
        "single": [SampledTask("single", (call,)) for call in [*firsts, *singles("second")]],
        "chain": _shuffled(chains, draws.child("chain order")),
        "details": changed("details", sampler.details),
        "mistaken": changed("mistaken", sampler.mistaken),
        "unmended": changed("unmended", sampler.mistaken, corrected=False),
        "pair": [SampledTask("pair", pair) for pair in pairs],
        "twice": _twice(singles("once"), singles("again")),
    }
    begin = draws.child("mix").integer(0, len(MIX) - 1)
    given = again = 0
    while given < most:
        for kind in [*MIX[begin:], *MIX[:begin]]:
            if kinds[kind]:
                yield kinds[kind].pop(0)
                given += 1
        if not any(kinds.values()):  # more are wanted than kinds of tasks: single calls over again, with other values
            again += 1
            kinds["single"] = [SampledTask("single", (call,)) for call in singles(f"again {again}")]


def _twice(once: list[PlannedCall], again: list[PlannedCall]) -> list[SampledTask]:
    """Tasks that call one function twice, with different required values."""
    seconds = {call.function: call for call in again}
    pairs = [(first, seconds[first.function]) for first in once if first.arguments and first.function in seconds]
    return [SampledTask("twice", (a, b)) for a, b in pairs if a.arguments.keys() == b.arguments.keys() and a != b]


def _shuffled(items: Iterable[Any], draws: Rng) -> list[Any]:
    return [item for _, _, item in sorted((draws.integer(0, 2**60), place, item) for place, item in enumerate(items))]
