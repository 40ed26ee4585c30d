"""From attempts to the records of an evaluation, and from records to its `metrics.json`."""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ..errors import InputError
from ..metrics import CALL_SCORES, WHOLES, call_validity, judge_process, judge_statistics, match_calls, process_reward
from .bfcl import ast_verdict
from .judge import agreement
from .statistics import rate, rates, solved
from .suite import Attempt

CALL_METRICS = (*CALL_SCORES, "ast")
GROUPS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "api": lambda record: record["api"],
    "category": lambda record: record.get("category") or "(none)",
    "golden_calls": lambda record: str(len(record.get("golden_calls") or [])),
}
_Records = Sequence[Mapping[str, Any]]
_ById = Mapping[str, Mapping[str, Any]] | None


def score(attempts: Sequence[Attempt], verdicts: _ById = None, answers: _ById = None) -> list[dict[str, Any]]:
    """Score attempts, one per instruction: calls against golden ones, the validity of every call, and a verdict by
    rules. Failed or missing ones score nothing, but count.

    Args:
        verdicts (`Mapping[str, Mapping]`, *optional*): A judge's, by instruction id; see [`Judge`].
        answers (`Mapping[str, Mapping]`, *optional*): BFCL's, by instruction id: records then have `ast`, whether
            [`ast_verdict`] accepts the calls, with its `ast_reason`.

    Returns:
        `list[dict]`: For each attempt `id`, `api` (the published name), `index`, `category`, `instruction`,
            `golden_calls`, `ended`, `error`, `failed`, the results of [`metrics.match_calls`], `validity`,
            `process_verdict` (`"Yes"` or `"No"`) with its `reason`, `reward` ([`metrics.process_reward`], which
            `environments` give), and `judge` if there are verdicts.

    Example:

    ```python
    >>> from toolalpaca_hf.evaluation import read_suite
    >>> suite = read_suite("sample")
    >>> score([Attempt(suite.apis[0], 0, suite.instructions[0], None, "missing")])[0]["process_verdict"]
    'No'
    ```
    """
    records = []
    for attempt in attempts:
        asked, made = attempt.instruction, None if attempt.failed else attempt.trajectory
        steps = made.steps if made else []
        record: dict[str, Any] = {
            "id": asked.id,
            "api": attempt.api.name,
            "index": attempt.index,
            "category": attempt.api.category,
            "instruction": asked.instruction,
            "golden_calls": [asdict(call) for call in asked.golden_calls],
            "ended": attempt.ended,
            "error": attempt.error,
            "failed": attempt.failed,
            **match_calls(asked.golden_calls, steps, attempt.api, asked.instruction),
            "validity": call_validity(attempt.api, steps),
        }
        if answers and asked.id in answers:
            reason = ast_verdict(steps, **answers[asked.id])
            record |= {"ast": not reason, "ast_reason": reason}
        if made is None:
            reason = f"{attempt.ended}: {attempt.error or 'no trajectory'}"
            record |= {"process_verdict": "No", "reason": reason, "reward": 0.0}
        else:
            verdict = judge_process(attempt.api, asked, steps)
            reward = process_reward(attempt.api, asked, steps, made.response, faults=attempt.faults)
            record |= {"process_verdict": verdict.verdict, "reason": verdict.reason, "reward": reward.value}
            record |= {"recovered": reward.parts["process"] == 1} if attempt.faults else {}
        if attempt.faults:
            record["faults"] = list(attempt.faults)
        if verdicts is not None:
            none = {"process": None, "response": None, "text": "", "error": attempt.error or attempt.ended}
            record["judge"] = dict(verdicts.get(asked.id, none))
        records.append(record)
    return records


