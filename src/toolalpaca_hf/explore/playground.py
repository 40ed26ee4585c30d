"""A simulated API watched: a model that is asked for something there, and what exists in it after each call."""

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache, cached_property
from html import escape
from pathlib import Path
from queue import SimpleQueue
from typing import Any, cast
from uuid import uuid4

from .. import agent
from ..data import read_file
from ..environments import calls_in_process
from ..errors import ToolAlpacaError
from ..evaluation import instruction_page, run_note
from ..formats import parse_turn, react_prompt
from ..openapi import mapping
from ..report import visible
from ..schema import Api, Step, Trajectory
from ..simulator import Entities, Simulator

LIMITS = agent.RolloutLimits(steps=6, turn_tokens=192, tokens=1024, unread=2, unreadable_after=64)

IDS = 12  # how many ids of a collection are shown

OPERATIONS = 100  # collections of larger documents are shown when a call has touched them: each would be read
REPLAYED = ("responder", "faults", "seed", "limits")  # the settings of a run by which its calls are made again

Records = Mapping[tuple[str, str], dict[str, Any] | None]
_Made = agent.Completion | ToolAlpacaError


class WatchedCalls:
    """Calls of one API against a simulator in this process (with its `seed`) that note the state of their session.

    `tell` gets each call with its observation and, as its `log`, the state.
    """

    def __init__(
        self, calls: agent.ApiCalls, simulator: Simulator, seed: int = 0, tell: Callable[[Step], None] | None = None
    ) -> None:
        self._calls, self._sessions, self._tell = calls, simulator.sessions, tell
        served = next(served for served in simulator.directory.apis if served.api is calls.api)
        self._entities, self.state = Entities(served, seed), ""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._calls, name)

    def call(self, action: str, action_input: str, session: str = "") -> str:
        """As [`ApiCalls.call`]; `state` is in words what it changed and what exists now."""
        records = self._sessions.get(session, self._entities.api.slug).records
        before = dict(records)
        observation = self._calls.call(action, action_input, session)
        self.state = self._words(before, records)
        if self._tell:
            self._tell(Step("", action, action_input, observation, self.state))
        return observation

    @cached_property
    def _seeded(self) -> dict[str, list[str]]:
        """The ids that exist from the beginning, by collection, where the document says that there are no others."""
        found: dict[str, list[str]] = {}
        operations = self._entities.api.operations
        for place in dict.fromkeys(self._entities.kinds(each).collection for each in operations[:OPERATIONS]):
            if self._entities.closed(place) is not None and "{" not in (name := "/".join(place)):
                ids = self._entities.seeded_ids(place, name) + self._entities.shown_ids(place)
                found[name] = list(dict.fromkeys(map(str, ids)))
        return found

    def _words(self, before: Records, now: Records) -> str:
        lines = []
        for key, fields in now.items():
            if before.get(key, self) == fields:
                continue
            collection, item = key
            old = before.get(key, {} if item in self._seeded.get(collection, ()) else None)
            if fields is None:
                lines.append(f"removed {collection} {item}")
            else:
                # Without the id, which is named already.
                changed = {k: v for k, v in fields.items() if (old or {}).get(k, self) != v and str(v) != item}
                what = f"{'new' if old is None else 'changed'} {collection} {item}"
                lines.append(f"{what}: {json.dumps(changed, ensure_ascii=False)}")
        known = {collection: dict.fromkeys(ids) for collection, ids in self._seeded.items()}
        for (collection, item), fields in now.items():
            ids = known.setdefault(collection, {})
            ids.pop(item, None) if fields is None else ids.setdefault(item)
        for collection, ids in known.items():
            more = f" and {len(ids) - IDS} more" if len(ids) > IDS else ""
            others = "" if collection in self._seeded else ", and any other that is asked for"
            lines.append(f"{collection}: {', '.join([*ids][-IDS:]) or 'none'}{more}{others}")
        return "\n".join(lines)


