"""Requests per second, latency and memory of the simulator's schema responder, one worker, measured with wrk.

    python benchmarks/simulator_throughput.py --quick
    python benchmarks/simulator_throughput.py --apis eval_simulated.json --seconds 30 --requests 100000 --json out.json

Every operation of every API is asked in turn over keep-alive connections, `GET` and `POST` mixed, by rollouts with a
session each. Every request of the mix is tried once before, and must be answered with success; one for
an item that does not exist is left out. Memory is the resident set of the server's process, before and after.
"""

import argparse
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import httpx
from measured import resident, show, spread, table, write

from toolalpaca_hf.simulator import SESSION_HEADER, Directory, Generator, Rng, read_apis

SERVER = """
import sys
from toolalpaca_hf.simulator import SimulateConfig, serve
serve(SimulateConfig(sys.argv[1], port=int(sys.argv[2]), store=sys.argv[3] or None))
"""

SCRIPT = """
local mix = {
%s
}
local turn, rollout = 0, 0
request = function()
  turn = turn + 1
  if turn > #mix then turn = 1; rollout = rollout + 1 end
  local one = mix[turn]
  return wrk.format(one[1], one[2], {["%s"] = "r" .. rollout, ["content-type"] = "application/json"}, one[3])
end
done = function(summary, latency, requests)
  io.write(string.format("RESULT %%d %%d %%d %%d %%d %%d\\n", summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(99), latency.max,
    summary.errors.status + summary.errors.connect + summary.errors.read + summary.errors.write
      + summary.errors.timeout))
end
"""


def requests_of(apis: str) -> list[tuple[str, str, str]]:
    """Method, target and body of a request in order for each operation; those that delete are left out."""
    found = []
    for api in Directory(read_apis(apis)).apis:
        for operation in api.operations:
            if operation.method == "delete":
                continue  # a second one of the same session is rightly refused
            rng = Rng("benchmark", api.slug, operation.name)
            values = {
                parameter.name: Generator(parameter.schema)(rng.child(parameter.name), name=parameter.name)
                for parameter in operation.parameters
            }
            query = []
            path = operation.path
            for parameter in operation.parameters:
                value = values[parameter.name]
                if parameter.place == "path":
                    path = path.replace(f"{{{parameter.name}}}", quote(str(value), safe=""))
                elif parameter.place == "query" and not isinstance(value, dict):
                    query += [(parameter.name, part) for part in (value if isinstance(value, list) else [value])]
            declared = operation.declared.body
            body = "" if declared is None else json.dumps(Generator(declared.schema)(rng.child("body")))
            target = f"/{api.slug}/{path.lstrip('/')}" + (f"?{urlencode(query)}" if query else "")
            found.append((operation.method.upper(), target, body))
    return found


def wrk(url: str, script: Path, connections: int, seconds: int) -> dict[str, float]:
    """One run of wrk: requests, seconds, percentiles in milliseconds."""
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", "-s", str(script), url]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    numbers = re.search(r"RESULT (.*)", done.stdout)
    if numbers is None:
        raise SystemExit(f"wrk said nothing that can be read: {done.stdout}")
    requests, took, half, most, longest, errors = map(int, numbers[1].split())
    return {
        "requests": requests,
        "requests/s": requests / (took / 1e6),
        "p50 ms": half / 1000,
        "p99 ms": most / 1000,
        "max ms": longest / 1000,
        "errors": errors,
    }


def main() -> None:
    """Parse, start the server, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--apis", default="sample", help="file in the raw layout; the embedded corpus by default")
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--requests", type=int, default=0, help="go on until so many were answered, too, for memory")
    parser.add_argument("--store", action="store_true", help="record every answer")
    parser.add_argument("--repeats", type=int, default=5, help="runs of so many seconds")
    parser.add_argument("--quick", action="store_true", help="3 runs of 3 seconds")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    options = parser.parse_args()
    if options.quick:
        options.seconds, options.repeats = 3, 3
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is missing: apt-get install wrk, or brew install wrk")
    start = time.perf_counter()
    mix = requests_of(options.apis)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory() as folder:
        store = str(Path(folder) / "answers.sqlite") if options.store else ""
        command = [sys.executable, "-c", SERVER, options.apis, str(port), store]
        server = subprocess.Popen(command, stderr=subprocess.DEVNULL, env=os.environ)
        try:
            rows = measure(url, server.pid, mix, Path(folder), options)
        finally:
            server.terminate()
            server.wait(timeout=20)
    posts = sum(method != "GET" for method, _, _ in mix)
    memory = [rows[0]["MB before"], *(row["MB after"] for row in rows)]
    names = ("requests/s", "p50 ms", "p99 ms", "max ms")
    answered, errors = (int(sum(row[name] for row in rows)) for name in ("requests", "errors"))
    source = "the embedded corpus" if options.apis == "sample" else Path(options.apis).name
    found = table(
        f"{len(mix)} operations of {source} in turn",
        ["runs", "requests", *names, "errors", "MB before", "MB after"],
        [
            [
                len(rows),
                answered,
                *(spread([row[name] for row in rows]) for name in names),
                errors,
                memory[0],
                memory[-1],
            ]
        ],
        f"Schema responder, one worker, {options.connections} connections, {posts} of the operations not GET. "
        f"Median of runs of {options.seconds} s (lowest to highest).",
    )
    show([found])
    if options.json:
        write(options.json, time.perf_counter() - start, [found], runs=rows)


def measure(
    url: str, process: int, mix: list[tuple[str, str, str]], folder: Path, options: argparse.Namespace
) -> list[dict[str, Any]]:
    """Figures of each run; what cannot be asked leaves the mix."""
    for _ in range(300):
        try:
            httpx.get(f"{url}/health")
            break
        except httpx.ConnectError:
            time.sleep(0.1)
    tried = []
    for method, target, body in mix:
        reply = httpx.request(method, url + target, content=body, headers={"content-type": "application/json"})
        if reply.status_code == 404:
            continue  # an item that was drawn is rightly not among those of its collection
        if not reply.is_success:
            raise SystemExit(f"{method} {target} is refused: {reply.text}")
        tried.append((method, target, body))
    mix[:] = tried
    script = folder / "mix.lua"
    lines = ",\n".join("{" + ", ".join(json.dumps(part).replace("\\u", "\\\\u") for part in one) + "}" for one in mix)
    script.write_text(SCRIPT % (lines, SESSION_HEADER))
    wrk(url, script, options.connections, 2)
    rows: list[dict[str, Any]] = []
    while len(rows) < options.repeats or sum(row["requests"] for row in rows) < options.requests:
        before = resident(process)
        figures = wrk(url, script, options.connections, options.seconds)
        rows.append({**figures, "MB before": before, "MB after": resident(process)})
    return rows


if __name__ == "__main__":
    main()
