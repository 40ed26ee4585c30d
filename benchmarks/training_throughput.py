"""Training throughput on the same rows: padding to the limit, TRL's dynamic padding and packing, common beginnings once.

    python benchmarks/training_throughput.py --quick
    python benchmarks/training_throughput.py --data build/real --model HuggingFaceTB/SmolLM2-135M --json out.json

Every contestant trains one epoch on the same rows, from the same weights. The published script pads every row to 2048
tokens. `tokens/s` leaves padding out, `trained/s` counts only the tokens that the loss covers, the same ones for all four.
"""

import argparse
import importlib.metadata
import json
import logging
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from segments_to_labels import load_rows, load_tokenizer
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, PreTrainedModel, PreTrainedTokenizerBase
from trl import SFTConfig, SFTTrainer

from toolalpaca_hf.training import IGNORE, CompletionOnlyCollator, SegmentTokenizer, tokenize_dataset
from toolalpaca_hf.training.prefixes import PrefixCollator, share_prefixes
from toolalpaca_hf.training.trainer import CompletionTrainer

# Weights play no part in speed: the shapes of SmolLM2-135M, and of a model that fits a test.
SMOLLM2 = {
    "hidden_size": 576,
    "intermediate_size": 1536,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
}
QUICK = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
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
    parser.add_argument("--quick", action="store_true", help="4 short rows and a tiny model: does it run")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    args = parser.parse_args()
    if args.quick:
        args.rows, args.batch_size, args.max_length = 4, 2, 1024
    logging.getLogger("transformers").setLevel(logging.ERROR)

    tokenizer = load_tokenizer(args.tokenizer or args.model)
    rows = load_rows(args.data)
    rows = rows.select([i % len(rows) for i in range(args.rows)])
    dataset, report = tokenize_dataset(rows, tokenizer, args.max_length)
    print(report)
    shape = QUICK if args.quick else SMOLLM2
    ways = ("padding to the limit", "TRL dynamic padding", "TRL packing", "common beginnings once")
    # The first steps of a process pay for what is set up only once.
    warm_up = dataset.select(range(min(2, len(dataset))))
    train(make_model(args.model, shape, tokenizer), tokenizer, warm_up, 2, args.max_length, "TRL dynamic padding")
    result: dict[str, Any] = {
        "rows": len(dataset),
        "batch_size": args.batch_size,
        "max_length": args.max_length,
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "threads": torch.get_num_threads(),
        "model": args.model or ("tiny, random weights" if args.quick else "SmolLM2-135M's shape, random weights"),
        "data": args.data or "embedded corpus",
        "versions": {name: importlib.metadata.version(name) for name in ("torch", "transformers", "trl")},
        "ways": {},
    }
    for way in ways:
        model = make_model(args.model, shape, tokenizer)
        totals = train(model, tokenizer, dataset, args.batch_size, args.max_length, way)
        result["ways"][way] = {
            **totals,
            "tokens_per_second": totals["tokens"] / totals["seconds"],
            "trained_tokens_per_second": totals["trained_tokens"] / totals["seconds"],
        }

    print(f"\n{result['model']}, {result['device']}, {result['threads']} threads, {len(dataset)} rows, one epoch each")
    print(
        f"{'':<24}{'batches':>8}{'positions':>11}{'tokens':>10}{'seconds':>9}{'tokens/s':>10}{'trained/s':>11}{'ratio':>8}"
    )
    base = result["ways"][ways[0]]
    for way, line in result["ways"].items():
        line["times_as_fast"] = line["trained_tokens_per_second"] / base["trained_tokens_per_second"]
        print(
            f"{way:<24}{line['batches']:>8}{line['positions']:>11,}{line['tokens']:>10,}{line['seconds']:>9.1f}"
            f"{line['tokens_per_second']:>10,.0f}{line['trained_tokens_per_second']:>11,.1f}{line['times_as_fast']:>7.2f}x"
        )
    if args.json:
        args.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
