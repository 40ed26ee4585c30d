"""Long jobs that are killed at random moments and started again: nothing is lost, nothing is made twice.

    make chaos                                                   # every job, 20 kills each
    python tests/chaos/run_chaos.py --kills 3 --only run annotate --seed 7 --json build/chaos/figures.json

A job is run once undisturbed. Then it is started over and over, and killed (`kill -9`) at a moment drawn from the
time that the undisturbed run took: half of the moments count from the start, half from the first trace of work. A kill
takes the whole tree of processes, or the command alone (what it started has to end by itself), or one process that it
started (the command has to end by itself, in a sentence). Where a round is through before it has had all its kills,
another one begins in an empty folder. After each kill and at the end it is asked: are the units that were finished
before still there, as they were; was one of them made or asked for again; is the result that of the undisturbed run?
The exit status is 1 where the answer is no.

`--faults` takes more than `kill`: `two` starts the command twice at once, `full` lets the disk run full, `readonly`
takes its permission to write away (both need root), `clock` lets the wall clock jump (needs a C compiler), `cut` cuts
each kind of file that the job leaves at every 7% of its length and runs the command again. Each has to end in the same
result, or in a sentence that leaves what is finished as it is.
"""

import argparse
import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

from chaos_jobs import ROOT
from chaos_more_jobs import JOBS
from chaos_runner import FAULTS, Chaos


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20, help="of each job")
    parser.add_argument("--only", nargs="+", choices=list(JOBS), help="these jobs")
    parser.add_argument("--faults", nargs="+", choices=FAULTS, default=["kill"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "chaos", help="folder to work in")
    parser.add_argument("--json", type=Path, help="write the figures there, too")
    options = parser.parse_args()
    outcomes = []
    head = f"{'job':<16}{'fault':<9}{'tried':>6}{'rounds':>8}{'units':>7}{'lost':>6}{'repeated':>10}"
    print(f"{head}  {'result':<9}{'s':>6}", flush=True)
    for name in options.only or JOBS:
        job = JOBS[name](options.out / "inputs" / name)
        for one in Chaos(job, options.out, options.kills, options.seed).run(options.faults):
            outcomes.append(one)
            equal = "differs" if one.unequal else "equal" if one.exact else "close"
            row = f"{name:<16}{one.fault:<9}{one.tried:>6}{one.rounds:>8}{one.units:>7}{len(one.lost):>6}"
            print(f"{row}{len(one.repeated):>10}  {equal:<9}{one.seconds:>6.0f}", flush=True)
            for kind in ("problems", "lost", "repeated", "unequal"):
                for words in getattr(one, kind)[:5]:
                    print(f"    {kind}: {words}", flush=True)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        figures = {"load": os.getloadavg()[0], "seed": options.seed, "jobs": [asdict(one) for one in outcomes]}
        options.json.write_text(json.dumps(figures, indent=1))
    return int(not all(one.passed for one in outcomes))


if __name__ == "__main__":
    sys.exit(main())
