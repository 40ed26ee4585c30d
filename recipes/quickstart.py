"""
The main job on embedded defaults: SmolLM2 before, training on the sample corpus, SmolLM2 after.

```bash
make quickstart
```

Measures the base model on four held-out APIs (first calls, and whole rollouts against the simulator), runs
`recipes/sft.py` with `recipes/quickstart/sft.yaml`, measures again, prints one table and leaves a complete checkpoint with metrics.json and card in outputs/quickstart. Killed and started
again it goes on where it was.
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from toolalpaca_hf.agent import RolloutLimits
from toolalpaca_hf.agent.local import LocalBackend
from toolalpaca_hf.agent.models import load_model
from toolalpaca_hf.checkpoints import resolve_model, weights_of
from toolalpaca_hf.data import read_corpus, resolve_sources
from toolalpaca_hf.errors import ToolAlpacaError
from toolalpaca_hf.evaluation.evaluate import evaluate_model
from toolalpaca_hf.evaluation.first_call import first_turn_text
from toolalpaca_hf.evaluation.measure import as_table, measure, write_records
from toolalpaca_hf.evaluation.suite import read_suite
from toolalpaca_hf.evaluation.trajectories import read_trajectories

RECIPES = Path(__file__).resolve().parent
KEYS = ("well_formed", "first_function", "arguments", "perplexity")


# A turn of a trained model takes some 60 tokens, and three are enough here; an untrained one goes on until it is stopped.
LIMITS = RolloutLimits(steps=3, turn_tokens=128, tokens=200, unread=1)


def measured(model_path: str, name: str, state: Path) -> dict[str, Any]:
    """Roll out the held-out APIs' instructions and measure, or read what an earlier, killed run measured."""
    path = state / f"{name}.json"
    if path.exists():
        return json.loads(path.read_text(encoding="utf-8"))
    corpus = read_corpus(resolve_sources("sample"))
    split = "eval_simulated"
    model, tokenizer = load_model(model_path, device="cpu")
    suite = read_suite("sample")
    # Ten instructions an API: a batch of one API shares its documentation, and attention sees no other's.
    backend = LocalBackend(model, tokenizer, batch_size=10, name=name)
    rollout = evaluate_model(suite, backend, state / name, limits=LIMITS)
    attempts, _ = read_trajectories(state / name / "rollouts", suite)
    turns = {one.instruction.id: first_turn_text(one.trajectory) for one in attempts if one.trajectory}
    metrics, records = measure(
        model, tokenizer, corpus.apis[split], corpus.instructions[split], corpus.trajectories[split], turns=turns
    )
    write_records(records, state / f"{name}.jsonl")
    kept = {key: rollout[key] for key in ("n", "failed", "calls", "process_verdict")}
    part = path.with_suffix(".part")
    part.write_text(json.dumps(metrics | {"rollout": kept}), encoding="utf-8")
    os.replace(part, path)
    return metrics | {"rollout": kept}


def rollout_table(before: dict[str, Any], after: dict[str, Any]) -> str:
    """The rates of whole rollouts that say most, before and after."""
    names = {
        "all_functions": "all golden functions called",
        "arguments": "all golden calls made",
        "process_verdict": "process right, by rule",
    }
    lines = []
    for name, words in names.items():
        cells = []
        for column in (before, after):
            rate = (column["rollout"]["calls"] | column["rollout"])[name]
            cells.append(f"{rate['value']:.1%} ({rate['low']:.1%} to {rate['high']:.1%})")
        lines.append(f"{words:<28}{cells[0]:>24}{cells[1]:>26}")
    return "\n".join(lines)


def main() -> None:
    """Measure, train, measure, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output_dir", type=Path, default=Path("outputs/quickstart"))
    parser.add_argument("--config", type=Path, default=RECIPES / "quickstart" / "sft.yaml")
    args, overrides = parser.parse_known_args()
    start = time.time()
    out: Path = args.output_dir
    base = resolve_model("smollm2")
    print(f"Base model: {weights_of(base)}")

    # What is kept between a kill and the next start belongs to these settings and this data alone.
    corpus_files = [str(source.blob_id) for _, source in resolve_sources("sample").all()]
    key = json.dumps([args.config.read_text(encoding="utf-8"), overrides, corpus_files, base])
    state = out / "quickstart" / hashlib.sha256(key.encode()).hexdigest()[:12]
    if (state / "done").exists():  # a finished run is not continued but made anew
        shutil.rmtree(state)
    state.mkdir(parents=True, exist_ok=True)
    clock = state / "seconds"
    earlier = float(clock.read_text()) if clock.exists() else 0.0

    before = measured(base, "before", state)
    clock.write_text(str(earlier + time.time() - start))
    if not (state / "trained").exists():
        (out / "metrics.json").unlink(missing_ok=True)
        command = [sys.executable, "-m", "accelerate.commands.launch"]
        command += ["--config_file", str(RECIPES / "accelerate_configs" / "cpu.yaml"), str(RECIPES / "sft.py")]
        command += ["--config", str(args.config), "--output_dir", str(out), *overrides]
        if subprocess.run(command, check=False).returncode:
            raise ToolAlpacaError(
                f"training failed; see above. Start again to go on from the last checkpoint in {out}"
            )
        shutil.copy(out / "metrics.json", state / "training.json")
        (state / "trained").touch()
    clock.write_text(str(earlier + time.time() - start))
    after = measured(str(out), "after", state)

    seconds = earlier + time.time() - start
    training = json.loads((state / "training.json").read_text(encoding="utf-8"))
    metrics = {
        "before": {name: before[name] for name in KEYS},
        "after": {name: after[name] for name in KEYS},
        "baselines": {name: after[name] for name in ("chance", "word_overlap")},
        "rollout": {"before": before["rollout"], "after": after["rollout"]},
        "n": after["n"],
        "weights": weights_of(base),
        "training": training,
        "wall_s": round(seconds, 1),
    }
    part = out / "metrics.json.part"
    part.write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
    os.replace(part, out / "metrics.json")
    baseline = [{"first_function": after[name]} for name in ("chance", "word_overlap")]
    table = as_table({"chance": baseline[0], "overlap": baseline[1], "before": before, "after": after})
    table += f"\n\nwhole rollouts against the simulator, with 95% intervals\n{rollout_table(before, after)}"
    card = (out / "README.md").read_text(encoding="utf-8")
    if "## On held-out APIs" not in card:
        words = (
            f"\n## On held-out APIs\n\n{after['n']} instructions for four APIs of the embedded sample corpus that share no "
            f"function name with training; greedy first calls. Base weights: {weights_of(base)}. `overlap` picks the "
            f"function that shares most words with the instruction.\n\n```text\n{table}\n```\n"
        )
        (out / "README.md").write_text(card + words, encoding="utf-8")
    # The folder itself is the checkpoint now; those of training hold the optimizer and twice the weights.
    for checkpoint in out.glob("checkpoint-*"):
        shutil.rmtree(checkpoint)
    for name in ("before.jsonl", "after.jsonl"):
        shutil.copy(state / name, out / name)
    shutil.copy(state / "after" / "report.html", out / "report.html")
    (state / "done").touch()

    print(f"\n{after['n']} instructions for four APIs that training has not seen\n\n{table}\n")
    print(
        f"{seconds / 60:.1f} minutes. Checkpoint, metrics.json and card are in {out}; report.html there shows every "
        "rollout, before.jsonl and after.jsonl every first call."
    )


if __name__ == "__main__":
    try:
        main()
    except ToolAlpacaError as error:
        sys.exit(f"error: {error}")
