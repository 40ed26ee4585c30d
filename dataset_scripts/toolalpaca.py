"""Build the ToolAlpaca dataset repo in a folder: Parquet, dataset card, report.

    python dataset_scripts/toolalpaca.py --source sample --out build/sample
    python dataset_scripts/toolalpaca.py --source upstream --prompt upstream --out build/toolalpaca
    python dataset_scripts/toolalpaca.py --train train_data.json --processed more.json --out build/mine
    python dataset_scripts/toolalpaca.py --source sample --out build/sample --push-to-hub me/toolalpaca-sample

Open it with `load_dataset("build/sample", "sft", split="train")`; a pushed one is private until `--public` is given.
"""

import argparse
from pathlib import Path

from toolalpaca_hf.data import check_replaceable, make_prompt, resolve_sources, write_repo
from toolalpaca_hf.errors import run_main
from toolalpaca_hf.hub import check_push, dataset_manifest, push


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--source", help="sample (the embedded corpus), upstream (downloaded), or a folder of JSON files"
    )
    for split in ("train", "eval-simulated", "eval-real"):
        parser.add_argument(f"--{split}", action="append", help="file in the raw layout; may be given more than once")
    parser.add_argument("--processed", action="append", help="file in the processed layout, added to the config sft")
    parser.add_argument("--data-dir", help="folder whose files come before a download of --source upstream")
    parser.add_argument("--prompt", choices=("react", "upstream"), default="react", help="layout of the config sft")
    parser.add_argument("--prompt-dir", help="folder with upstream's agent/ files; downloaded where not given")
    parser.add_argument("--upstream-selection", action="store_true", help="train on what upstream trains on")
    parser.add_argument(
        "--out", required=True, help="folder to write; new, empty, or an earlier build from the same sources"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier build from other sources")
    parser.add_argument("--push-to-hub", metavar="REPO_ID", help="publish the folder; private until --public")
    parser.add_argument("--public", action="store_true", help="with --push-to-hub: everybody may see it")
    args = parser.parse_args()
    if args.public and not args.push_to_hub:
        parser.error("--public says who may see what --push-to-hub publishes; pass both")
    return args


def main() -> None:
    """Build, print, publish where asked to."""
    args = parse_args()
    if args.push_to_hub:
        check_push(args.push_to_hub)
    check_replaceable(Path(args.out))
    sources = resolve_sources(
        args.source, args.train, args.eval_simulated, args.eval_real, args.processed, args.data_dir
    )
    prompt = make_prompt(args.prompt, args.prompt_dir, args.data_dir)
    print(write_repo(sources, args.out, prompt, args.upstream_selection, args.overwrite).summary())
    if args.push_to_hub:
        print(push(dataset_manifest(args.out, args.push_to_hub), args.push_to_hub, public=args.public))


if __name__ == "__main__":
    run_main(main)
