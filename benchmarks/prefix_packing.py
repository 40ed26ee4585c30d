"""Common beginnings once, beside padding to 2048, TRL's padding and TRL's packing, on the same rows in one run.

    python benchmarks/prefix_packing.py --quick --json out.json
    python benchmarks/prefix_packing.py --toolalpaca ../shared/data/toolalpaca --json out.json --plot growth.png

Rows: the 100 instructions of eval_simulated, their golden calls executed on the schema simulator (ten an API); the embedded
corpus; and train_sample, of which little is shared. The first and the last are left out where --toolalpaca has no such files.
Every contestant trains on the same rows from the same weights, in bf16 autocast, in a process of its own, in turn; the clock
covers forward and backward passes. `bound` is tokens one by one over tokens computed. `growth` repeats that for branches of
random tokens over prefixes of several lengths.
"""

import argparse
import importlib.metadata
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from prefix_packing_rows import DATA, eval_simulated, sample, synthetic, train_sample
from segments_to_labels import load_tokenizer
from training_throughput import SMOLLM2, Counting, CountingCompletions, make_model
from transformers import PreTrainedTokenizerBase
from transformers.utils import logging
from trl import SFTConfig

from toolalpaca_hf.training import IGNORE, CompletionOnlyCollator, PrefixCollator, SegmentTokenizer, share_prefixes
from toolalpaca_hf.training.prefixes import plant

WAYS = ("padding to 2048", "TRL padding", "TRL packing", "prefix packing")


