"""Runs to report on: the embedded held-out APIs, attempted in made-up ways, with the records and metrics of each."""

import json
from collections.abc import Callable, Sequence
from typing import Any

from toolalpaca_hf.data import read_file
from toolalpaca_hf.evaluation import Attempt
from toolalpaca_hf.schema import Api, Instruction, Step, Trajectory

CALL_METRICS = ("all_functions", "all_functions_repeated", "exact_set", "in_order", "arguments")
SHARES = ("precision", "recall", "f1", "argument_precision", "argument_recall", "argument_f1")


def golden_attempt(api: Api, index: int, instruction: Instruction, observation: str = '{"ok": true}') -> Attempt:
    """The golden calls, made and answered."""
    steps = [Step("I call it.", call.action, call.action_input, observation) for call in instruction.golden_calls]
    trajectory = Trajectory(instruction.id, api.id, instruction.instruction, "", steps, "I know now.", "Here you are.")
    return Attempt(api, index, instruction, trajectory)


def sample_attempts(make: Callable[[Api, int, Instruction], Attempt] = golden_attempt) -> list[Attempt]:
    """One attempt at each instruction of the embedded held-out APIs."""
    split, corpus = read_file("sample")
    apis = {api.id: api for api in corpus.apis[split]}
    return [make(apis[one.api], int(one.id.rpartition("/")[2]), one) for one in corpus.instructions[split]]


def record_of(attempt: Attempt, verdict: str = "Yes", reason: str = "", **more: Any) -> dict[str, Any]:
    """A record as `instructions.json` has it."""
    right = verdict == "Yes" and not attempt.failed
    return {
        "id": attempt.instruction.id,
        "api": attempt.api.name,
        "index": attempt.index,
        "category": attempt.api.category,
        "instruction": attempt.instruction.instruction,
        "golden_calls": [
            {"action": c.action, "action_input": c.action_input} for c in attempt.instruction.golden_calls
        ],
        "ended": attempt.ended,
        "error": attempt.error,
        "failed": attempt.failed,
        **dict.fromkeys(CALL_METRICS, right),
        **dict.fromkeys(SHARES, float(right)),
        "validity": {"calls": 2, "well_formed": 1.0},
        "process_verdict": verdict,
        "reason": reason or ("all golden calls were made and answered" if right else "a golden call is absent"),
        **more,
    }


def rate(values: Sequence[bool | float]) -> dict[str, Any]:
    """A share with a made-up interval of a tenth to each side."""
    value = sum(map(float, values)) / len(values) if values else None
    if value is None:
        return {"value": None, "low": None, "high": None, "n": 0}
    return {"value": value, "low": max(0.0, value - 0.1), "high": min(1.0, value + 0.1), "n": len(values)}


def metrics_of(records: Sequence[dict[str, Any]], suite: str = "sample", model: str = "tiny") -> dict[str, Any]:
    """Metrics as `metrics.json` has them, without a judge."""

    def group(key: Callable[[dict[str, Any]], str]) -> dict[str, Any]:
        groups: dict[str, list[dict[str, Any]]] = {}
        for record in records:
            groups.setdefault(key(record), []).append(record)
        return {
            name: {
                "n": len(ones),
                "failed": sum(one["failed"] for one in ones),
                "all_functions": rate([one["all_functions"] for one in ones]),
                "arguments": rate([one["arguments"] for one in ones]),
                "process_verdict": rate([one["process_verdict"] == "Yes" for one in ones]),
            }
            for name, ones in groups.items()
        }

    return {
        "suite": suite,
        "model": model,
        "n": len(records),
        "failed": sum(one["failed"] for one in records),
        "missing": sum(one["ended"] == "missing" for one in records),
        "calls": {name: rate([one[name] for one in records]) for name in (*CALL_METRICS, *SHARES)},
        "validity": {"well_formed": rate([1.0 for _ in records])},
        "process_verdict": rate([one["process_verdict"] == "Yes" for one in records]),
        "by": {
            "api": group(lambda one: one["api"]),
            "category": group(lambda one: one["category"]),
            "golden_calls": group(lambda one: str(len(one["golden_calls"]))),
        },
        "errors": {"a golden call is absent": sum(one["process_verdict"] != "Yes" for one in records)},
        "settings": {"seed": 42},
    }


def mixed_run() -> tuple[dict[str, Any], list[dict[str, Any]], list[Attempt]]:
    """Some right, some wrong, one failed, one missing, judged; each in its place."""

    def make(api: Api, index: int, instruction: Instruction) -> Attempt:
        if index == 1:
            return Attempt(api, index, instruction, None, "missing")
        if index == 2:
            steps = [Step("Maybe this.", "listAll", '{"q": 1', "Error: no such function " + "x" * 900)]
            trajectory = Trajectory(instruction.id, api.id, instruction.instruction, "", steps, None, "")
            return Attempt(api, index, instruction, trajectory, "failed", "the endpoint went away")
        items = [{"id": number, "name": f"Item {number}", "tags": ["a", "b"]} for number in range(60)]
        return golden_attempt(api, index, instruction, json.dumps(items if index % 2 else {"ok": True}))

    attempts = sample_attempts(make)
    records = [
        record_of(
            one,
            "No" if one.failed or one.index % 3 == 0 else "Yes",
            judge={"process": "Yes", "response": "Uncertain", "text": "The calls are right.\nYes", "error": ""},
        )
        for one in attempts
    ]
    share = rate([True] * len(records))
    metrics = metrics_of(records) | {
        "judge": {
            "num": len(records),
            "error_num": 0,
            "process": {"Yes": len(records), "No": 0, "Uncertain": 0},
            "response": {"Yes": 0, "No": 0, "Uncertain": len(records)},
            "both": 0,
        },
        "judge_rates": {"process": share, "response": rate([False] * len(records)), "both": rate([False])},
        "judge_settings": {"model": "judge-7b", "temperature": 0.0},
    }
    return metrics, records, attempts
