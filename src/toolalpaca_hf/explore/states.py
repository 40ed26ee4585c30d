"""What exists in a simulated API's session after each call, and what the call changed there."""

import json
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

from ..agent import ApiCalls, RolloutLimits, ScriptedUser, Task, Toolbox
from ..data import read_file
from ..environments import calls_in_process
from ..evaluation import run_note
from ..openapi import mapping
from ..schema import Step, Trajectory
from ..simulator import Entities, Simulator

IDS = 12  # how many ids of a collection are shown

OPERATIONS = 100  # collections of larger documents are shown when a call has touched them: each would be read
REPLAYED = ("responder", "faults", "seed", "limits")  # the settings of a run by which its calls are made again


Records = Mapping[tuple[str, str], dict[str, Any] | None]


class WatchedCalls:
    """Calls of one API against a simulator in this process (with its `seed`) that note the state of their session.

    `tell` gets each call with its observation and, as its `log`, the state.
    """

    def __init__(
        self, calls: ApiCalls, simulator: Simulator, seed: int = 0, tell: Callable[[Step], None] | None = None
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
                changed = {name: value for name, value in fields.items() if (old or {}).get(name, self) != value}
                # Without the id, which is named already.
                told = {name: value for name, value in changed.items() if str(value) != item}
                what = f"{'new' if old is None else 'changed'} {collection} {item}"
                lines.append(f"{what}: {json.dumps(told, ensure_ascii=False)}")
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
            seed, self._limits = settings["seed"], RolloutLimits(**settings["limits"])
            simulator = Simulator(corpus.apis[split], seed=seed)
            for calls in calls_in_process(simulator):
                # Without the split, which depends on what else the file holds.
                self._calls[calls.api.id.partition("/")[2]] = WatchedCalls(calls, simulator, seed)

    def states(self, trajectory: Trajectory) -> list[str]:
        """The state after each step; empty where it is not known, as from a call on that is answered otherwise now."""
        calls = self._calls.get(trajectory.api.partition("/")[2])
        if calls is None:
            return []
        task = Task(trajectory.id, calls.api, trajectory.instruction, trajectory.hint)
        toolbox = Toolbox(task, cast(ApiCalls, calls), ScriptedUser(), self._limits, uuid4().hex)
        found = []
        for step in trajectory.steps:
            if step.action not in calls.names:
                found.append("")
            elif toolbox.call(step.action, step.action_input) == step.observation:
                found.append(calls.state)
            else:
                break
        return found
