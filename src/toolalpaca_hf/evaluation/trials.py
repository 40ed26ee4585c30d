"""Repeated trials: pass@k and pass^k, where the variance comes from, and which differences can be shown."""

import math
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from math import comb
from pathlib import Path
from statistics import NormalDist, fmean, pvariance, variance
from typing import Any

from ..agent import Backend, RolloutConfig, RolloutsFailedError, run
from ..errors import OptionError
from ..storage import read_json
from .statistics import Z, rates

DETECT = Z + NormalDist().inv_cdf(0.8)  # standard errors of a difference that 80% of repetitions show at the 5% level

POINTS = 0.03  # the difference for which the needed trials and instructions are said
SCORES = ("ast", "process_verdict")  # what says that a trial solved its instruction; the first that records have


@dataclass(frozen=True)
class Trial:
    """The settings in which a trial differs from others; `user` is `"scripted"` where no model plays the user."""

    number: int
    sampling_seed: int
    simulator_seed: int
    user: str = "configured"

    def folder(self, out: Path) -> Path:
        """Where its rollouts are: the first trial's are those of an evaluation without trials."""
        return out / "rollouts" if self.number == 0 else out / "trials" / str(self.number)

    def settings(self) -> dict[str, Any]:
        """Fields of [`RolloutConfig`] that it sets."""
        scripted = {"user_endpoint": None, "user_model": None} if self.user == "scripted" else {}
        return {"seed": self.simulator_seed} | scripted


