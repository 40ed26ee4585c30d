"""Long runs by proxy: memory, open files and the time to go on after a kill, at sizes that a day of work reaches.

    python benchmarks/long_runs.py                              # 200,000 rollouts, 50,000 annotated texts
    python benchmarks/long_runs.py --rollouts 20000 --texts 2000 --json out.json

Rollouts are those of a scripted model, which answers at once, over an API of ten functions in this process; every
result is written to disk (fsync) as in any run. Texts are annotated with a model that answers at once as well, a call
a text, which is executed, cached and kept: what is measured is what stands around a model. Memory is the resident set,
sampled at each tenth, beside the open files. Each is done in a process that is killed at nine tenths; the time to go
on is that from the start of Python to the first new row.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from measured import resident, show, table, write

ROLLOUTS = r"""
import json, sys
from dataclasses import dataclass, field
from toolalpaca_hf.agent import Completion, run
from toolalpaca_hf.formats import parse_turn

class Model:
    continuous, width, style, name, tool_hints = True, 64, "react", "scripted", 0
    def __init__(self): self.started = []
    def check(self): pass
    def start(self, context, max_new_tokens, unreadable_after=None): self.started.append(context)
    def step(self):
        started, self.started = self.started, []
        return [(context, self.written(context)) for context in started]
    def written(self, context):
        turn = sum(segment.trainable for segment in context.segments)
        text = ' I look.\nAction: findTide\nAction Input: {"port": "Brest"}' if turn == 0 else " So.\nResponse: High."
        return Completion(text, parse_turn(text), 9, False)
    def forget(self, context): pass
    def reseed(self, seed): pass
    def describe(self): return {"model": self.name, "style": self.style}

print("ready", flush=True)
run(sys.argv[1], Model(), sys.argv[2], progress=False)
"""

TEXTS = r"""
import sys
from toolalpaca_hf.toolformer.annotation import pipeline
from toolalpaca_hf.toolformer import AnnotationConfig, AnnotationSettings, ResultCache, ToolSettings, annotate
from toolalpaca_hf.toolformer.annotation.annotator import Annotator, Opened, Place

class Scorer:
    begin = [0]
    def encode(self, text): return list(text.encode())
    def decode(self, ids): return bytes(ids).decode("utf-8", "replace")
    def logprobs(self, asked):
        # A call with its result helps, one without does not.
        return [[-0.1 if b"->" in bytes(ids) else -2.0 for _ in columns] for ids, columns in asked]

class Sampler:
    def open(self, prompt, texts):
        yield {n: Opened([Place(7, 0.5, 0)], 0, [], ids) for n, ids in enumerate(texts)}

    def draw(self, prompt, tool, wanted, m):
        for _, opened, places in wanted:
            words = bytes(opened.ids).decode().split()
            for place in places:
                place.drawn = [f"[Calculator({words[2]} + {words[5]})]"]

def load(config, tools, rank):
    execute = pipeline.executor_of(tools, ResultCache(config.out + "/results.sqlite"), config)
    return Annotator(Scorer(), Sampler(), dict.fromkeys(tools, "{text}"), execute, config.markers, config.settings)

