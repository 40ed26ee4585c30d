"""Build the Toolformer dataset repo in a folder: Parquet, dataset card, report.

    python dataset_scripts/toolformer.py --source annotated/ --out build/toolformer
    python dataset_scripts/toolformer.py --source gsm8k=gsm8k_train.jsonl --out build/gsm8k
    python dataset_scripts/toolformer.py --source annotated/ --plain texts.jsonl --plain-fraction 0.5 --out build/mixed

Train on it with `recipes/sft.py --dataset_name build/toolformer --dataset_config sft`, or on the same texts without
calls with `--dataset_config plain`. Open it with `load_dataset("build/toolformer", "sft", split="train")`, or publish
it with `--push-to-hub me/toolformer`.
"""

import argparse
import sys
from pathlib import Path

from toolalpaca_hf.data import check_replaceable
from toolalpaca_hf.errors import ToolAlpacaError, run_main
from toolalpaca_hf.hub import check_push, dataset_manifest, push
from toolalpaca_hf.toolformer import build_repo, open_source


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--source", required=True, help="folder that `toolalpaca toolformer annotate` wrote, gsm8k, or gsm8k=FILE"
    )
    parser.add_argument("--plain", help="JSON lines with `text`; without it, the source's texts without a call")
    parser.add_argument(
        "--plain-fraction", type=float, default=0.1, help="fraction of the training rows that is plain text"
    )
    parser.add_argument("--mask-results", action="store_true", help="leave the calls' results out of the loss")
    parser.add_argument("--limit", type=int, help="only the first so many texts")
    parser.add_argument(
        "--out", required=True, help="folder to write; new, empty, or an earlier build from the same source"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier build from another source")
    parser.add_argument("--push-to-hub", metavar="REPO_ID", help="publish the folder; private until --public")
    parser.add_argument("--public", action="store_true", help="with --push-to-hub: everybody may see it")
    args = parser.parse_args(argv)
    if args.public and not args.push_to_hub:
        parser.error("--public says who may see what --push-to-hub publishes; pass both")
    return args


def main(argv: list[str] | None = None) -> int:
    """Build, print, and return the exit status."""
    args = parse_args(argv)
    try:
        if args.push_to_hub:
            check_push(args.push_to_hub)
        check_replaceable(Path(args.out))
        source = open_source(args.source, limit=args.limit)
        build = build_repo(source, args.out, args.plain, args.plain_fraction, args.mask_results, args.overwrite)
        print(build.summary())
        if args.push_to_hub:
            print(push(dataset_manifest(args.out, args.push_to_hub), args.push_to_hub, public=args.public))
    except ToolAlpacaError as error:
        print(f"error: {error}", file=sys.stderr)
        return type(error).status  # the errors of servers have HTTP's as `status`
    return 0


if __name__ == "__main__":
    run_main(lambda: sys.exit(main()))