def contest(
    way: str, rows: Dataset, tokenizer: PreTrainedTokenizerBase, options: argparse.Namespace
) -> dict[str, float]:
    """One pass over the rows in one of the ways: seconds, tokens, peak memory."""
    settings: dict[str, Any] = {}
    collator, kind, dataset = None, Counting, rows
    lazy = {"dataset_kwargs": {"skip_prepare_dataset": True}, "remove_unused_columns": False}
    # A step holds about as many tokens whichever way: `tokens` of them.
    mean = sum(map(len, rows["input_ids"])) / len(rows)
    batch = max(round(options.tokens / mean), 1)
    if way == "padding to 2048":
        collator, settings = CompletionOnlyCollator(SegmentTokenizer(tokenizer), pad_to_multiple_of=2048), lazy
        batch = max(options.tokens // 2048, 1)
    elif way == "TRL packing":
        settings, batch = {"packing": True, "packing_strategy": "bfd"}, 1
    elif way == "prefix packing":
        kind, dataset, collator = CountingCompletions, share_prefixes(rows, options.tokens), None
        collator, settings, batch = PrefixCollator(tokenizer.pad_token_id), lazy, 1
    with tempfile.TemporaryDirectory() as folder:
        arguments = SFTConfig(
            output_dir=folder, num_train_epochs=1, per_device_train_batch_size=batch, max_length=options.tokens,
            use_cpu=not torch.cuda.is_available(), bf16=True, gradient_checkpointing=options.checkpointing,
            save_strategy="no", report_to="none", disable_tqdm=True, learning_rate=0.0, logging_strategy="no", **settings,
        )  # fmt: skip
        model = make_model(None, SMOLLM2, tokenizer)
        trainer = kind(
            model, args=arguments, train_dataset=dataset, data_collator=collator, processing_class=tokenizer
        )
        # The first pass of a process pays for what is set up only once.
        trainer.current_gradient_accumulation_steps = 1
        warm = trainer.get_train_dataloader()
        trainer.training_step(trainer.model, next(iter(warm)))
        trainer.totals = dict.fromkeys(trainer.totals, 0)
        trainer.train()
    totals = trainer.totals
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if torch.cuda.is_available():
        peak = torch.cuda.max_memory_allocated() / 2**20
    return {
        "seconds": totals["seconds"],
        "positions": totals["positions"],
        "steps": totals["batches"],
        "peak_mb": peak,
    }


def in_a_process(way: str, rows: Dataset, options: argparse.Namespace) -> dict[str, float]:
    """[`contest`] in a process of its own, so that peak memory is its own."""
    with tempfile.TemporaryDirectory() as folder:
        rows.save_to_disk(folder)
        command = [sys.executable, __file__, "--child", way, "--rows", folder, "--tokens", str(options.tokens)]
        command += [] if options.checkpointing else ["--no-checkpointing"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{way} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def exactness(rows: list[dict[str, list[int]]], tokenizer: PreTrainedTokenizerBase) -> dict[str, float]:
    """Loss and gradients of one tree in float32, against its rows one by one."""
    pack = PrefixCollator(tokenizer.pad_token_id)([plant(rows)])
    settings = {"use_cpu": True, "bf16": False, "report_to": "none", "gradient_checkpointing": False}
    with tempfile.TemporaryDirectory() as folder:
        arguments = SFTConfig(
            output_dir=folder, dataset_kwargs={"skip_prepare_dataset": True}, remove_unused_columns=False, **settings
        )
        trainer = CountingCompletions(
            make_model(None, SMOLLM2, tokenizer), args=arguments, train_dataset=Dataset.from_list([plant(rows)]),
            data_collator=PrefixCollator(tokenizer.pad_token_id), processing_class=tokenizer,
        )  # fmt: skip
    ours = trainer.compute_loss(trainer.model, pack)
    ours.backward()
    model = make_model(None, SMOLLM2, tokenizer)
    count = sum(label != IGNORE for row in rows for label in row["labels"][1:])
    total = 0.0
    for row in rows:
        logits = model(torch.tensor([row["input_ids"]]), use_cache=False).logits[0, :-1]
        loss = torch.nn.functional.cross_entropy(
            logits, torch.tensor(row["labels"][1:]), ignore_index=IGNORE, reduction="sum"
        )
        (loss / count).backward()
        total += loss.item() / count
    theirs = dict(model.named_parameters())
    differences = [
        ((p.grad - theirs[name].grad).norm() / theirs[name].grad.norm()).item()
        for name, p in trainer.model.named_parameters()
        if p.grad is not None
    ]
    return {"loss": ours.item(), "loss_rel": abs(ours.item() - total) / total, "grad_rel": max(differences)}


def compare(name: str, rows: Dataset, ways: tuple[str, ...], options: argparse.Namespace) -> dict[str, Any]:
    """All ways in turn, `--repeats` times over."""
    tokens = sum(map(len, rows["input_ids"]))
    computed = sum(map(len, share_prefixes(rows, options.tokens)["input_ids"]))
    line: dict[str, Any] = {
        "data": name, "examples": len(rows), "tokens": tokens, "computed": computed, "bound": tokens / computed
    }  # fmt: skip
    runs: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
    for _ in range(options.repeats):
        for way in ways:
            runs[way].append(in_a_process(way, rows, options))
    line["ways"] = {
        way: {
            "seconds": statistics.median(run["seconds"] for run in done),
            "seconds_all": [round(run["seconds"], 2) for run in done],
            "examples_per_second": len(rows) / statistics.median(run["seconds"] for run in done),
            "tokens_per_second": tokens / statistics.median(run["seconds"] for run in done),
            "peak_mb": max(run["peak_mb"] for run in done),
            "steps": done[0]["steps"],
        }
        for way, done in runs.items()
    }
    base, ours = line["ways"]["TRL packing"], line["ways"]["prefix packing"]
    line["ratio_vs_trl_packing"] = base["seconds"] / ours["seconds"]
    line["share_of_bound"] = line["ratio_vs_trl_packing"] / line["bound"]
    line["peak_vs_trl_packing"] = ours["peak_mb"] / base["peak_mb"]
    return line


def plot(growth: list[dict[str, float]], path: Path) -> None:
    """Ratio against branches, one line a length of prefix, the bound dashed."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4.5))
    for prefix in sorted({point["prefix"] for point in growth}):
        points = [point for point in growth if point["prefix"] == prefix]
        (line,) = axes.plot(
            [p["branches"] for p in points],
            [p["ratio"] for p in points],
            marker="o",
            label=f"prefix of {prefix} tokens",
        )
        axes.plot(
            [p["branches"] for p in points], [p["bound"] for p in points], "--", color=line.get_color(), alpha=0.5
        )
    axes.set_xscale("log", base=2)
    axes.set_xticks(sorted({point["branches"] for point in growth}), sorted({point["branches"] for point in growth}))
    axes.axhline(1, color="0.7", linewidth=0.8)
    axes.set_xlabel("branches per prefix")
    axes.set_ylabel("times as fast as TRL packing")
    axes.set_title("Prefix packing; dashed: tokens one by one over tokens computed", fontsize=10)
    axes.legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=150)


def main() -> None:
    """Run what was asked for, print tables, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few rows, two ways, few points of growth")
    parser.add_argument("--toolalpaca", type=Path, default=DATA, help="folder of the published JSON files")
    parser.add_argument("--tokens", type=int, default=2048, help="tokens a step")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--no-checkpointing", dest="checkpointing", action="store_false")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    parser.add_argument("--plot", type=Path, help="PNG of growth")
    parser.add_argument("--child", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--rows", help=argparse.SUPPRESS)
    options = parser.parse_args()
    logging.set_verbosity_error()
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    tokenizer = load_tokenizer(None)
    if options.child:
        print(json.dumps(contest(options.child, Dataset.load_from_disk(options.rows), tokenizer, options)))
        return
    if options.quick:
        options.repeats = 1
    ways = WAYS[2:] if options.quick else WAYS
    limit = 6 if options.quick else None
    start = time.time()
    sets = {
        "eval_simulated": eval_simulated(options.toolalpaca, tokenizer, limit),
        "sample": sample(tokenizer, limit),
        "train_sample": train_sample(options.toolalpaca, tokenizer, options.tokens, 3 if options.quick else None),
    }
    result: dict[str, Any] = {
        "date": time.strftime("%Y-%m-%d"),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else f"{os.cpu_count()} CPU cores",
        "threads": torch.get_num_threads(),
        "model": "SmolLM2-135M's shape, random weights, bf16 autocast",
        "tokens": options.tokens,
        "gradient_checkpointing": options.checkpointing,
        "repeats": options.repeats,
        "versions": {name: importlib.metadata.version(name) for name in ("torch", "transformers", "trl")},
        "rows": [],
        "growth": [],
    }
    for name, rows in sets.items():
        if rows is None:
            print(f"{name} is left out: {options.toolalpaca} does not have it")
            continue
        line = compare(name, rows, ways, options)
        line |= exactness([rows[i] for i in range(2 if options.quick else 4)], tokenizer)
        result["rows"].append(line)
        print(
            f"\n{name}: {line['examples']} examples, {line['tokens']:,} tokens, {line['computed']:,} computed, bound "
            f"{line['bound']:.2f}; float32: loss within {line['loss_rel']:.1e}, gradients within {line['grad_rel']:.1e}"
        )
        print(f"{'':<18}{'steps':>6}{'seconds':>9}{'examples/s':>12}{'tokens/s':>10}{'peak MB':>9}{'ratio':>8}")
        for way, figures in line["ways"].items():
            ratio = line["ways"]["TRL packing"]["seconds"] / figures["seconds"]
            print(
                f"{way:<18}{figures['steps']:>6}{figures['seconds']:>9.1f}{figures['examples_per_second']:>12.3f}"
                f"{figures['tokens_per_second']:>10,.0f}{figures['peak_mb']:>9,.0f}{ratio:>7.2f}x",
                flush=True,
            )
    points = (
        [(1, 512), (8, 512)] if options.quick else [(b, p) for p in (128, 512, 2048) for b in (1, 2, 4, 8, 16, 32)]
    )
    for branches, prefix in points:
        rows = synthetic(branches, prefix, 128, len(tokenizer))
        once = argparse.Namespace(**(vars(options) | {"repeats": 1, "tokens": max(options.tokens, prefix + 128)}))
        line = compare("synthetic", rows, ("TRL packing", "prefix packing"), once)
        point = {"branches": branches, "prefix": prefix, "bound": line["bound"], "ratio": line["ratio_vs_trl_packing"]}
        result["growth"].append(point)
        print(
            f"{branches:>3} branches of 128 tokens, prefix {prefix:>5}: {point['ratio']:.2f} of {point['bound']:.2f}",
            flush=True,
        )
    result["wall_s"] = round(time.time() - start, 1)
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    if options.plot and result["growth"]:
        plot(result["growth"], options.plot)


if __name__ == "__main__":
    main()
