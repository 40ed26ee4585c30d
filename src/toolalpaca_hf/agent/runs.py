"""A run: a file of instructions, a model, and a folder that fills with trajectories."""

import logging
from collections.abc import Callable, Container, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm.auto import tqdm

from ..checkpoints import check_model
from ..data import make_prompt
from ..errors import OptionError, ToolAlpacaError, needing
from ..formats import Prompt, react_prompt
from ..openapi import load_credentials
from ..schema import Api
from .backend import Backend
from .config import RolloutConfig
from .rollout import roll_out
from .run_folder import RunFolder
from .task import ModelUser, ScriptedUser, User, own_tasks, read_tasks
from .toolbox import ApiCalls, ask_user, real_calls, shown_api, simulated_calls

if TYPE_CHECKING:
    from .mcp import McpTools

logger = logging.getLogger(__name__)


class RolloutsFailedError(ToolAlpacaError):
    """Every rollout of a run failed; their results are written all the same."""

    status = 1


def make_backend(config: RolloutConfig, device: str | None = None) -> Backend | Callable[[], Backend]:
    """The model of a config: an [`EndpointBackend`], or a function that loads the local model, onto `device` if given.

    Raises [`OptionError`], [`NotFoundError`], [`MissingDependencyError`]: there is no model, or nothing that runs it.
    """
    name = config.model_name_or_path
    if not name:
        raise OptionError("is missing", option="--model", fix="pass a folder, a Hub id or smollm2")
    sampling: dict[str, Any] = {"style": config.style, "temperature": config.temperature, "seed": config.seed}
    if config.endpoint:
        with needing("running", "agent"):
            from .endpoint import EndpointBackend
        return EndpointBackend(config.endpoint, name, concurrency=config.concurrency, **sampling)
    check_model(name)  # before torch is loaded, which takes longer than the answer
    with needing("running", "train,agent"):
        for package in ("torch", "transformers", "trl"):
            if find_spec(package) is None:
                raise ModuleNotFoundError(name=package)

    def load() -> Backend:
        from .local import load_backend

        held = {"batch_size": config.batch_size, "constrained": config.constrained}
        return load_backend(name, device=device, dtype=config.dtype, **held, **sampling)

    return load


