"""Rollouts against the embedded simulator: batched with prefix reuse against one at a time, the same greedy choices.

    python benchmarks/rollouts.py --quick
    python benchmarks/rollouts.py --apis eval_simulated.json --model outputs/smollm2-real --repeats 1 --json out.json

One at a time is `model.generate` over the whole conversation, turn by turn. Both ways use the same loaded weights, in one
run. What is written after a conversation that both ways met is compared id by id; where it differs, a plain forward pass
says how far apart the two ids' logits are.
"""

import argparse
import time
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from measured import bars, ratios, show, spread, table, write

from toolalpaca_hf.agent import RolloutLimits, read_tasks, roll_out, simulated_calls
from toolalpaca_hf.agent.local import LocalBackend
from toolalpaca_hf.agent.models import load_model
from toolalpaca_hf.checkpoints import resolve_model
from toolalpaca_hf.simulator import SESSION_HEADER, running

Written = dict[tuple[int, ...], list[int]]


def record(backend: LocalBackend) -> Written:
    """Have the backend note what it writes: ids by the ids of the conversation."""
    written: Written = {}
    write = backend.writer.write

    def recording(keys: Any, ids: Any, limits: Any) -> Any:
        results = write(keys, ids, limits)
        written.update({tuple(one): result.ids for one, result in zip(ids, results, strict=True)})
        return results

    backend.writer.write = recording
    return written


@torch.inference_mode()
def apart(backend: LocalBackend, context: tuple[int, ...], one: list[int], other: list[int]) -> float:
    """How far apart the logits are of the two ids in which continuations first differ."""
    at = next(i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
    ids = torch.tensor([[*context, *one[:at]]], device=backend.model.device)
    logits = backend.model(ids, logits_to_keep=1).logits[0, -1].float()
    return abs(float(logits[one[at]] - logits[other[at]]))


def main() -> None:
    """Run both ways and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--apis", default="sample", help="file in the raw layout; the embedded corpus where not given")
    parser.add_argument("--model", default="smollm2")
    parser.add_argument("--limit", type=int, help="only the first so many instructions")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--steps", type=int, default=10, help="actions of one rollout")
    parser.add_argument("--turn-tokens", type=int, default=256)
    parser.add_argument("--dtype", choices=("bfloat16", "float32"), default="bfloat16")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="4 instructions, 2 actions of 32 tokens, 3 rounds")
    parser.add_argument("--json", type=Path, help="file to write the figures to, a plot beside it")
    args = parser.parse_args()
    if args.quick:
        args.limit, args.steps, args.turn_tokens, args.repeats = 4, 2, 32, 3

    begun = time.perf_counter()
    source = read_tasks(args.apis)
    tasks = source.tasks[: args.limit]
    model, tokenizer = load_model(resolve_model(args.model))
    model.to(getattr(torch, args.dtype))
    limits = RolloutLimits(steps=args.steps, turn_tokens=args.turn_tokens, seconds=1e9)
    runs: dict[str, list[dict[str, Any]]] = {}
    noted: dict[str, Written] = {}
    for _ in range(args.repeats):
        for way, options in {
            "one at a time": {"batch_size": 1, "reuse": False},
            "batched, reuse": {"batch_size": args.batch_size},
        }.items():
            backend = LocalBackend(model, tokenizer, **options)
            noted[way] = record(backend)
            with running(source.apis) as url:
                calls = simulated_calls(source.apis, url, SESSION_HEADER)
                start = time.perf_counter()
                results = list(roll_out(tasks, backend, calls, limits=limits))
                seconds = time.perf_counter() - start
            run = {"seconds": seconds, "turns": len(noted[way]), "tokens": sum(one.tokens for one in results)}
            run["ended"] = dict(Counter(one.ended for one in results))
            runs.setdefault(way, []).append(run)
            print(way, run, flush=True)
    plain, batched = noted.values()
    both = plain.keys() & batched.keys()
    gaps = [apart(backend, one, plain[one], batched[one]) for one in both if plain[one] != batched[one]]

    rates = {way: [run["tokens"] / run["seconds"] for run in done] for way, done in runs.items()}
    rows = [
        [
            way,
            spread([run["seconds"] for run in done]),
            done[0]["turns"],
            done[0]["tokens"],
            spread([len(tasks) / run["seconds"] for run in done]),
            spread(rates[way]),
            spread(ratios(rates[way], rates["one at a time"])),
        ]
        for way, done in runs.items()
    ]
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{torch.get_num_threads()} CPU threads"
    found = table(
        f"{len(tasks)} instructions, at most {args.steps} actions of {args.turn_tokens} tokens",
        ["way", "seconds", "turns", "tokens", "instructions/s", "tokens/s", "ratio"],
        rows,
        f"{args.model}, {args.dtype}, {device}, batches of {args.batch_size}; median of {args.repeats} rounds (lowest to "
        f"highest). {len(both)} turns followed the same conversation both ways; {len(gaps)} of their greedy texts differ"
        + (f", where the two tokens' logits are at most {max(gaps):.3f} apart." if gaps else "."),
    )
    show([found])
    if args.json:
        picture = bars(args.json.with_suffix(".png"), {"": rates}, "tokens/s")
        write(args.json, time.perf_counter() - begun, [found], [picture], runs=runs, gaps=sorted(gaps))


if __name__ == "__main__":
    main()
