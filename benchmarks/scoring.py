"""
Scoring trajectories that exist: every metric and the verdict by rule, without a judge; goal: 1,000 in under 5 s.

```bash
python benchmarks/scoring.py --trajectories run.trajectories.json --apis eval_simulated.json
python benchmarks/scoring.py --quick          # the embedded corpus' golden calls, played back
```
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from measured import show, spread, table, write

from toolalpaca_hf.evaluation import Attempt, aggregate, read_suite, read_trajectories, score
from toolalpaca_hf.evaluation.report import write_report
from toolalpaca_hf.schema import Step, Trajectory


def played_back() -> list[Attempt]:
    """The embedded corpus' golden calls as trajectories."""
    suite = read_suite("sample")
    apis = {api.id: api for api in suite.apis}
    attempts = []
    for one in suite.instructions:
        steps = [
            Step("", call.action, call.action_input, "Status Code: 200. Response: {}") for call in one.golden_calls
        ]
        trajectory = Trajectory(one.id, one.api, one.instruction, "", steps, "", "Done.")
        attempts.append(Attempt(apis[one.api], int(one.id.rpartition("/")[2]), one, trajectory))
    return attempts


def main() -> None:
    """Time each stage over so many attempts, which are copies of those that were read."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trajectories", type=Path)
    parser.add_argument("--apis", type=Path)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="3 rounds")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    args = parser.parse_args()
    if args.quick:
        args.repeats = 3
    start = time.perf_counter()
    rounds = [once(args) for _ in range(args.repeats)]
    stages = {stage: [taken[stage] for taken, _, _ in rounds] for stage in rounds[0][0]}
    _, recorded, read = rounds[0]
    rows = []
    for stage, seconds in stages.items():
        count = read if stage == "read once" else args.count
        rows.append([stage, spread(seconds), spread([count / one for one in seconds])])
    found = table(
        f"{args.count:,} attempts: {recorded} {'recorded' if args.trajectories else 'golden'} ones, over and over",
        ["stage", "seconds", "attempts/s"],
        rows,
        f"Median of {args.repeats} rounds (lowest to highest). {read} attempts are read.",
    )
    show([found])
    if args.json:
        write(args.json, time.perf_counter() - start, [found], stages=stages)


def once(args: argparse.Namespace) -> tuple[dict[str, float], int, int]:
    """Seconds of each stage, how many attempts were whole, how many were read."""
    began = time.perf_counter()
    attempts = read_trajectories(args.trajectories, read_suite(args.apis))[0] if args.trajectories else played_back()
    seconds = {"read once": time.perf_counter() - began}
    whole = [attempt for attempt in attempts if not attempt.failed]
    copies = [whole[i % len(whole)] for i in range(args.count)]
    copies = [
        replace(one, instruction=replace(one.instruction, id=f"{one.instruction.id}-{i // len(whole)}"))
        for i, one in enumerate(copies)
    ]
    began = time.perf_counter()
    records = score(copies)
    seconds["score"] = time.perf_counter() - began
    began = time.perf_counter()
    metrics = aggregate(records, "benchmark", "recorded")
    seconds["rates and intervals"] = time.perf_counter() - began
    began = time.perf_counter()
    with TemporaryDirectory() as folder:
        write_report(Path(folder), metrics, records, copies)
    seconds["report"] = time.perf_counter() - began
    seconds["all but reading"] = sum(seconds.values()) - seconds["read once"]
    return seconds, len(whole), len(attempts)


if __name__ == "__main__":
    main()
