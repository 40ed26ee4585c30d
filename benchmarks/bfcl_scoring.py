"""
Time BFCL's verdicts on 500 recorded answers: Inspect's scorer as Inspect runs it, its matching by itself, and ours.

    python benchmarks/bfcl_scoring.py --ours .venv/lib/python3.11/site-packages --data inspect-cache/BFCL

Run with the Python of Inspect's environment (docs/how-to/evaluate.md); `--ours` has what this package needs and that
environment lacks. Answers are made from the acceptable ones, right and wrong in one way each, recorded in a log.
"""

import argparse
import json
import logging
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any

ROOT = Path(__file__).parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ours", type=Path, required=True, help="site-packages with this package's dependencies")
    parser.add_argument("--data", type=Path, required=True, help="BFCL's files")
    parser.add_argument("--answers", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    from inspect_ai import Task, eval, score
    from inspect_ai.dataset import MemoryDataset
    from inspect_ai.model import ChatCompletionChoice, ChatMessageAssistant, ModelOutput, ModelUsage, get_model
    from inspect_ai.tool import ToolCall
    from inspect_evals.bfcl.bfcl import bfcl_scorer, bfcl_solver, single_turn_record_to_sample
    from inspect_evals.bfcl.data import load_records_by_category
    from inspect_evals.bfcl.score.scorer import ast_match
    from inspect_evals.bfcl.utils.task_categories import CATEGORIES

    sys.path += [str(ROOT / "src"), str(ROOT / "benchmarks"), str(options.ours)]
    from bfcl_verdicts import made

    from toolalpaca_hf.evaluation import ast_verdict
    from toolalpaca_hf.schema import Step

    rng, samples, answers = random.Random(0), [], {}
    for category in ("simple_python", "multiple", "parallel", "parallel_multiple"):
        for record in load_records_by_category(category, options.data).values():
            ways = [calls for _, calls in made(record.ground_truth, rng)]
            if len(record.ground_truth) == 1:  # theirs refuse a second call, ours scores the first
                ways = [calls for calls in ways if len(calls) < 2]
            samples.append(single_turn_record_to_sample(record))
            answers[record.id] = rng.choice(ways)
    chosen = rng.sample(samples, options.answers)
    rest = iter([answers[sample.id] for sample in chosen])

    def recorded(*_: Any) -> ModelOutput:
        calls = [ToolCall(id=str(n), function=name, arguments=given) for n, (name, given) in enumerate(next(rest))]
        message = ChatMessageAssistant(content="", tool_calls=calls)
        return ModelOutput(model="recorded", choices=[ChatCompletionChoice(message=message)], usage=ModelUsage())

    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        task = Task(dataset=MemoryDataset(chosen), solver=bfcl_solver(), scorer=bfcl_scorer())
        model = get_model("mockllm/model", custom_outputs=recorded)
        (log,) = eval(task, model=model, max_samples=1, log_dir=folder, display="none", score=False)
        kept = list(log.samples or [])
        calls = {
            one.id: [c for m in one.messages if m.role == "assistant" for c in m.tool_calls or []] for one in kept
        }
        assert log.status == "success" and sum(map(len, calls.values())) > len(kept) / 2, log.error
        # What a run's folder holds: calls as text.
        steps = {
            name: [Step("", c.function, json.dumps(c.arguments), "") for c in made] for name, made in calls.items()
        }

        def ours() -> list[bool]:
            about = ((steps[one.id], one.metadata) for one in kept)
            return [not ast_verdict(made, a["raw_ground_truth"], a["tools"]) for made, a in about]

        states = [SimpleNamespace(messages=one.messages, metadata=one.metadata) for one in kept]

        def matching() -> list[bool]:
            configs = (CATEGORIES[one.metadata["category_name"]] for one in kept)
            return [bool(ast_match(state, None, c).value) for state, c in zip(states, configs, strict=True)]

        def scorer() -> list[bool]:
            scored = score(log, bfcl_scorer(), action="overwrite", display="none")
            return [bool(one.scores["bfcl_scorer"].value) for one in scored.samples or []]

        sides: dict[str, Callable[[], list[bool]]] = {"scorer": scorer, "matching": matching, "ours": ours}
        seconds: dict[str, list[float]] = {name: [] for name in sides}
        verdicts: dict[str, list[bool]] = {}
        for _ in range(options.rounds):
            for name, run in sides.items():
                began = time.perf_counter()
                verdicts[name] = run()
                seconds[name].append(time.perf_counter() - began)
    for name, times in seconds.items():
        ratio = median(t / o for t, o in zip(times, seconds["ours"], strict=True))
        each = 1e6 * median(times) / len(kept)
        differ = [one for one, a, b in zip(kept, verdicts[name], verdicts["ours"], strict=True) if a != b]
        print(f"{name:<10}{each:>9.1f} us an answer {ratio:>7.2f} times ours {len(differ):>4} other verdicts", end=" ")
        print(f"of {len(kept)}")
        for one in differ:
            print(f"  {one.id}: {[(call.action, call.action_input) for call in steps[one.id]]}")
            print(f"    acceptable: {json.dumps(one.metadata['raw_ground_truth'], ensure_ascii=False)}")


if __name__ == "__main__":
    main()
