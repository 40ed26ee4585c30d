"""Steps a second of environments in process, on one core, with and without their reward, and memory over episodes.

    python benchmarks/environments.py
    python benchmarks/environments.py --episodes 100000 --json out.json
    python benchmarks/environments.py --profile

An episode is a reset, the golden calls of an instruction as a model writes them, and the reward if it is asked for;
episodes go through all instructions of the embedded corpus in turn. Seconds are processor time of this process, which
other work on the machine lengthens less than it does wall time. Memory is the resident set.
"""

import argparse
import cProfile
import json
import pstats
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from measured import resident, show, spread, table, write

from toolalpaca_hf.environments import OpenApiEnvironment, openapi_environments
from toolalpaca_hf.metrics import calls as metrics_calls
from toolalpaca_hf.openapi import client

SPLITS = ("train", "eval_simulated")


class Player:
    """Plays episodes of all instructions in turn."""

    def __init__(self, faults: str | None) -> None:
        kinds = [kind for split in SPLITS for kind in openapi_environments("sample", split, faults=faults).values()]
        self.plays: list[tuple[OpenApiEnvironment, str, list[tuple[Any, dict[str, Any]]]]] = []
        for kind in kinds:
            environment = kind()
            members = {name: getattr(environment, name) for name in dir(kind) if name.startswith("tool_")}
            tools = {method.__name__: method for method in members.values()}
            for id, task in kind.tasks.items():
                calls = [(tools[call.action], json.loads(call.action_input)) for call in task.golden_calls]
                self.plays.append((environment, id, calls))
        self.turns = self._turns()

    def _turns(self) -> Iterator[tuple[OpenApiEnvironment, str, list[tuple[Any, dict[str, Any]]]]]:
        while True:
            yield from self.plays

    def episode(self, reward: bool, first: bool = False) -> int:
        """Play one, `first` as if no call had been made before; returns its steps."""
        environment, id, calls = next(self.turns)
        if first:
            environment._simulator.responder._kept.clear()
            client._short_text.cache_clear()
            metrics_calls.request_or_refusal.cache_clear()
        environment.reset(id=id)
        for tool, arguments in calls:
            tool(**arguments)
        if reward:
            environment.get_reward()
        return len(calls)

    def rate(self, reward: bool, seconds: float, first: bool = False) -> float:
        """Steps in a second of processor time."""
        steps, start = 0, time.process_time()
        while (spent := time.process_time() - start) < seconds:
            # The clock is a system call, which some machines answer in milliseconds.
            steps += sum(self.episode(reward, first) for _ in range(100))
        return steps / spent


def main() -> None:
    """Parse, play, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=3.0, help="of a run")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each kind")
    parser.add_argument("--episodes", type=int, default=2000, help="episodes with rewards, for memory")
    parser.add_argument("--faults", help="let the simulator fail: a rate, or a file")
    parser.add_argument("--profile", action="store_true", help="print where the time of one run goes instead")
    parser.add_argument("--quick", action="store_true", help="3 runs of 1 second")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    options = parser.parse_args()
    if options.quick:
        options.seconds, options.repeats = 1.0, 3
    began = time.perf_counter()
    player = Player(options.faults)
    for _ in player.plays:  # what is made once is made before anything is measured
        player.episode(True)
    if options.profile:
        for reward in (False, True):
            profile = cProfile.Profile()
            profile.runcall(player.rate, reward, options.seconds)
            pstats.Stats(profile).sort_stats("tottime").print_stats(45)
        return
    ways = {"steps": (False, False), "with reward": (True, False), "first calls": (False, True)}
    ways["first calls with reward"] = (True, True)
    rates = {
        name: [player.rate(reward, options.seconds, first) for _ in range(options.repeats)]
        for name, (reward, first) in ways.items()
    }
    memory, every = [resident()], max(1, options.episodes // 10)
    for number in range(options.episodes):
        player.episode(True)
        if (number + 1) % every == 0:
            memory.append(resident())
    tables = [
        table(
            f"{len(player.plays)} instructions of {len({id(play[0]) for play in player.plays})} embedded APIs in turn",
            ["", "steps/s of processor time", "runs"],
            [[name, spread(values), options.repeats] for name, values in rates.items()],
            f"One core; median of runs of {options.seconds:g} s (lowest to highest). Every call has been made in an "
            "earlier episode, as the rollouts of a group repeat each other's; `first calls` forgets requests and "
            "answers before each episode.",
        ),
        table(
            "Memory over episodes with rewards",
            ["episodes", "MB before", "MB after a tenth", "MB after all", "MB at most"],
            [[options.episodes, memory[0], memory[min(1, len(memory) - 1)], memory[-1], max(memory)]],
        ),
    ]
    show(tables)
    if options.json:
        write(
            options.json,
            time.perf_counter() - began,
            tables,
            rates=rates,
            memory=memory,
        )


if __name__ == "__main__":
    main()
