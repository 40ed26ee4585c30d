"""Rollouts of instructions: a local model's turns share one changing batch, an endpoint's run in threads."""

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, as_completed, wait
from dataclasses import dataclass, replace
from typing import Any, cast
from uuid import uuid4

from ..errors import ToolAlpacaError
from ..formats import MAX_TOOLS, NO_CALL, Prompt, react_prompt, split_log
from ..llm import ContextFull
from ..schema import Call, Step, Trajectory
from .backend import Backend, ChatContext, Completion, Context, ContinuousBackend, ReactContext
from .config import Ended, RolloutLimits
from .task import ScriptedUser, Task, User
from .toolbox import ApiCalls, Toolbox, shown_api


@dataclass(frozen=True)
class Result:
    """The result of a rollout."""

    trajectory: Trajectory  # its response is empty if there is no answer
    ended: Ended
    error: str  # why it failed; empty otherwise
    tokens: int  # that the model wrote
    seconds: float  # wall time from the start of the first turn to the end of the last
    ran_on: bool = False  # whether the model continued after its response, which was cut
    faults: tuple[str, ...] = ()  # that a simulator made, in order
    shown: tuple[str, ...] = ()  # the tools that were shown, if the API has more


@dataclass(eq=False, repr=False)
class Rollout:
    """The state of one rollout; its driver calls [`take`] with each turn of the model, then [`act`], until `ended`."""

    task: Task
    context: Context
    toolbox: Toolbox
    limits: RolloutLimits
    clock: Callable[[], float] = time.monotonic
    ended: Ended | None = None

    def __post_init__(self) -> None:
        self._began = self.clock()
        self._steps: list[Step] = []
        self._tokens = self._unread = 0
        self._final_thought: str | None = None
        self._response, self._error, self._ran_on = "", "", False
        self._written: Completion | None = None

    @property
    def turn_tokens(self) -> int:
        """Token limit of the next turn; at least 1."""
        return max(1, min(self.limits.turn_tokens, self.limits.tokens - self._tokens))

    def take(self, written: Completion | ToolAlpacaError) -> None:
        """Take what the model wrote; a response or a failed model ends the rollout."""
        if isinstance(written, ToolAlpacaError):
            return self._end("tokens" if isinstance(written, ContextFull) else "failed", str(written))
        written = _storable(written)
        self._tokens += written.tokens
        if written.turn.response is None:
            self._written = written
            return
        self._final_thought, self._response = written.turn.thought or written.turn.reasoning, written.turn.response
        self._ran_on = written.turn.ran_on
        # A response behind which the model began anew is whole, wherever it was stopped.
        self._end("tokens" if written.cut and not self._ran_on else "answered")

    def act(self) -> None:
        """Execute the calls of the turn that was taken, in order, up to the limit on steps, and show the results."""
        written, self._written = self._written, None
        if written is None:
            return
        turn = written.turn
        # The first character is the space before the thought, which is the prompt's.
        text = written.text.removeprefix(" ")
        if not turn.action:
            self._add(Step(turn.thought, NO_CALL, "", _no_action(written), text, reasoning=turn.reasoning))
        said: dict[str, Any] = {"thought": turn.thought or turn.reasoning, "reasoning": turn.reasoning}
        if turn.action and isinstance(self.context, ReactContext):
            said["thought"], said["log"] = split_log(turn.action, turn.action_input or "", f" {text}")
        functions = self.context.functions if isinstance(self.context, ChatContext) else {}
        for call in turn.calls[: self.limits.steps - len(self._steps)]:
            action = functions.get(call.action, call.action)
            observation = self.toolbox.call(action, call.action_input)
            self._add(Step(action=action, action_input=call.action_input, observation=observation, **said))
            said = {"thought": "", "parallel": True}
        self._unread = 0 if turn.action else self._unread + 1
        if self.limits.unread and self._unread >= self.limits.unread:
            self._end("unread")  # a turn that could not be parsed; rollouts.jsonl has this word
        elif len(self._steps) >= self.limits.steps:
            self._end("steps")
        elif self._tokens >= self.limits.tokens:
            self._end("tokens")
        elif self.clock() - self._began >= self.limits.seconds:
            self._end("time")

    def _add(self, step: Step) -> None:
        self.context.add(step)
        self._steps.append(step)

    def run(self, backend: Backend) -> None:
        """Run all turns of this rollout by itself."""
        while self.ended is None:
            self.take(*backend.generate([self.context], self.turn_tokens))
            self.act()

    def fail(self, error: Exception) -> None:
        """End the rollout with an unexpected error."""
        self._end("failed", str(error) if isinstance(error, ToolAlpacaError) else f"{type(error).__name__}: {error}")

    def result(self) -> Result:
        """The result, once the rollout has ended."""
        assert self.ended is not None, "the rollout goes on"
        task, made = self.task, (self._steps, self._final_thought, self._response)
        trajectory = Trajectory(task.id, task.api.id, task.instruction, task.hint, *made)
        cost, tools = (self._tokens, self._seconds), self.toolbox
        return Result(trajectory, self.ended, self._error, *cost, self._ran_on, tools.faults(), tools.shown)

    def _end(self, ended: Ended, error: str = "") -> None:
        self.ended, self._error = ended, error
        self._seconds = self.clock() - self._began


