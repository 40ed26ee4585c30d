"""Rollouts against the embedded simulator: batched with prefix reuse against one at a time, the same greedy choices.

    python benchmarks/rollouts.py --apis eval_simulated.json --model outputs/smollm2-real
    python benchmarks/rollouts.py --apis eval_simulated.json --limit 8 --json out.json

One at a time is `model.generate` over the whole conversation, turn by turn. Both ways use the same loaded weights, in one
run. What is written after a conversation that both ways met is compared id by id; where it differs, a plain forward pass
says how far apart the two ids' logits are.
"""

import argparse
import importlib.metadata
import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

import torch

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
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    args = parser.parse_args()

    source = read_tasks(args.apis)
    tasks = source.tasks[: args.limit]
    model, tokenizer = load_model(resolve_model(args.model))
    model.to(getattr(torch, args.dtype))
    limits = RolloutLimits(steps=args.steps, turn_tokens=args.turn_tokens, seconds=1e9)
    result: dict[str, Any] = {
        "model": args.model,
        "dtype": args.dtype,
        "instructions": len(tasks),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "threads": torch.get_num_threads(),
        "versions": {name: importlib.metadata.version(name) for name in ("torch", "transformers")},
        "ways": {},
    }
    noted: list[Written] = []
    for way, options in {
        "one at a time": {"batch_size": 1, "reuse": False},
        "batched, reuse": {"batch_size": args.batch_size},
    }.items():
        backend = LocalBackend(model, tokenizer, **options)
        noted.append(record(backend))
        with running(source.apis) as url:
            calls = simulated_calls(source.apis, url, SESSION_HEADER)
            start = time.perf_counter()
            results = list(roll_out(tasks, backend, calls, limits=limits))
            seconds = time.perf_counter() - start
        tokens = sum(one.tokens for one in results)
        result["ways"][way] = {
            "seconds": seconds,
            "turns": len(noted[-1]),
            "tokens": tokens,
            "instructions_per_second": len(tasks) / seconds,
            "tokens_per_second": tokens / seconds,
            "ended": dict(Counter(one.ended for one in results)),
        }
        print(way, result["ways"][way], flush=True)
    plain, batched = noted
    both = plain.keys() & batched.keys()
    gaps = [apart(backend, one, plain[one], batched[one]) for one in both if plain[one] != batched[one]]
    base, fast = result["ways"].values()
    result |= {
        "times_as_many_tokens_per_second": fast["tokens_per_second"] / base["tokens_per_second"],
        "turns_met_by_both": len(both),
        "turns_that_differ": len(gaps),
        "largest_gap_of_logits": max(gaps, default=0.0),
        "gaps": sorted(gaps),
    }

    print(f"\n{args.model}, {args.dtype}, {result['device']}, {result['threads']} threads, {len(tasks)} instructions")
    print(f"{'':<18}{'seconds':>9}{'turns':>7}{'tokens':>9}{'instructions/s':>16}{'tokens/s':>10}{'ratio':>8}")
    for way, line in result["ways"].items():
        ratio = line["tokens_per_second"] / base["tokens_per_second"]
        print(
            f"{way:<18}{line['seconds']:>9.1f}{line['turns']:>7}{line['tokens']:>9,}"
            f"{line['instructions_per_second']:>16.3f}{line['tokens_per_second']:>10.1f}{ratio:>7.2f}x"
        )
    print(
        f"{len(both)} turns began alike in both ways; {len(gaps)} of them differ, where the two logits are at most "
        f"{max(gaps, default=0.0):.3f} apart"
    )
    if args.json:
        args.json.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
