"""
The main job on embedded defaults: SmolLM2 before, training on the sample corpus, SmolLM2 after.

```bash
make quickstart
```

Measures the base model on four held-out APIs, runs `recipes/sft.py` with `recipes/quickstart/sft.yaml`, measures again,
prints one table and leaves a complete checkpoint with metrics.json and card in outputs/quickstart. Killed and started
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

from toolalpaca_hf.agent.models import load_model
from toolalpaca_hf.checkpoints import resolve_model, weights_of
from toolalpaca_hf.data import read_corpus, resolve_sources
from toolalpaca_hf.errors import ToolAlpacaError
from toolalpaca_hf.evaluation.measure import as_table, measure, write_records

RECIPES = Path(__file__).resolve().parent
KEYS = ("well_formed", "first_function", "arguments", "perplexity")


def measured(model_path: str, name: str, state: Path) -> dict[str, float]:
    """Measure a model on the held-out APIs, or read what an earlier, killed run measured."""
    path = state / f"{name}.json"
    if path.exists():
        return json.loads(path.read_text(encoding="utf-8"))
    corpus = read_corpus(resolve_sources("sample"))
    split = "eval_simulated"
    model, tokenizer = load_model(model_path, device="cpu")
    metrics, records = measure(
        model, tokenizer, corpus.apis[split], corpus.instructions[split], corpus.trajectories[split]
    )
    write_records(records, state / f"{name}.jsonl")
    part = path.with_suffix(".part")
    part.write_text(json.dumps(metrics), encoding="utf-8")
    os.replace(part, path)
    return metrics


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
    (state / "done").touch()

    print(f"\n{after['n']} instructions for four APIs that training has not seen\n\n{table}\n")
    print(
        f"{seconds / 60:.1f} minutes. Checkpoint, metrics.json and card are in {out}; before.jsonl and after.jsonl "
        "there show every answer."
    )


if __name__ == "__main__":
    try:
        main()
    except ToolAlpacaError as error:
        sys.exit(f"error: {error}")