pipeline.load_annotator, pipeline.load_tokenizer = load, lambda *_: None
print("ready", flush=True)
settings = AnnotationSettings({"Calculator": ToolSettings(0.0, 4, 3, 0.0)})
annotate(AnnotationConfig(sys.argv[1], sys.argv[2], "none", ("calculator",), settings, threads=1, progress=False))
"""


def raw(folder: Path, count: int) -> Path:
    """A file of one API with so many instructions."""
    paths = {}
    for n, name in enumerate(("findTide", *(f"otherThing{n}" for n in range(9)))):
        place = {"name": "port", "in": "query", "required": True, "schema": {"type": "string"}}
        schema = {"type": "object", "properties": {"tide": {"type": "string"}}}
        done = {"200": {"description": "Done.", "content": {"application/json": {"schema": schema}}}}
        paths[f"/p{n}"] = {"get": {"operationId": name, "summary": name, "parameters": [place], "responses": done}}
    document = {"openapi": "3.0.0", "info": {"title": "Tides", "version": "1"}, "paths": paths}
    names = [item["get"]["operationId"] for item in paths.values()]
    api = {"Name": "Tides", "Description": "When the sea comes", "Link": "", "Category": "Sea", "Introduction": ""}
    api |= {"Functions": ", ".join(names), "Documentation": json.dumps(document), "NLDocumentation": ""}
    api |= {"Function_Description": {name: name for name in names} | {"components": ""}}
    api |= {"Function_Projection": {name: [f"/p{n}", "get"] for n, name in enumerate(names)}}
    api["Instructions"] = [f"When is high tide number {n} in Brest?" for n in range(count)]
    api["Golden_Answers"] = [[{"Action": "findTide", "Action_Input": '{"port": "Brest"}'}]] * count
    path = folder / "tides.json"
    path.write_text(json.dumps([api]))
    return path


def texts(folder: Path, count: int) -> Path:
    path = folder / "texts.jsonl"
    with path.open("w") as file:
        for n in range(count):
            file.write(
                json.dumps({"text": f"It has {n} birds and {n + 1} dogs, so there are {2 * n + 1} animals."}) + "\n"
            )
    return path


def lines_of(path: Path, seen: list[int]) -> int:
    """How many lines a growing file has; `seen` keeps how far it was read, and how many there were."""
    if path.is_file():
        with path.open("rb") as file:
            file.seek(seen[0])
            while piece := file.read(2**22):
                seen[0], seen[1] = seen[0] + len(piece), seen[1] + piece.count(b"\n")
    return seen[1]


def look(process: int) -> tuple[float, int]:
    """Resident megabytes and open files."""
    return resident(process), len(os.listdir(f"/proc/{process}/fd"))


def measure(name: str, code: str, source: Path, out: Path, log: Path, count: int) -> list[Any]:
    """A run that is killed at nine tenths and goes on: its row of the table."""
    command, seen, samples = [sys.executable, "-c", code, str(source), str(out)], [0, 0], []
    errors = out.parent / f"{name}.log"
    start = time.monotonic()
    with errors.open("wb") as said:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=said)
        while (done := lines_of(log, seen)) < count * 9 // 10:
            if process.poll() is not None:
                raise SystemExit(f"{name} ends with {process.returncode}: {errors.read_text()[-2000:]}")
            if done >= count * (len(samples) + 1) // 10:
                samples.append(look(process.pid))
            time.sleep(0.2)
        samples.append(look(process.pid))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        took, before = time.monotonic() - start, log.read_bytes().count(b"\n")
        again = time.monotonic()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=said)
        while lines_of(log, [0, 0]) <= before and process.poll() is None:
            time.sleep(0.02)
        resumed = time.monotonic() - again
        status = process.wait()
    rows = [json.loads(line)["id"] for line in log.read_bytes().splitlines()]
    if status or len(rows) != count or len(set(rows)) != count:
        raise SystemExit(f"{name}: status {status}, {len(rows)} rows, {len(set(rows))} of them different")
    memory, handles = zip(*samples, strict=True)
    rate = before / took
    return [name, count, memory[0], memory[len(memory) // 2], memory[-1], handles[0], handles[-1], rate, resumed]


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rollouts", type=int, default=200_000)
    parser.add_argument("--texts", type=int, default=50_000)
    parser.add_argument("--quick", action="store_true", help="2,000 of each")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    options = parser.parse_args()
    if options.quick:
        options.rollouts = options.texts = 2000
    start, rows = time.perf_counter(), []
    columns = ["what", "count", "MB at 10%", "at 50%", "at 90%", "files at 10%", "at 90%", "a second", "s to go on"]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        if options.rollouts:
            out = folder / "run"
            source = raw(folder, options.rollouts)
            rows.append(measure("rollouts", ROLLOUTS, source, out, out / "rollouts.jsonl", options.rollouts))
        if options.texts:
            out = folder / "annotated"
            source = texts(folder, options.texts)
            rows.append(measure("texts", TEXTS, source, out, out / "annotated-00000.jsonl", options.texts))
    found = table("Long runs", columns, rows, f"Load average {os.getloadavg()[0]:.1f}.")
    show([found])
    if options.json:
        write(options.json, time.perf_counter() - start, [found])


if __name__ == "__main__":
    main()