class Replay:
    """Makes the calls of a run's folder (`run.json`, `trajectories.json`) again, on a simulator of the same seed."""

    def __init__(self, folder: Path) -> None:
        self._calls: dict[str, WatchedCalls] = {}
        file = folder / "trajectories.json"
        settings = mapping(run_note(folder).get("settings")) if file.is_file() else {}
        # Another server's state is not known, and failures on purpose are not made again.
        if settings.get("responder") == "schema" and not settings.get("faults"):
            split, corpus = read_file(file)
            seed, self._limits = settings["seed"], agent.RolloutLimits(**settings["limits"])
            simulator = Simulator(corpus.apis[split], seed=seed)
            for calls in calls_in_process(simulator):
                # Without the split, which depends on what else the file holds.
                self._calls[calls.api.id.partition("/")[2]] = WatchedCalls(calls, simulator, seed)

    def states(self, trajectory: Trajectory) -> list[str]:
        """The state after each step; empty where it is not known, as from a call on that is answered otherwise now."""
        calls = self._calls.get(str(trajectory.api).partition("/")[2])
        if calls is None:
            return []
        task = agent.Task(trajectory.id, calls.api, trajectory.instruction, trajectory.hint)
        toolbox = agent.Toolbox(task, cast(agent.ApiCalls, calls), agent.ScriptedUser(), self._limits, uuid4().hex)
        found = []
        for step in trajectory.steps:
            if step.action not in calls.names:
                found.append("")
            elif toolbox.call(step.action, step.action_input) == step.observation:
                found.append(calls.state)
            else:
                break
        return found


class _WatchedBackend:
    """A backend that tells what a turn holds so far, while it is written."""

    def __init__(self, backend: agent.Backend, tell: Callable[[str], None]) -> None:
        self._backend: Any = backend
        self._tell = tell

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def step(self) -> list[tuple[agent.Context, _Made]]:
        ended = self._backend.step()
        for text in self._backend.partial():
            self._tell(text)
        return ended

    def generate(self, contexts: Sequence[agent.Context], max_new_tokens: int) -> list[_Made]:
        return self._backend.generate(contexts, max_new_tokens, self._tell)


class Playground:
    """Rolls out one instruction after the other against a simulator; one at a time, as the model is one, which `load`
    loads when it is first asked."""

    def __init__(self, load: Callable[[], agent.Backend], apis: list[Api]) -> None:
        self._load, self.apis = cache(load), {api.name: api for api in apis if api.functions}
        self._lock = threading.Lock()

    def ask(self, name: str, instruction: str) -> Iterator[tuple[str | None, str]]:
        """Ask for something of the API of a name: the page of the rollout, `None` where it is as before, and what the
        model is writing, as an element."""
        api = self.apis[name]
        task = agent.Task(f"{api.id}/0", api, instruction)
        events: SimpleQueue[str | Step | agent.Result | Exception] = SimpleQueue()

        def work() -> None:
            try:
                with self._lock:
                    model = self._load()
                    prompt = react_prompt(getattr(model, "tool_hints", 0))
                    simulator = Simulator([api])
                    watched = WatchedCalls(calls_in_process(simulator)[0], simulator, tell=events.put)
                    backend = cast(agent.Backend, _WatchedBackend(model, events.put))
                    calls = {api.id: cast(agent.ApiCalls, watched)}
                    rollouts = agent.roll_out([task], backend, calls, limits=LIMITS, prompt=prompt)
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
                steps, own_states = event.trajectory.steps, iter(states)
                # Steps that reached no function, such as a question to the user, have left the state alone.
                own = {function.name for function in api.functions}
                states = [next(own_states, "") if step.action in own else "" for step in steps]
                return (yield _page(event.trajectory, states, event.ended, event.error), "")


def _writing(text: str) -> str:
    words = escape(visible(text.strip())) or "…"
    return f'<pre class="writing" aria-live="polite" aria-label="what the model is writing">{words}</pre>'


def _page(made: Trajectory, states: Sequence[str], ended: str, error: str = "") -> str:
    record = {"id": made.id, "index": "", "instruction": made.instruction, "ended": ended, "error": error}
    return instruction_page(record, made, states)
