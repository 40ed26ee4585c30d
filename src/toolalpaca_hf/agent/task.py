"""The instructions of a run, and the user whom a model may ask for details: a script, or another model."""

import hashlib
import json
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any, Protocol

from ..data import LeftOut, left_out, read_file
from ..errors import InputError, OptionError
from ..formats import NO_CALL
from ..llm import Answer, LLMError
from ..metrics import BUILT_IN
from ..openapi import load_api
from ..schema import Api, Call, Instruction, Trajectory

NOTHING_TO_ADD = "I have nothing to add to what I told you; please go on with that."
"""What a scripted user says who was given no answer."""

AWAY = "The user does not answer; go on with what you know."  # the observation where a model that plays the user fails


@dataclass(frozen=True)
class Task:
    """One instruction to roll out."""

    id: str  # `SPLIT/API-SLUG/INDEX`
    api: Api
    instruction: str
    hint: str = ""  # what the user also knows; never shown to the model


@dataclass(frozen=True)
class TaskFile:
    """APIs and instructions of a file, in its order."""

    apis: list[Api]
    tasks: list[Task]
    instructions: list[Instruction]  # with golden calls; none of training APIs
    digest: str  # git blob id; for own instructions, a hash of document and instructions
    left_out: tuple[LeftOut, ...] = ()


def own_tasks(source: str | Api, instructions: Sequence[str], private: Sequence[str] = ()) -> TaskFile:
    """Tasks from your own instructions for an API, or the URL or file of its document, see [`load_api`]."""
    if not all(map(str.strip, instructions)):
        raise OptionError("is empty", option="--instruction", fix="say what to ask")
    api = source if isinstance(source, Api) else load_api(source, private=private)
    if not api.functions:
        raise InputError("documents no operation", file=api.link, fix="pass another document")
    # The command line hands on bytes that are no UTF-8 as halves of surrogate pairs.
    instructions = [instruction.encode("utf-8", "replace").decode("utf-8") for instruction in instructions]
    tasks = [Task(f"{api.id}/{i}", api, instruction) for i, instruction in enumerate(instructions)]
    document = json.dumps([api.documentation, *instructions], sort_keys=True)
    return TaskFile([api], tasks, [], hashlib.sha1(document.encode("utf-8", "replace")).hexdigest())


def read_tasks(path: str | Path) -> TaskFile:
    """Read the instructions of a file in the raw layout, or of `sample`, the embedded corpus's held-out APIs.

    A file that is missing, not in the raw layout or without instructions is a [`ToolAlpacaError`].
    """
    split, corpus = read_file(path)
    apis = corpus.apis[split]
    train, by_id = split == "train", {api.id: api for api in apis}
    asked: Sequence[Instruction | Trajectory] = (corpus.trajectories if train else corpus.instructions)[split]
    tasks = [Task(row.id, by_id[row.api], row.instruction, getattr(row, "hint", "")) for row in asked]
    if not tasks:
        why = left_out(corpus.report.notes()) or "pass a file with Instructions"
        raise InputError(f"holds no instruction that can be read: {why}", file=path)
    digest = next(source.blob_id for role, source in corpus.sources.all() if role == split)
    notes = corpus.report.notes("apis", "trajectories" if train else "instructions")
    return TaskFile(list(apis), tasks, [] if train else list(corpus.instructions[split]), str(digest), tuple(notes))


def referenced(trajectories: Iterable[Trajectory]) -> list[Instruction]:
    """Instructions whose golden calls are those of their reference trajectory: what was answered with a status 2xx."""
    found = []
    for each in trajectories:
        answered = [step for step in each.steps if step.observation.startswith("Status Code: 2")]
        calls = [Call(s.action, s.action_input) for s in answered if s.action not in (*BUILT_IN, NO_CALL)]
        found += [Instruction(each.id, each.api, each.instruction, calls)] if calls else []
    return found


class User(Protocol):
    """Answers `getDetails`, from several threads at once; see [`ScriptedUser`] and [`ModelUser`]."""

    def answer(self, instruction: str, question: str, details: str = "") -> str:
        """Answer a question of the model about an instruction, knowing also its `details`; must not raise."""
        ...

    def describe(self) -> str: ...  # for the record of a run


class ScriptedUser:
    """A user with the same answer to every question."""

    def __init__(self, answer: str = NOTHING_TO_ADD) -> None:
        self._answer = answer

    def answer(self, instruction: str, question: str, details: str = "") -> str:
        return self._answer

    def describe(self) -> str:
        return "scripted"


class ModelUser:
    """A chat model plays the user, with the prompt `agent/prompts/user.txt`.

    If the model fails, the rollout continues: the answer says that the user is away. `failures` counts these, and
    `problem` says why the last question was not answered. `ask` answers messages, as [`ModelClient.answer`] does.
    """

    def __init__(self, ask: Callable[[list[dict[str, Any]]], Answer], described: str) -> None:
        self._ask, self._described = ask, described
        self.prompt = files("toolalpaca_hf.agent").joinpath("prompts", "user.txt").read_text(encoding="utf-8")
        self._lock = threading.Lock()
        self.failures = 0
        self.problem: str | None = None

    @classmethod
    def at_endpoint(cls, base_url: str, model: str, timeout: float = 60.0, retries: int = 2) -> "ModelUser":
        """A user on any OpenAI-compatible server; arguments and errors as in [`ModelClient`]."""
        from ..llm import ModelClient  # the client's library is heavy, and a scripted user needs none

        ask = ModelClient(base_url, model, timeout=timeout, retries=retries).answer
        return cls(partial(ask, max_tokens=128, temperature=0.0, seed=0, attempts=1), f"model {model}")

    def answer(self, instruction: str, question: str, details: str = "") -> str:
        known, question = details.strip() or "Nothing.", question.strip() or "(none)"
        prompt = self.prompt.format(instruction=instruction, details=known, question=question)
        try:
            # One message: some chat templates refuse the role `system`.
            answer = self._ask([{"role": "user", "content": prompt}])
            if words := " ".join(answer.text.split())[:1000]:
                return words
            problem = f"{answer.model} wrote no answer"
        except LLMError as error:
            problem = str(error)
        with self._lock:
            self.failures, self.problem = self.failures + 1, problem
        return AWAY

    def describe(self) -> str:
        return self._described