def _storable(written: Completion) -> Completion:
    def plain(text: Any) -> Any:  # lone surrogates can be escaped in JSON, but no file can store them
        return text and text.encode("utf-8", "replace").decode("utf-8")

    names = ("thought", "action", "action_input", "response", "reasoning")
    texts = {name: plain(getattr(written.turn, name)) for name in names}
    more = tuple(Call(plain(call.action), plain(call.action_input)) for call in written.turn.more)
    return replace(written, text=plain(written.text), turn=replace(written.turn, more=more, **texts))


def _no_action(written: Completion) -> str:
    """The observation after a turn with neither an action nor a response."""
    if written.cut:
        advice = "think in one sentence, then write an Action or a Response."
        return f"The turn was cut off at its limit of tokens; {advice}"
    if not written.text.strip():
        return "Nothing was written; write a Thought, then an Action or a Response."
    return "There is neither an Action nor a Response; write an Action with an Action Input, or a Response."


def roll_out(
    tasks: Sequence[Task],
    backend: Backend,
    calls: Mapping[str, ApiCalls],
    user: User | None = None,
    limits: RolloutLimits | None = None,
    prompt: Prompt | None = None,
    tools: Sequence[str] = (),
    max_tools: int | None = MAX_TOOLS,
) -> Iterator[Result]:
    """Roll out instructions, yielding results as they end; a failure ends only its own rollout.

    Args:
        tasks, backend: The instructions, grouped by API, so that documentation is read once, and the model.
        calls: By API id; see [`simulated_calls`] and [`real_calls`].
        user, prompt: By default a [`ScriptedUser`], and for style `"react"` [`react_prompt`].
        tools, max_tools: What is shown of an API, see [`shown_api`]; 20 functions by default, `None` for all.
    """
    user, limits, prompt = user or ScriptedUser(), limits or RolloutLimits(), prompt or react_prompt()

    def begin(task: Task) -> Rollout:
        # A new session each time: what an interrupted rollout left in the simulator must not be met again.
        toolbox = Toolbox(task, calls[task.api.id], user, limits, session=uuid4().hex)
        try:
            api = shown_api(task.api, tools, task.instruction, max_tools)
            if max_tools is not None and len(task.api.functions) > max_tools:
                toolbox.shown = tuple(function.name for function in api.functions)
            chat, asked = backend.style == "chat", task.instruction
            context = ChatContext.begin(api, asked) if chat else ReactContext.begin(prompt, api, asked)
            return Rollout(task, context, toolbox, limits)
        except Exception as error:  # a document that cannot be shown costs its own rollouts only
            rollout = Rollout(task, ChatContext([]), toolbox, limits)
            rollout.fail(error)
            return rollout

    if backend.continuous:
        yield from _continuously(tasks, cast(ContinuousBackend, backend), begin, limits)
    else:
        yield from _side_by_side(tasks, backend, begin)


def _guarded(rollout: Rollout, do: Callable[..., None], *given: Any) -> None:
    """Any failure ends only this rollout: the run must not lose the others."""
    try:
        do(*given)
    except Exception as error:
        rollout.fail(error)


def _continuously(
    tasks: Sequence[Task], backend: ContinuousBackend, begin: Callable[[Task], Rollout], limits: RolloutLimits
) -> Iterator[Result]:
    """Rollouts act in threads while the model writes the others' turns; one that ends makes room for the next."""
    waiting = deque(tasks)
    writing: dict[Context, Rollout] = {}
    acting: dict[Future[None], Rollout] = {}
    ended: list[Rollout] = []

    def go_on(rollout: Rollout) -> None:
        if rollout.ended is None:
            _guarded(rollout, backend.start, rollout.context, rollout.turn_tokens, limits.unreadable_after)
        if rollout.ended is None:
            writing[rollout.context] = rollout
        else:
            ended.append(rollout)

    pool = ThreadPoolExecutor(min(backend.width, 16))
    try:
        while waiting or writing or acting:
            while waiting and len(writing) + len(acting) < backend.width:
                go_on(begin(waiting.popleft()))
            done, _ = wait(acting, timeout=0 if writing or ended else None, return_when=FIRST_COMPLETED)
            for future in done:
                go_on(acting.pop(future))
            for context, written in backend.step() if writing else ():
                rollout = writing.pop(context)
                _guarded(rollout, rollout.take, written)
                if rollout.ended is None:
                    acting[pool.submit(_guarded, rollout, rollout.act)] = rollout
                else:
                    ended.append(rollout)
            while ended:
                rollout = ended.pop()
                backend.forget(rollout.context)
                yield rollout.result()
    finally:
        # Who stops listening leaves no turn behind that the next run would go on writing.
        for rollout in (*writing.values(), *acting.values(), *ended):
            backend.forget(rollout.context)
        pool.shutdown(wait=False, cancel_futures=True)


def _side_by_side(tasks: Sequence[Task], backend: Backend, begin: Callable[[Task], Rollout]) -> Iterator[Result]:
    def whole(task: Task) -> Result:
        rollout = begin(task)
        _guarded(rollout, rollout.run, backend)
        backend.forget(rollout.context)
        return rollout.result()

    pool = ThreadPoolExecutor(backend.width)
    try:
        for future in as_completed([pool.submit(whole, task) for task in tasks]):
            yield future.result()
    finally:
        # Who stops listening does not wait for rollouts that are under way.
        pool.shutdown(wait=False, cancel_futures=True)
