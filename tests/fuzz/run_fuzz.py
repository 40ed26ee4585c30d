"""Mutated real files and random values against each parser: no foreign exception, no hang, little memory.

    make fuzz                                                   # 10,000 cases for each parser
    python tests/fuzz/run_fuzz.py --cases 500 --only openapi http --seconds 60
    python tests/fuzz/run_fuzz.py --case build/fuzz/openapi-1.bin --only openapi

A parser runs in a process of its own, whose peak memory is told with the libraries it loads. A case that fails is
kept in `build/fuzz`, the shortest of each kind; the exit status says whether there is one.
"""

import argparse
import faulthandler
import json
import os
import resource
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent)]

LONGEST = 5.0
"""Seconds of processor time for a case."""
OUT = HERE.parents[1] / "build" / "fuzz"


class TooLong(BaseException):
    """A case that takes longer; no parser catches it."""


def attempt(parse: Any, case: bytes) -> tuple[str, float]:
    """What is wrong, if anything, and the seconds of processor time that it took."""
    from toolalpaca_hf.errors import ToolAlpacaError

    def stop(*_: Any) -> None:
        raise TooLong

    faulthandler.dump_traceback_later(120, exit=True)  # what waits, or hangs where no signal is handled
    signal.signal(signal.SIGPROF, stop)
    start, problem = time.process_time(), ""
    signal.setitimer(signal.ITIMER_PROF, LONGEST)
    try:
        parse(case)
    except ToolAlpacaError:
        pass
    except (Exception, TooLong) as error:
        ours = [frame for frame in traceback.extract_tb(error.__traceback__) if "toolalpaca_hf" in frame.filename]
        place = f"{Path(ours[-1].filename).name}:{ours[-1].lineno} {ours[-1].name}" if ours else "outside"
        problem = f"{type(error).__name__} in {place}"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        faulthandler.cancel_dump_traceback_later()
    return problem, time.process_time() - start


def fuzz(name: str, count: int, seed: int, seconds: float) -> dict[str, Any]:
    """Try the extremes and so many random cases; the shortest case of each problem."""
    import hypothesis
    from fuzz_cases import cases, extremes
    from fuzz_parsers import PARSERS

    parser, found, times = PARSERS[name], {}, []
    seeds, until, last = parser.seeds(), time.monotonic() + seconds, OUT / f"{name}-last.bin"
    OUT.mkdir(parents=True, exist_ok=True)
    faulthandler.enable()

    def check(case: bytes) -> None:
        if time.monotonic() > until:
            return
        last.write_bytes(case)
        problem, took = attempt(parser.parse, case)
        times.append(took)
        if problem and len(case) < len(found.get(problem, case + b"x")):
            found[problem] = case

    attempt(parser.parse, seeds[0])  # what is imported for the first one is no case's time
    for case in (*seeds, *extremes(seeds[0])):
        check(case)
    settings = hypothesis.settings(
        max_examples=max(1, count - len(times)),
        deadline=None,
        database=None,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    hypothesis.seed(seed)(settings(hypothesis.given(cases(seeds))(check)))()
    for number, case in enumerate(found.values(), 1):
        (OUT / f"{name}-{number}.bin").write_bytes(case)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"parser": name, "cases": len(times), "problems": list(found), "longest": max(times), "MB": memory}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=10_000, help="for each parser")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="for each parser, at most")
    parser.add_argument("--only", nargs="*", help="names of parsers")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--case", type=Path, help="this one only, with the traceback")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    os.environ.setdefault("TOOLALPACA_CACHE", "")
    from fuzz_parsers import PARSERS

    names = options.only or list(PARSERS)
    if options.case:
        PARSERS[names[0]].parse(options.case.read_bytes())
        return 0
    if options.here:
        print(json.dumps(fuzz(names[0], options.cases, options.seed, options.seconds)))
        return 0
    failed = False
    print(f"{'parser':<12}{'cases':>8}{'longest s':>11}{'peak MB':>9}  problems", flush=True)
    for name in names:
        command = [sys.executable, __file__, "--here", "--only", name, "--cases", str(options.cases)]
        command += ["--seed", str(options.seed), "--seconds", str(options.seconds)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            problem = f"ended with {done.returncode} at build/fuzz/{name}-last.bin: {done.stderr[-2000:]}"
            row = {"parser": name, "cases": 0, "longest": 0.0, "MB": 0.0, "problems": [problem]}
        else:
            row = json.loads(done.stdout.splitlines()[-1])
        failed |= bool(row["problems"]) or row["MB"] > 1000
        print(
            f"{name:<12}{row['cases']:>8}{row['longest']:>11.2f}{row['MB']:>9.0f}  {len(row['problems'])}", flush=True
        )
        for number, problem in enumerate(row["problems"], 1):
            print(f"    {problem} (build/fuzz/{name}-{number}.bin)", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