def run(
    apis: str | Path,
    backend: Backend | Callable[[], Backend],
    out: str | Path,
    config: RolloutConfig | None = None,
    *,
    instructions: Sequence[str] = (),
    user: User | None = None,
    prompt: Prompt | None = None,
    mcp: "McpTools | None" = None,
    progress: bool = True,
    share: tuple[int, int] = (0, 1),
    **fields: Any,
) -> dict[str, Any]:
    """Roll out the instructions of a file. Called again after a kill, it resumes with what is missing.

    Args:
        apis: A file in the raw layout, or `sample`, see [`read_tasks`]; with `instructions` of your own, the file or
            URL of an OpenAPI document or plugin manifest.
        backend: The model, or a function that loads it once all else is checked, see [`make_backend`].
        out: For `rollouts.jsonl`, `trajectories.parquet`, `trajectories.json` (raw) and `run.json`, which is returned.
        user, prompt: In place of those that `config` names.
        mcp: Call the tools of this MCP server, with `instructions`; `apis` is not read.
        share: Index of this process and number of processes. One of several writes its share to `part-N` of the
            folder; a later call without `share` merges the parts and does what is missing.
        fields: Fields of [`RolloutConfig`] that override `config`.

    Raises:
        [`RolloutsFailedError`]: Every rollout failed.
        [`ToolAlpacaError`]: The file, the folder, the credentials or the simulator cannot be used.
    """
    config = replace(config or RolloutConfig(), **fields)
    if user is None:
        endpoint, name = config.user_endpoint, config.user_model
        user = ModelUser.at_endpoint(endpoint, name) if endpoint and name else ScriptedUser()
    # The package's own prompt is made when the model is there and says how many hints it was trained with.
    if prompt is None and config.prompt != "react":
        prompt = make_prompt(config.prompt, config.prompt_dir)
    document = mcp.api if mcp else str(apis)
    source = own_tasks(document, instructions, config.allow_private) if mcp or instructions else read_tasks(apis)
    shown_api(source.apis[0], config.tools)  # an unknown tool is found out before anything is written
    tasks = source.tasks[: config.limit]
    real, embedded = config.real and not mcp, not (mcp or config.real) and config.simulator == "embedded"
    config.refuse_unused(
        ("real", "the servers of a document", not mcp),
        ("simulator", "simulated calls", not (mcp or real)),
        ("confirm_unsafe", "real calls", real or mcp is not None),
        *((name, "the embedded simulator", embedded) for name in ("responder", "store", "faults")),
    )
    settings: dict[str, Any] = {
        "apis": mcp.api.name if mcp else str(apis) if instructions else Path(apis).name,
        "apis_hash": source.digest,
        "tools": list(config.tools),
        "max_tools": config.max_tools,
        "user": user.describe(),
        "limits": asdict(config.limits),
        "calls": "mcp" if mcp else "real" if real else f"simulator {config.simulator}",
    }
    if embedded:
        settings |= {"responder": config.responder, "seed": config.seed}
        if config.faults:
            from ..simulator import read_faults

            plan = read_faults(config.faults, config.seed)
            settings["faults"] = plan and asdict(plan)
    RunFolder(out, settings).check()
    if config.credentials:
        load_credentials("", (), config.credentials)  # to fail before a model is loaded
    backend = backend() if callable(backend) else backend
    if prompt is None:
        prompt = react_prompt(getattr(backend, "tool_hints", 0) if config.tool_hints is None else config.tool_hints)
    react = backend.style == "react"
    settings |= backend.describe() | {"prompt": prompt.name if react else "chat"}
    settings["tool_hints"] = prompt.tool_hints if react else 0
    folder = RunFolder(out, settings)
    rank, processes = share
    if processes > 1:
        done = folder.finished_anywhere()
        # Neighbours stay together: the instructions of one API share its documentation.
        tasks = tasks[len(tasks) * rank // processes : len(tasks) * (rank + 1) // processes]
        tasks = [task for task in tasks if task.id not in done]
        folder = RunFolder(Path(out) / f"part-{rank}", settings)
    with ExitStack() as stack:
        stack.enter_context(folder.opened())
        folder.absorb_parts()
        done = folder.finished
        waiting = [task for task in tasks if task.id not in done]
        if waiting:
            backend.check()
            folder.begin()
            if mcp:
                calls = {mcp.api.id: mcp.calls}
            else:
                calls = _calls(source.apis, {task.api.id for task in waiting}, config, folder.path / "files", stack)
            for call in calls.values() if config.confirm_unsafe else ():
                call.confirm = ask_user
            how = (user, config.limits, prompt, config.tools, config.max_tools)
            results: Any = roll_out(waiting, backend, calls, *how)
            stack.callback(results.close)  # a run that fails starts no more rollouts
            before, hidden = len(tasks) - len(waiting), None if progress else True
            for result in tqdm(results, total=len(tasks), initial=before, unit="rollout", disable=hidden):
                folder.add(result)
            if isinstance(user, ModelUser) and user.failures:
                logger.warning("the user's model left %d questions open, the last as %s", user.failures, user.problem)
        note = folder.write(tasks, source)
        if tasks and processes == 1 and folder.failed.issuperset(task.id for task in tasks):
            why = folder.rows[tasks[0].id]["error"]
            raise RolloutsFailedError(f"every rollout failed, the first because {why}")
    return note


def _calls(
    apis: Sequence[Api], used: Container[str], config: RolloutConfig, files: Path, stack: ExitStack
) -> dict[str, ApiCalls]:
    """Calls of the APIs that are used, closed with the stack."""
    needed = [api for api in apis if api.id in used]
    seconds = min(60.0, config.max_seconds)  # for one call
    if config.real:
        calls = real_calls(needed, config.credentials, files, config.allow_private, seconds=seconds)
    else:
        with needing("simulating", "simulator"):
            from ..simulator import SESSION_HEADER, read_faults, running
        faults, url = read_faults(config.faults, config.seed), config.simulator
        if url == "embedded":
            # All of them: names that occur twice are told apart by their place in the file.
            url = stack.enter_context(running(apis, config.responder, config.store, config.seed, faults))
        # Whether a call is repeated is the model's decision where faults are part of the task.
        calls = simulated_calls(apis, url, SESSION_HEADER, seconds, **({"retries": 0} if faults else {}))
    for call in calls.values():
        stack.callback(call.close)
    return calls
