"""Environments of every API of a source, and the rows that choose among them."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from ..agent import ApiCalls, RolloutLimits, referenced
from ..checkpoints import check_dataset
from ..data import read_corpus, read_file, resolve_sources
from ..errors import InputError
from ..formats import Prompt, tools_of
from ..metrics import BUILT_IN, VERDICT_ONLY, WEIGHTS
from ..openapi import document_in, load_api
from ..schema import Api, Instruction, Trajectory
from ..simulator import IN_PROCESS, SESSION_HEADER, FaultPlan, Simulator, in_process, read_faults
from .environment import OpenApiEnvironment
from .signature import python_names, tool_method

if TYPE_CHECKING:
    from datasets import Dataset

GET_DETAILS = BUILT_IN[0]


def openapi_environments(
    source: str | Path,
    split: str = "train",
    seed: int = 0,
    partial_credit: bool = True,
    documentation: bool = False,
    limits: RolloutLimits | None = None,
    faults: str | float | FaultPlan | None = None,
) -> dict[str, type[OpenApiEnvironment]]:
    """An environment for each API of a source, by its id, for `GRPOTrainer(environment_factory=...)`.

    An instruction without golden calls, as training corpora have them, gets those of its reference trajectory: the
    calls in it that were answered with a status 2xx.

    Args:
        source (`str` or `Path`): `sample`, a file in the raw layout, an OpenAPI document (file or URL), or a folder or
            Hub id of a dataset that `dataset_scripts/toolalpaca.py` wrote. A document has no instructions: pass them
            to [`OpenApiEnvironment.reset`].
        split, seed (*optional*): Of `sample` or a dataset, and of the simulator.
        partial_credit (`bool`, *optional*): Reward the parts of the verdict, too.
        documentation (`bool`, *optional*): Describe the tools by the APIs' natural-language documentation.
        limits ([`RolloutLimits`], *optional*): Its `observation` is the longest.
        faults (*optional*): Lets the simulator fail; see [`read_faults`].

    Raises:
        [`ToolAlpacaError`]: The source cannot be read, or has no API with functions.

    Example:

    ```python
    >>> list(openapi_environments("sample", split="eval_simulated"))[:2]
    ['eval_simulated/orchard-lane', 'eval_simulated/bauhof']
    ```
    """
    apis, instructions = _read(source, split)
    apis = [api for api in apis if api.functions]
    if not apis:
        raise InputError("has no API with functions", file=source, fix="pass another source or split")
    simulator = Simulator(apis, "schema", None, seed, read_faults(faults, seed))
    found = {}
    for api, served, calls in zip(apis, simulator.directory.apis, calls_in_process(simulator), strict=True):
        tools, actions = tools_of(api), [GET_DETAILS, *(function.name for function in api.functions)]
        for tool, function in zip(tools[1:], api.functions, strict=True) if documentation else ():
            tool["function"]["description"] = function.description or tool["function"]["description"]
        tasks = {task.id: task for task in instructions if task.api == api.id}
        members: dict[str, Any] = {"api": api, "tools": tools, "tasks": tasks}
        members |= {"__doc__": f"{api.name} as an environment.", "_actions": {}, "_calls": calls}
        members |= {"_simulator": simulator, "_slug": served.slug}
        members |= {"_limits": limits or RolloutLimits(), "_weights": WEIGHTS if partial_credit else VERDICT_ONLY}
        for place, (tool, action) in enumerate(zip(tools, actions, strict=True)):
            aliases = python_names(tool["function"]["parameters"].get("properties", {}))
            names = {alias: name for name, alias in aliases.items()}
            members["_actions"][tool["function"]["name"]] = action, names
            # Members are found in the order of their names, which are no others' then: the API's own order is kept.
            members[f"tool_{place:04}"] = tool_method(
                tool, lambda self, arguments, action=action: self._call(action, arguments)
            )
        name = "".join(word.title() for word in re.findall(r"[A-Za-z0-9]+", served.slug))
        found[api.id] = type(f"{name}Environment", (OpenApiEnvironment,), members)
    return found


def calls_in_process(simulator: Simulator) -> list[ApiCalls]:
    """The calls of each API of a simulator in this process."""
    exchange = in_process(simulator)
    return [
        ApiCalls.simulated(served.api, f"{IN_PROCESS}/{served.slug}", SESSION_HEADER, exchange)
        for served in simulator.directory.apis
    ]


def environment_dataset(
    environments: Mapping[str, type[OpenApiEnvironment]], prompt: Prompt | None = None
) -> "Dataset":
    """The instructions of environments as rows of TRL, with the hints of a prompt; an [`InputError`] without any.

    Example:

    ```python
    >>> environment_dataset(openapi_environments("sample")).column_names
    ['prompt', 'environment', 'id']
    ```
    """
    from datasets import Dataset

    rows = [
        {"prompt": [{"role": "user", "content": _asked(environment.api, task, prompt)}], "environment": name, "id": id}
        for name, environment in environments.items()
        for id, task in environment.tasks.items()
    ]
    if not rows:
        raise InputError("the environments have no instructions", fix="pass a source with instructions")
    return Dataset.from_list(rows)


def _asked(api: Api, task: Instruction, prompt: Prompt | None) -> str:
    if prompt is None:
        return task.instruction
    mark = "\ue0c1"  # of no prompt
    before, after = prompt.head(api, mark, ()).split(mark)
    head = prompt.head(api, task.instruction)
    return head[len(before) : len(head) - len(after)]


def _read(source: str | Path, split: str) -> tuple[list[Api], list[Instruction]]:
    path = Path(source)
    if str(source) == "sample":
        corpus = read_corpus(resolve_sources("sample"))
    elif path.is_file():
        if (api := document_in(path)) is not None:
            return [api], []
        split, corpus = read_file(path)
    elif "://" in str(source):
        return [load_api(source)], []
    else:
        return _built(str(source), split)
    if split not in corpus.apis:
        raise InputError(f"has no split {split!r}", file=source, option="split", fix=f"use {', '.join(corpus.apis)}")
    asked = list(corpus.instructions.get(split, ())) + referenced(corpus.trajectories.get(split, ()))
    return list(corpus.apis[split]), asked


def _built(name: str, split: str) -> tuple[list[Api], list[Instruction]]:
    """The APIs and instructions of a dataset repo."""
    from datasets import get_dataset_config_names, load_dataset

    check_dataset(name, "build one with dataset_scripts/toolalpaca.py")
    try:
        have, wanted = get_dataset_config_names(name), ("apis", "trajectories" if split == "train" else "instructions")
        rows = {each: load_dataset(name, each, split=split).to_list() for each in wanted if each in have}
        apis = TypeAdapter(list[Api]).validate_python(rows["apis"])
        asked = TypeAdapter(list[Instruction]).validate_python(rows.get("instructions", []))
        done = TypeAdapter(list[Trajectory]).validate_python(rows.get("trajectories", []))
    except (OSError, ValueError, KeyError, TypeError) as error:
        problem = f"is no dataset of APIs with a split {split!r} ({str(error).splitlines()[0]})"
        raise InputError(problem, file=name, fix="build one with dataset_scripts/toolalpaca.py") from None
    return apis, asked + referenced(done)
