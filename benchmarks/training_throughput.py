"""Training throughput on the same rows: padding to the limit, TRL's dynamic padding and packing, common beginnings once.

    python benchmarks/training_throughput.py --quick
    python benchmarks/training_throughput.py --data build/real --model HuggingFaceTB/SmolLM2-135M --json out.json

Every contestant trains one epoch on the same rows, from the same weights. The published script pads every row to 2048
tokens. `tokens/s` leaves padding out, `trained/s` counts only the tokens that the loss covers, the same ones for all four.
"""

import argparse
import logging
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from measured import bars, ratios, show, spread, table, write
from segments_to_labels import load_rows, load_tokenizer
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PrinterCallback,
)
from trl import SFTConfig, SFTTrainer

from toolalpaca_hf.training import IGNORE, CompletionOnlyCollator, SegmentTokenizer, tokenize_dataset
from toolalpaca_hf.training.prefixes import PrefixCollator, share_prefixes
from toolalpaca_hf.training.trainer import CompletionTrainer

# Weights play no part in speed.
SMOLLM2 = {
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
}


class Counting(SFTTrainer):
    """Adds up the time of its steps and the tokens in them."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.totals = {"seconds": 0.0, "batches": 0, "positions": 0, "tokens": 0, "trained_tokens": 0}

    def training_step(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> torch.Tensor:
        positions = inputs["input_ids"].numel()
        # Packed batches have no mask, and nothing to mask; trees are padded with nodes of -1.
        if "nodes" in inputs:
            tokens = int((inputs["nodes"] >= 0).sum())
        else:
            tokens = int(inputs["attention_mask"].sum()) if "attention_mask" in inputs else positions
        trained = int((inputs["labels"] != IGNORE).sum())
        start = time.perf_counter()
        loss = super().training_step(model, inputs, *args, **kwargs)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        seconds = time.perf_counter() - start
        for key, value in zip(self.totals, (seconds, 1, positions, tokens, trained), strict=True):
            self.totals[key] += value
        return loss


class CountingCompletions(Counting, CompletionTrainer):
    """The same of this package's trainer."""


def make_model(name: str | None, shape: dict[str, int], tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    """A model by name, or one of that shape with random weights, always the same."""
    torch.manual_seed(0)
    if name is not None:
        return AutoModelForCausalLM.from_pretrained(name, dtype=torch.float32)
    config = LlamaConfig(
        **shape, vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id, tie_word_embeddings=True
    )
    return LlamaForCausalLM(config)


def train(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    dataset: Dataset,
    batch_size: int,
    max_length: int,
    way: str,
) -> dict[str, float]:
    """One epoch in one of the four ways."""
    options: dict[str, Any] = {}
    collator = None
    if way == "padding to the limit":
        collator = CompletionOnlyCollator(SegmentTokenizer(tokenizer), pad_to_multiple_of=max_length)
        options = {"dataset_kwargs": {"skip_prepare_dataset": True}, "remove_unused_columns": False}
    elif way == "TRL packing":
        options = {"packing": True, "packing_strategy": "bfd"}
    elif way == "common beginnings once":
        dataset = share_prefixes(dataset, max_length)
        collator = PrefixCollator(tokenizer.pad_token_id)
        options = {"dataset_kwargs": {"skip_prepare_dataset": True}, "remove_unused_columns": False}
    kind = CountingCompletions if way == "common beginnings once" else Counting
    gpu = torch.cuda.is_available()
    with tempfile.TemporaryDirectory() as folder:
        arguments = SFTConfig(
            output_dir=folder,
            num_train_epochs=1,
            per_device_train_batch_size=batch_size,
            max_length=max_length,
            use_cpu=not gpu,
            bf16=True,
            gradient_checkpointing=False,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            **options,
        )
        trainer = kind(
            model, args=arguments, train_dataset=dataset, data_collator=collator, processing_class=tokenizer
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    return trainer.totals


def main() -> None:
    """Run the four ways and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="folder of a built dataset repo; the embedded corpus where not given")
    parser.add_argument("--tokenizer", help="name or folder; the model's, or SmolLM2's, where not given")
    parser.add_argument("--model", help="name or folder; random weights in SmolLM2-135M's shape where not given")
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=4, help="rows, or packs of max-length tokens, a step")
    parser.add_argument("--max-length", type=int, default=2048)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="2 rows, 2 rounds")
    parser.add_argument("--json", type=Path, help="file to write the figures to, a plot beside it")
    args = parser.parse_args()
    if args.quick:
        args.rows, args.batch_size, args.repeats = 2, 2, 2
    logging.getLogger("transformers").setLevel(logging.ERROR)

    start = time.perf_counter()
    tokenizer = load_tokenizer(args.tokenizer or args.model)
    rows = load_rows(args.data)
    rows = rows.select([i % len(rows) for i in range(args.rows)])
    dataset, report = tokenize_dataset(rows, tokenizer, args.max_length)
    print(report)
    ways = ("padding to the limit", "TRL dynamic padding", "TRL packing", "common beginnings once")
    # The first steps of a process pay for what is set up only once.
    short = dataset.select([0]).map(lambda row: {name: row[name][-128:] for name in ("input_ids", "labels")})
    train(make_model(args.model, SMOLLM2, tokenizer), tokenizer, short, 1, args.max_length, "TRL dynamic padding")
    runs: dict[str, list[dict[str, float]]] = {}
    for _ in range(args.repeats):
        for way in ways:
            model = make_model(args.model, SMOLLM2, tokenizer)
            runs.setdefault(way, []).append(train(model, tokenizer, dataset, args.batch_size, args.max_length, way))
            print(way, runs[way][-1], flush=True)

    seconds = {way: [run["seconds"] for run in done] for way, done in runs.items()}
    speed = {way: [run["trained_tokens"] / run["seconds"] for run in done] for way, done in runs.items()}
    lines = [
        [
            way,
            int(done[0]["positions"]),
            int(done[0]["tokens"]),
            spread(seconds[way]),
            spread([run["tokens"] / run["seconds"] for run in done]),
            spread(speed[way]),
            spread(ratios(speed[way], speed[ways[0]])),
        ]
        for way, done in runs.items()
    ]
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{torch.get_num_threads()} CPU threads"
    found = table(
        f"{len(dataset)} rows of {args.data or 'the embedded corpus'}, one epoch each",
        ["way", "positions", "tokens computed", "seconds", "tokens computed/s", "trained tokens/s", "ratio of trained tokens/s"],
        lines,
        f"{args.model or 'Random weights in the shape of SmolLM2-135M'}, bf16 autocast, no gradient checkpointing, {device}, "
        f"{args.batch_size} rows, or packs of {args.max_length:,} tokens, a step; forward and backward passes. Median of "
        f"{args.repeats} rounds (lowest to highest).",
    )  # fmt: skip
    show([found])
    if args.json:
        picture = bars(args.json.with_suffix(".png"), {"": speed}, "trained tokens/s")
        write(args.json, time.perf_counter() - start, [found], [picture], runs=runs)


if __name__ == "__main__":
    main()
