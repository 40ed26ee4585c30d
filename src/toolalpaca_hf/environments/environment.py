"""One API as an environment of TRL's GRPOTrainer: reset, tools, reward."""

import json
from collections.abc import Callable, Mapping, Sequence
from itertools import takewhile
from typing import Any, ClassVar
from uuid import uuid4

from ..agent import ApiCalls, RolloutLimits, ScriptedUser, Task, Toolbox
from ..errors import InputError
from ..metrics import WEIGHTS, Reward, process_reward
from ..schema import Api, Call, Instruction, Step, Trajectory
from ..simulator import Simulator


class OpenApiEnvironment:
    """An API as an environment: a simulator session of its own, the API's functions as tools, a reward.

    [`openapi_environments`] makes a subclass for each API, whose public methods are `reset`, `get_reward` and one tool
    for each function, as TRL's `GRPOTrainer(environment_factory=...)` wants them. A function called `_private` or
    `reset` is a tool all the same.

    Example:

    ```python
    >>> from toolalpaca_hf.environments import openapi_environments
    >>> environment = openapi_environments("sample", split="eval_simulated")["eval_simulated/orchard-lane"]()
    >>> environment.reset(id="eval_simulated/orchard-lane/0")
    'Who will be selling cheese on Saturday? I want to know before I drive into town.'
    ```
    """

    api: ClassVar[Api]
    tools: ClassVar[list[dict[str, Any]]]  # with their exact JSON schemas, in the layout of chat templates
    tasks: ClassVar[dict[str, Instruction]]  # its instructions with their golden calls, by id
    _actions: ClassVar[dict[str, tuple[str, dict[str, str]]]]
    _calls: ClassVar[ApiCalls]
    _simulator: ClassVar[Simulator]
    _slug: ClassVar[str]
    _limits: ClassVar[RolloutLimits]
    _weights: ClassVar[Mapping[str, float]] = WEIGHTS

    def __init__(self) -> None:
        self._session, self._place = uuid4().hex, 0
        self._task: Instruction | None = None
        self._scored: tuple[Any, Reward] | None = None

    def reset(
        self,
        id: str | None = None,
        prompt: Any = None,
        instruction: str | None = None,
        golden_calls: Sequence[Mapping[str, Any]] | None = None,
        **columns: Any,
    ) -> str | None:
        """Begin an episode in a new session.

        Args:
            id (`str`, *optional*): One of `tasks`; by default the next one.
            prompt (*optional*): What the model is shown; the instruction, which TRL would append, is `None` then.
            instruction (`str`, *optional*): Ask this instead.
            golden_calls (`Sequence[Mapping]`, *optional*): `action` and `action_input` of the calls that solve it,
                without which it has no reward.
        """
        if instruction is not None:
            given = [(call["action"], call.get("action_input") or {}) for call in golden_calls or ()]
            calls = [Call(name, text if isinstance(text, str) else json.dumps(text)) for name, text in given]
            task = Instruction(id or f"{self.api.id}/asked", self.api.id, instruction, calls)
        else:
            if id is None and self.tasks:
                id = list(self.tasks)[self._place % len(self.tasks)]
                self._place += 1
            if id not in self.tasks:
                fix = f"use one of its {len(self.tasks)}" if self.tasks else "pass instruction"
                raise InputError(f"{self.api.id} has no such instruction", row=id, fix=fix)
            task = self.tasks[id]
        self._simulator.sessions.clear(self._slug, self._session)
        self._calls.faults.pop(self._session, None)
        self._session = uuid4().hex
        self._task, self._golden = task, instruction is None or golden_calls is not None
        self._steps, self._response, self._scored = [], "", None
        asked = Task(task.id, self.api, task.instruction)
        self._toolbox = Toolbox(asked, self._calls, ScriptedUser(), self._limits, self._session)
        return None if prompt else task.instruction

    def get_reward(self) -> float:
        """The reward of the episode so far, see [`process_reward`]; an [`InputError`] without golden calls."""
        return self.reward.value

    @property
    def reward(self) -> Reward:
        """The reward with its parts."""
        if self._task is None or not self._golden:
            fix = "pass golden_calls to reset, or an id of `tasks`"
            raise InputError("has no golden calls, so there is no reward", row=self._task and self._task.id, fix=fix)
        faults = list(self._calls.faults.get(self._session, ()))
        state = (list(self._steps), self._response, faults)
        if self._scored is None or self._scored[0] != state:  # each part of it is asked for by itself
            scored = process_reward(self.api, self._task, self._steps, self._response, self._weights, faults)
            self._scored = state, scored
        return self._scored[1]

    @property
    def trajectory(self) -> Trajectory:
        """What was done so far; `response` is known if [`reward_parts`] are among the trainer's reward functions."""
        if self._task is None:
            raise InputError("has not begun", fix="call reset")
        asked = self._task.instruction
        return Trajectory(self._task.id, self.api.id, asked, "", list(self._steps), None, self._response)

    def _call(self, action: str, arguments: dict[str, Any]) -> str:
        if self._task is None:
            raise InputError("has not begun", fix="call reset")
        action_input = json.dumps(arguments, ensure_ascii=False)
        observation = self._toolbox.call(action, action_input)
        self._steps.append(Step("", action, action_input, observation))
        return observation

    def _read(self, messages: Any) -> None:
        """Take a completion for the episode: it has the answer, and calls of tools that do not exist."""
        if not isinstance(messages, list):
            return
        steps: list[Step] = []
        for place, message in enumerate(messages):
            results = takewhile(lambda later: later.get("role") == "tool", messages[place + 1 :])
            thought = str(message.get("reasoning_content") or message.get("content") or "").strip()
            calls = zip(message.get("tool_calls") or [], results, strict=False)
            for number, (call, result) in enumerate(calls):
                function = call.get("function", call)
                action, names = self._actions.get(function["name"], (function["name"], {}))
                given = function.get("arguments")
                if isinstance(given, dict):
                    given = {names.get(key, key): value for key, value in given.items()}
                written = given if isinstance(given, str) else json.dumps(given, ensure_ascii=False)
                steps.append(Step(thought, action, written, str(result["content"]), parallel=number > 0))
                thought = ""
        last = messages[-1] if messages else {}
        answered = last.get("role") == "assistant" and not last.get("tool_calls")
        self._steps, self._response = steps, str(last.get("content") or "").strip() if answered else ""


def reward_parts() -> list[Callable[..., list[float | None]]]:
    """The parts of the reward as reward functions of TRL, to log them: give each the weight 0.

    They also hand each environment what the model wrote: without them the part `answer` is 0 for all rollouts.

    Example:

    ```python
    >>> [part.__name__ for part in reward_parts()]
    ['process', 'calls', 'arguments', 'validity', 'answer']
    ```
    """

    def make(name: str) -> Callable[..., list[float | None]]:
        def part(completions: Sequence[Any], environments: Sequence[Any], **columns: Any) -> list[float | None]:
            for completion, environment in zip(completions, environments, strict=True):
                environment._read(completion)
            return [environment.reward.parts[name] for environment in environments]

        part.__name__ = name
        return part

    return [make(name) for name in WEIGHTS]
