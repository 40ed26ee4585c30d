"""
First calls of a checkpoint against the golden ones, for any evaluation file in the raw layout.

    python recipes/measure.py --model smollm2 --eval-real eval_real.json --out runs/real

Writes metrics.json (all splits together and each by itself) and records.jsonl (what the model wrote, to read).
"""

import argparse
from pathlib import Path

from toolalpaca_hf.checkpoints import check_model
from toolalpaca_hf.data import left_out, read_corpus, resolve_sources
from toolalpaca_hf.errors import OptionError, run_main
from toolalpaca_hf.evaluation import as_table, measure_checkpoint, write_records
from toolalpaca_hf.precision import DTYPES
from toolalpaca_hf.storage import interruptible, output_folder, write_json


def main() -> None:
    """Load, measure every split, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="a folder, a Hub id, or smollm2")
    parser.add_argument("--eval-simulated", action="append", help="file in the raw layout, golden answers included")
    parser.add_argument("--eval-real", action="append", help="likewise")
    parser.add_argument("--dtype", default="auto", choices=DTYPES, help="of the model; auto is the fastest here")
    parser.add_argument("--out", type=Path, required=True, help="folder for metrics.json and records.jsonl")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier measurement")
    args = parser.parse_args()
    check_model(args.model)
    files = {"eval_simulated": args.eval_simulated, "eval_real": args.eval_real}
    corpus = read_corpus(resolve_sources(**files) if any(files.values()) else resolve_sources("sample"))
    if aside := left_out(corpus.report.notes("apis", "instructions")):
        print(aside)
    with output_folder(args.out, "a measurement", ("metrics.json", "records.jsonl"), args.overwrite):
        if (args.out / "metrics.json").is_file():
            raise OptionError(f"{args.out} holds a measurement", option="--out", fix="pass another, or --overwrite")
        with interruptible(lambda: "a measurement keeps nothing until its end; run the same command again"):
            metrics, records = measure_checkpoint(args.model, corpus, args.dtype)
        write_records(records, args.out / "records.jsonl")
        write_json(args.out / "metrics.json", metrics, indent=2)
    columns = {name: column for name, column in metrics.items() if isinstance(column, dict)}
    every = list(columns.values())[-1]
    chances = "first function by chance {chance:.1%}, by word overlap {word_overlap:.1%}".format(**every)
    print(f"{as_table(columns)}\n{every['n']} instructions; {chances}")


if __name__ == "__main__":
    run_main(main)
