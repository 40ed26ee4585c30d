"""A model, an API and an instruction: thoughts appear as they are written, calls as they are answered."""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import cache
from html import escape
from queue import SimpleQueue
from typing import Any, cast

from ..agent import ApiCalls, Backend, Completion, Context, Result, RolloutLimits, Task, roll_out
from ..environments import calls_in_process
from ..errors import ToolAlpacaError
from ..evaluation import instruction_page
from ..formats import parse_turn, react_prompt
from ..report import visible
from ..schema import Api, Step, Trajectory
from ..simulator import Simulator
from .states import WatchedCalls

LIMITS = RolloutLimits(steps=6, turn_tokens=192, tokens=1024, unread=2, unreadable_after=64)


class _WatchedBackend:
    """A backend that tells what a turn holds so far, while it is written."""

    def __init__(self, backend: Backend, tell: Callable[[str], None]) -> None:
        self._backend: Any = backend
        self._tell = tell

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def step(self) -> list[tuple[Context, Completion | ToolAlpacaError]]:
        ended = self._backend.step()
        for text in self._backend.partial():
            self._tell(text)
        return ended

    def generate(self, contexts: Sequence[Context], max_new_tokens: int) -> list[Completion | ToolAlpacaError]:
        return self._backend.generate(contexts, max_new_tokens, self._tell)


class Playground:
    """Rolls out one instruction after the other against a simulator; one at a time, as the model is one, which `load`
    loads when it is first asked."""

    def __init__(self, load: Callable[[], Backend], apis: list[Api]) -> None:
        self._load, self.apis = cache(load), {api.name: api for api in apis if api.functions}
        self._lock = threading.Lock()

    def ask(self, name: str, instruction: str) -> Iterator[tuple[str | None, str]]:
        """Ask for something of the API of a name: the page of the rollout, `None` where it is as before, and what the
        model is writing, as an element."""
        api = self.apis[name]
        task = Task(f"{api.id}/0", api, instruction)
        events: SimpleQueue[str | Step | Result | Exception] = SimpleQueue()

        def work() -> None:
            try:
                with self._lock:
                    model = self._load()
                    prompt = react_prompt(getattr(model, "tool_hints", 0))
                    simulator = Simulator([api])
                    calls = WatchedCalls(calls_in_process(simulator)[0], simulator, tell=events.put)
                    backend = cast(Backend, _WatchedBackend(model, events.put))
                    rollouts = roll_out([task], backend, {api.id: cast(ApiCalls, calls)}, limits=LIMITS, prompt=prompt)
                    events.put(next(rollouts))
            except Exception as error:  # the page has to say it, whatever it is
                events.put(error)

        threading.Thread(target=work, daemon=True).start()
        made, states, text = Trajectory(task.id, api.id, instruction, "", [], None, ""), list[str](), ""
        yield _page(made, states, "running"), _writing(text)
        while True:
            event = events.get()
            if isinstance(event, str):
                text = event
                if events.empty():  # of several the last
                    yield None, _writing(text)
            elif isinstance(event, Step):
                made.steps.append(replace(event, thought=parse_turn(text).thought, log=None))
                states.append(event.log or "")
                text = ""
                yield _page(made, states, "running"), _writing(text)
            elif isinstance(event, Exception):
                return (yield _page(made, states, "failed", f"{type(event).__name__}: {event}"), "")
            else:
                steps, told = event.trajectory.steps, iter(states)
                # Steps that reached no function, such as a question to the user, have left the state alone.
                own = {function.name for function in api.functions}
                states = [next(told, "") if step.action in own else "" for step in steps]
                return (yield _page(event.trajectory, states, event.ended, event.error), "")


def _writing(text: str) -> str:
    words = escape(visible(text.strip())) or "…"
    return f'<pre class="writing" aria-live="polite" aria-label="what the model is writing">{words}</pre>'


def _page(made: Trajectory, states: Sequence[str], ended: str, error: str = "") -> str:
    record = {"id": made.id, "index": "", "instruction": made.instruction, "ended": ended, "error": error}
    return instruction_page(record, made, states)