def aggregate(records: _Records, suite: str, model: str, settings: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Rates over an evaluation's records. Failed and missing instructions count as failures in every denominator.

    `records` are one per instruction, as in `instructions.json`; `settings` is what is known of how they were made.
    Without a record, or with a figure that is no share, there is an [`InputError`].

    Returns:
        `dict`: The contents of `metrics.json`. Each rate is `{"value", "low", "high", "n"}`, see [`statistics.rate`]:

        - `suite`, `model`, `n`, `failed` (a failed rollout or row), `missing` (no attempt at all);
        - `calls`, the rates of [`metrics.match_calls`];
        - `validity`, as shares of all steps: `well_formed`, `known_function`, `json_object`, `valid_arguments`; of all
          calls of API functions: `answered_2xx`; of all errors: `recovered_errors`; and of all instructions, those
          with any: `hallucinated`, `repeated_identical`. A share of nothing is `None`;
        - `process_verdict`, the share of Yes, and `reward`, the mean reward; of several trials, the means over them;
        - if a simulator failed on purpose, `recovery`: of the instructions that met a fault, and by kind of fault, the
          share that ended right by rule, calls that failed left out (`recovered` in the records);
        - if records have a judge's verdicts: `judge`, in upstream's layout, `judge_rates` (`process`, `response`,
          `both`: shares of Yes of all instructions) and `agreement` of `process_verdict` with the judge's;
        - `by`, for each `api`, `category` and number of `golden_calls`: `n`, `failed`, `missing`, and the rates
          `all_functions`, `arguments`, `process_verdict` and, with a judge, `judge_process`;
        - `errors`, counts by kind, most frequent first; and `settings`.

    Example:

    ```python
    >>> record = {"api": "Tides", "index": 0, "failed": False, "all_functions": True, "process_verdict": "Yes"}
    >>> metrics = aggregate([record, record | {"index": 1, "all_functions": False}], "sample", "mine")
    >>> metrics["n"], metrics["calls"]["all_functions"]["value"], metrics["process_verdict"]["value"]
    (2, 0.5, 1.0)
    ```
    """
    if not records:
        raise InputError("there is no instruction to score", fix="pass a suite that has instructions")
    apis = [record["api"] for record in records]
    judged = any(record.get("judge") for record in records)
    metrics: dict[str, Any] = {
        "suite": suite,
        "model": model,
        **_counts(records),
        "calls": rates(_columns(records, CALL_METRICS), apis),
        "validity": _validity(records, apis),
        **rates(_columns(records, ("process_verdict", "reward")), apis),
    }
    if any(record.get("faults") for record in records):
        metrics["recovery"] = _recovery(records)
    if judged:
        given = [{"process": process, "response": response} for process, response in map(_pair, records)]
        metrics["judge"] = judge_statistics(given, len(records))
        metrics["judge_rates"] = rates(judged_right(records), apis)
        by_rule = [record.get("process_verdict") for record in records]
        metrics["agreement"] = agreement(by_rule, [verdict["process"] for verdict in given], apis)
    metrics["by"] = {by: _by(records, group, judged) for by, group in GROUPS.items()}
    kinds: Counter[str] = Counter()
    for record in records:
        kinds.update((record.get("validity") or {}).get("error_kinds") or {})
    metrics["errors"] = dict(sorted(kinds.items(), key=lambda kind: (-kind[1], kind[0])))
    return metrics | {"settings": dict(settings or {})}


def _pair(record: Mapping[str, Any]) -> tuple[str | None, str | None]:
    judge = record.get("judge") or {}
    return judge.get("process"), judge.get("response")


def _counts(records: _Records) -> dict[str, int]:
    missing = sum(record.get("ended") == "missing" for record in records)
    failed = sum(bool(record.get("failed")) for record in records) - missing
    return {"n": len(records), "failed": failed, "missing": missing}


def _columns(records: _Records, names: Sequence[str]) -> dict[str, list[float]]:
    """The columns of figures, if any: records that are only verdicts have none."""

    def value(record: Mapping[str, Any], name: str) -> float:
        share = solved(record) if name == "process_verdict" else float(record.get(name) or 0)
        # The weights of a reward's parts add up to 1, but for the rounding of their sum.
        return min(1.0, share) if name == "reward" else share

    there = [name for name in names if any(name in record for record in records)]
    return {name: [value(record, name) for record in records] for name in there}


def _recovery(records: _Records) -> dict[str, Any]:
    met = [record for record in records if record.get("faults")]
    kinds = sorted({kind for record in met for kind in record["faults"]})
    groups = {"any": met} | {kind: [record for record in met if kind in record["faults"]] for kind in kinds}
    return {
        name: rate([bool(record.get("recovered")) for record in group], [record["api"] for record in group])
        for name, group in groups.items()
    }


def judged_right(records: _Records) -> dict[str, list[bool]]:
    """Whether the judge said Yes to the process, to the response, and to both; half a verdict is an error."""
    pairs = [pair if None not in pair else ("", "") for pair in map(_pair, records)]
    process, response = ([said == "Yes" for said in side] for side in zip(*pairs, strict=True))
    return {"process": process, "response": response, "both": [pair == ("Yes", "Yes") for pair in pairs]}


def _validity(records: _Records, apis: Sequence[str]) -> dict[str, Any]:
    found = [record.get("validity") or {} for record in records]
    if not any(found):
        return {}
    shares: dict[str, Any] = {}
    for whole in dict.fromkeys(WHOLES.values()):
        parts = [name for name, total in WHOLES.items() if total == whole]
        columns = {name: [counts.get(name, 0) for counts in found] for name in parts}
        shares |= rates(columns, apis, [counts.get(whole, 0) for counts in found])
    any_of = {name: [bool(counts.get(name)) for counts in found] for name in ("hallucinated", "repeated_identical")}
    return shares | rates(any_of, apis)


def _by(records: _Records, group: Callable[[Mapping[str, Any]], str], judged: bool) -> dict[str, Any]:
    members: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for record in records:
        members[group(record)].append(record)
    found = {}
    # Numbers of golden calls in their order, names in theirs.
    for name in sorted(members, key=lambda name: (not name.isdecimal(), len(name) if name.isdecimal() else 0, name)):
        rows = members[name]
        columns = _columns(rows, ("all_functions", "arguments", "process_verdict"))
        if judged:
            columns["judge_process"] = list(map(float, judged_right(rows)["process"]))
        found[name] = _counts(rows) | rates(columns, [row["api"] for row in rows])
    return found
