"""
Scoring trajectories that exist: every metric and the verdict by rule, without a judge; goal: 1,000 in under 5 s.

```bash
python benchmarks/scoring.py --trajectories run.trajectories.json --apis eval_simulated.json
python benchmarks/scoring.py          # the embedded corpus' golden calls, played back
```
"""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from toolalpaca_hf.evaluation.aggregate import aggregate
from toolalpaca_hf.evaluation.attempt import Attempt
from toolalpaca_hf.evaluation.report import write_report
from toolalpaca_hf.evaluation.score import score
from toolalpaca_hf.evaluation.suite import read_suite
from toolalpaca_hf.evaluation.trajectories import read_trajectories
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
    parser.add_argument("--json", type=Path, help="write the figures here, too")
    args = parser.parse_args()
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
    print(f"{len(copies)} attempts ({len(whole)} recorded ones, again and again)\n")
    print("| stage | seconds | attempts/s |\n| --- | ---: | ---: |")
    for stage, taken in seconds.items():
        count = len(attempts) if stage == "read once" else len(copies)
        print(f"| {stage} | {taken:.2f} | {count / taken:,.0f} |")
    if args.json:
        args.json.write_text(json.dumps(seconds, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