def plan_trials(config: RolloutConfig, trials: int = 1, vary_user: bool = False) -> list[Trial]:
    """The trials of an evaluation, nested so that their variance can be split: user, simulator seed, sampling.

    Sampled trials take two simulator seeds where each can have two of them or more, else one; greedy ones take one
    each, since nothing but the simulator differs between them.

    Where users vary, a scripted one takes half of the trials. Raises [`OptionError`] if trials would be identical, or
    cannot be halved.

    Example:

    ```python
    >>> [(trial.sampling_seed, trial.simulator_seed) for trial in plan_trials(RolloutConfig(temperature=0.7), 4)]
    [(0, 0), (1, 0), (2, 1), (3, 1)]
    ```
    """
    if vary_user and (not config.user_model or trials % 2):
        fix = "pass --user-endpoint, --user-model and an even number of --trials"
        raise OptionError("needs a model that plays the user, and trials to halve", option="--vary-user", fix=fix)
    seeded = not config.real and config.simulator == "embedded" and config.responder != "replay"
    users = ("configured", "scripted") if vary_user else ("configured",)
    each = trials // len(users)
    if each > 1 and not config.temperature and not seeded:
        problem = f"{trials} greedy trials against an API whose answers have no seed are one trial"
        raise OptionError(problem, option="--trials", fix="pass --temperature 0.7")
    seeds = 1 if not seeded else each if not config.temperature else 2 if each >= 4 and each % 2 == 0 else 1
    # Users meet seeds of their own: a shared one would hide in the difference between them.
    places = [(user, place * seeds + n * seeds // each) for place, user in enumerate(users) for n in range(each)]
    return [Trial(n, config.seed + n, config.seed + seed, user) for n, (user, seed) in enumerate(places)]


def run_trials(
    file: str | Path,
    backend: Backend | Callable[[], Backend],
    out: Path,
    config: RolloutConfig,
    plan: Sequence[Trial],
    **fields: Any,
) -> tuple[dict[str, Any], RolloutsFailedError | None]:
    """Run the trials of a plan, each in its [`Trial.folder`], with one model that keeps the caches of documentation.

    Returns the first trial's `run.json`, and the first error of a trial whose rollouts all failed.
    """
    notes, failure = [], None
    load = cache(backend) if callable(backend) else lambda: backend

    def seeded(seed: int) -> Backend:
        model = load()
        model.reseed(seed)
        return model

    for trial in plan:
        folder, model = trial.folder(out), backend if len(plan) == 1 else partial(seeded, trial.sampling_seed)
        try:
            notes.append(run(file, model, folder, replace(config, **trial.settings()), **fields))
        except RolloutsFailedError as error:
            failure = failure or error
            notes.append(read_json(folder / "run.json"))
    return notes[0], failure


def solved(record: Mapping[str, Any]) -> float:
    """Share of a record's trials whose process is right by rule; without trials, whether it is."""
    return float(record.get("solved", record.get("process_verdict") == "Yes"))


def merge_trials(scored: Sequence[Sequence[Mapping[str, Any]]], means: Sequence[str]) -> list[dict[str, Any]]:
    """The first trial's records, with the `means` over all, whether each is solved by [`SCORES`], and [`solved`]."""
    merged = []
    for rows in zip(*scored, strict=True):
        averaged = {name: fmean(float(row.get(name) or 0) for row in rows) for name in means if name in rows[0]}
        score = next(name for name in SCORES if name in rows[0])
        trials = [row.get(score) in (True, "Yes") for row in rows]
        merged.append({**rows[0], **averaged, "trials": trials, "solved": fmean(map(solved, rows))})
    return merged


def measure_trials(
    records: Sequence[Mapping[str, Any]], plan: Sequence[Trial], greedy: bool, judged: Sequence[Sequence[bool]] = ()
) -> dict[str, Any]:
    """What repeated trials say: pass@k, pass^k, the variance by source, and that between an instruction's trials."""
    apis, rows = [record["api"] for record in records], [list(map(bool, record["trials"])) for record in records]
    count, ks = len(plan), range(1, len(plan) + 1)
    # Whether one of k trials solves an instruction, or all do: unbiased from K >= k (arXiv 2406.12045, section 4).
    columns = {f"at {k}": [1 - comb(count - sum(row), k) / comb(count, k) for row in rows] for k in ks}
    columns |= {f"all {k}": [comb(sum(row), k) / comb(count, k) for row in rows] for k in ks}
    found = rates(columns, apis)
    within = fmean(variance(map(float, row)) for row in rows)
    return {
        "n": count,
        "plan": [asdict(trial) for trial in plan],
        "pass_at": {str(k): found[f"at {k}"] for k in ks},
        "pass_all": {str(k): found[f"all {k}"] for k in ks},
        "each": [fmean(column) for column in zip(*rows, strict=True)],
        "variance": _split(rows, plan, greedy, within)
        | {"judge": fmean(variance(map(float, verdicts)) for verdicts in judged) if judged else None},
        "within": within,
    }


def _split(rows: Sequence[Sequence[bool]], plan: Sequence[Trial], greedy: bool, within: float) -> dict[str, Any]:
    """Components of variance, by the mean squares of the nested plan; negative estimates are 0."""
    users = [[t.number for t in plan if t.user == user] for user in dict.fromkeys(t.user for t in plan)]
    cells = [
        [[n for n in user if plan[n].simulator_seed == seed] for seed in {plan[n].simulator_seed: 0 for n in user}]
        for user in users
    ]
    per_cell, per_user = len(cells[0][0]), len(cells[0])

    def means(row: Sequence[bool], groups: Sequence[Sequence[int]]) -> list[float]:
        return [fmean(row[n] for n in group) for group in groups]

    sampling = 0.0 if greedy else None
    if per_cell > 1:
        each = [[[float(row[n]) for n in cell] for user in cells for cell in user] for row in rows]
        sampling = fmean(fmean(map(variance, of_row)) for of_row in each)
    simulator = user = between = None
    if per_user > 1:
        between = fmean(fmean(variance(means(row, of)) for of in cells) for row in rows)
        simulator = None if sampling is None else max(0.0, between - sampling / per_cell)
    if len(users) > 1:
        below = (sampling or 0.0) / per_cell if between is None else between / per_user
        user = max(0.0, fmean(variance(means(row, users)) for row in rows) - below)
    instruction = max(0.0, pvariance([fmean(row) for row in rows]) - within / len(plan))
    return {"instruction": instruction, "sampling": sampling, "simulator": simulator, "user": user}


def detectable(found: Mapping[str, Any], within: float | None, n: int, trials: int) -> dict[str, Any]:
    """The smallest differences between two runs like this one that are shown, and what would show [`POINTS`]."""
    error = math.sqrt(2) * (found["high"] - found["low"]) / 2 / Z
    result: dict[str, Any] = {"points": POINTS, "other_instructions": DETECT * error}
    result["instructions"] = math.ceil(n * (DETECT * error / POINTS) ** 2)
    if within is not None:
        result |= {"within": within, "same_instructions": None, "trials": None}
    if within:  # where no trials differ, their variance is not known; models differ alike on each instruction
        result["same_instructions"] = DETECT * math.sqrt(2 * within / (n * trials))
        result["trials"] = max(1, math.ceil(2 * within / n * (DETECT / POINTS) ** 2))
    return result


def detectable_between(found: Mapping[str, Any], runs: Sequence[tuple[float | None, int]]) -> dict[str, Any]:
    """[`detectable`] from two runs' paired difference; of each run the variance within trials, and their number."""
    spread, wanted = ((found["high"] - found["low"]) / 2 / Z) ** 2, (POINTS / DETECT) ** 2
    result: dict[str, Any] = {"points": POINTS, "difference": DETECT * math.sqrt(spread)}
    result["instructions"] = math.ceil(found["n"] * spread / wanted)
    noise = [within for within, _ in runs if within is not None]
    if len(noise) == len(runs):
        made = sum(within / trials for within, (_, trials) in zip(noise, runs, strict=True)) / found["n"]
        room, result["within"] = wanted - max(0.0, spread - made), sum(noise)
        result["trials"] = math.ceil(sum(noise) / found["n"] / room) if room > 0 and sum(noise) else None
    return result


def repeat_verdicts(
    judge: Any, attempts: Sequence[Any], folder: Path, first: Mapping[str, Any], times: int
) -> list[list[bool]]:
    """Whether each of `times` verdicts on an attempt is a Yes, for attempts that have all of them."""
    verdicts = [first]
    for number in range(1, times):
        again = copy(judge)
        again.reseed(number)
        verdicts.append(again.judge(attempts, folder))
    found = [[verdict[attempt.instruction.id]["process"] for verdict in verdicts] for attempt in attempts]
    return [[said == "Yes" for said in row] for row in found if None not in row]
