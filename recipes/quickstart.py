"""
The main job on embedded defaults, `make quickstart`: SmolLM2 before, training on the sample corpus, SmolLM2 after.

Measures the base model on four held-out APIs, runs `recipes/sft.py` with `recipes/quickstart/sft.yaml`, measures
again, prints one table and leaves a complete checkpoint with metrics.json, card and report in outputs/quickstart.
Killed and started again it goes on where it was.
"""

import hashlib
import json
import shutil
import subprocess
import sys
import time
import timeit
from pathlib import Path
from typing import Any

import torch
from trl import ModelConfig

from toolalpaca_hf import data, evaluation, training
from toolalpaca_hf.agent import RolloutConfig
from toolalpaca_hf.checkpoints import resolve_model, weights_of
from toolalpaca_hf.create import before_after
from toolalpaca_hf.errors import ToolAlpacaError, run_main
from toolalpaca_hf.formats import ReactPrompt, react_prompt
from toolalpaca_hf.inference import load_model
from toolalpaca_hf.storage import read_json, write_json

RECIPES = Path(__file__).resolve().parent
KEYS = ("well_formed", "first_function", "arguments", "perplexity")
# A turn of a trained model takes some 60 tokens, and three are enough here; an untrained one goes on until stopped.
ROLLOUTS = RolloutConfig(max_steps=3, max_new_tokens=128, max_tokens=200, max_unread=1, unreadable_after=48)
# Seconds of the whole run by seconds of one forward pass over 256 tokens, in the run that docs/results.md reports.
RUN_BY_PASS = 738.0
CARD = """
## On held-out APIs

{n} instructions for four APIs of the embedded sample corpus that share no function name with training; greedy first
calls. Base weights: {weights}. `overlap` picks the function that shares most words with the instruction, `BM25` the
one that the prompt names first. Only names of functions that exist are decoded as actions.

```text
{table}
```
"""


def measured(path: str, name: str, state: Path, prompt: ReactPrompt) -> None:
    """Roll out the held-out APIs' instructions and measure, unless an earlier, killed run did."""
    if (state / f"{name}.json").exists():
        return
    model, tokenizer = load_model(path, device="cpu")
    dtype = str(model.dtype).removeprefix("torch.")
    if name == "before":
        with torch.inference_mode():
            seconds = min(timeit.repeat(lambda: model(torch.arange(256)[None]), number=1, repeat=3))
        speed = f"{256 / seconds:,.0f} tokens/s: about {seconds * RUN_BY_PASS / 60:.0f} minutes in all"
        print(f"This machine computes in {dtype}, {speed}.", flush=True)
    references = data.read_corpus(data.resolve_sources("sample")).trajectories["eval_simulated"]
    metrics, records = evaluation.measure_rollouts(
        model, tokenizer, evaluation.read_suite("sample"), state / name, ROLLOUTS, prompt,
        references[::5],  # only for perplexity: every fifth saves time
    )  # fmt: skip
    evaluation.write_records(records, state / f"{name}.jsonl")
    write_json(state / f"{name}.json", metrics | {"dtype": dtype})


def train(out: Path, state: Path, fields: list[str]) -> None:
    """`recipes/sft.py` in a process of its own, unless an earlier run finished it."""
    if (state / "trained").exists():
        return
    (out / "metrics.json").unlink(missing_ok=True)
    command = [sys.executable, "-m", "accelerate.commands.launch"]
    command += ["--config_file", str(RECIPES / "accelerate_configs" / "cpu.yaml")]
    command += ["--num_cpu_threads_per_process", str(torch.get_num_threads()), str(RECIPES / "sft.py"), *fields]
    if subprocess.run(command, check=False).returncode:
        fix = "start again to go on from its last checkpoint"
        raise ToolAlpacaError("training failed, see above", file=out, fix=fix)
    shutil.copy(out / "metrics.json", state / "training.json")
    (state / "trained").touch()


def main() -> None:
    """Measure, train, measure, report."""
    recipe = str(RECIPES / "quickstart" / "sft.yaml")
    fields = ["--config", recipe, "--output_dir", "outputs/quickstart", *sys.argv[1:]]
    kinds = (training.SegmentScriptArguments, training.SegmentSFTConfig, ModelConfig)
    _, settings, _ = training.parse_fields(fields, *kinds)
    out, base, prompt = Path(settings.output_dir), resolve_model("smollm2"), react_prompt(settings.tool_hints)
    print(f"Base model: {weights_of(base)}")

    # What is kept between a kill and the next start belongs only to these settings and this data.
    files = [str(source.blob_id) for _, source in data.resolve_sources("sample").all()]
    key = json.dumps([Path(recipe).read_text(encoding="utf-8"), fields[2:], files, base])
    state = out / "quickstart" / hashlib.sha256(key.encode()).hexdigest()[:12]
    if (state / "done").exists():  # a finished run is not continued but made anew
        shutil.rmtree(state)
    state.mkdir(parents=True, exist_ok=True)
    phases = {
        "before_s": ("the forty instructions by the model as it is", lambda: measured(base, "before", state, prompt)),
        "train_s": ("training", lambda: train(out, state, fields)),
        "after_s": ("the same instructions by the trained model", lambda: measured(str(out), "after", state, prompt)),
    }
    seconds = read_json(state / "phases.json") if (state / "phases.json").exists() else {}
    for number, (name, (words, run)) in enumerate(phases.items(), 1):
        print(f"\n{number} of 3: {words}", flush=True)
        start = time.monotonic()
        try:
            run()
        finally:  # the time of a run that failed counts too
            seconds[name] = round(seconds.get(name, 0.0) + time.monotonic() - start, 1)
            write_json(state / "phases.json", seconds)

    sides = {name: read_json(state / f"{name}.json") for name in ("before", "after")}
    after, weights = sides["after"], weights_of(base)
    metrics: dict[str, Any] = {name: {key: side[key] for key in KEYS} for name, side in sides.items()}
    metrics |= {"baselines": {name: after[name] for name in ("chance", "word_overlap", "bm25")}}
    table = before_after(metrics | sides)
    metrics |= {"rollout": {name: side["rollout"] for name, side in sides.items()}}
    metrics |= {"n": after["n"], "weights": weights, "dtype": after["dtype"], "phases": seconds}
    metrics |= {"training": read_json(state / "training.json"), "wall_s": round(sum(seconds.values()), 1)}
    write_json(out / "metrics.json", metrics, indent=2)
    card = (out / "README.md").read_text(encoding="utf-8").partition(CARD[:20])[0]
    section = CARD.format(n=after["n"], weights=weights, table=table)
    (out / "README.md").write_text(card + section, encoding="utf-8")
    for checkpoint in out.glob("checkpoint-*"):  # the folder itself is the checkpoint now
        shutil.rmtree(checkpoint)
    for place in (state / "before.jsonl", state / "after.jsonl", state / "after" / "report.html"):
        shutil.copy(place, out / place.name)
    (state / "done").touch()
    print(f"\n{after['n']} instructions for four APIs that training has not seen\n\n{table}\n")
    left = f"Checkpoint, metrics.json and card are in {out}; report.html there shows every rollout"
    print(f"{metrics['wall_s'] / 60:.1f} minutes. {left}, before.jsonl and after.jsonl every first call.")


if __name__ == "__main__":
    run_main(main)
