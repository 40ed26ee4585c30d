"""Rates with a cluster bootstrap over APIs, because instructions of one API succeed and fail together; and repeated
trials: pass@k and pass^k, where the variance comes from, and which differences can be shown.

How the interval was chosen, and its coverage, is in docs/design.md; `tests/evaluation/test_statistics.py` measures it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from math import comb
from pathlib import Path
from statistics import NormalDist, fmean, variance
from typing import Any

import numpy as np

from ..agent import RolloutConfig
from ..errors import InputError, OptionError

Z = NormalDist().inv_cdf(0.975)
RESAMPLES = 2000
EXACT_CLUSTERS = 16
SAMPLED_FLIPS = 20_000
# With fewer, no pattern of signs is rarer than 5%: 2 of 2 ** 5 are as extreme as all signs alike.
FEWEST_CLUSTERS = 6

DETECT = Z + NormalDist().inv_cdf(0.8)  # standard errors of a difference that 80% of repetitions show at the 5% level

POINTS = 0.03  # the difference for which the needed trials and instructions are said
SCORES = ("ast", "process_verdict")  # what says that a trial solved its instruction; the first that records have


def rate(values: Sequence[float | bool], clusters: Sequence[str]) -> dict[str, float | int | None]:
    """The mean of shares with its 95% interval: a bootstrap of APIs, the `clusters`, united with Wilson's."""
    return rates({"rate": values}, clusters)["rate"]


def rates(
    columns: Mapping[str, Sequence[float | bool]], clusters: Sequence[str], totals: Sequence[float] | None = None
) -> dict[str, dict[str, float | int | None]]:
    """Several [`rate`]s from the same resamples; with `totals`, shares of the sum of these, such as steps."""
    whole = np.ones(len(clusters)) if totals is None else np.asarray(totals, dtype=float)
    for name, values in columns.items():
        if len(values) != len(clusters):
            raise InputError(f"{name} has {len(values)} values for {len(clusters)} instructions")
        column = np.asarray(values, dtype=float)
        if not np.all((column >= 0) & (column <= whole)):  # written so that NaN fails
            raise InputError(f"{name} has a value that is not a share, from 0 to its whole")
    seen = whole > 0  # an instruction without a step says nothing about steps
    n = int(whole.sum())
    if not seen.any():
        return {name: {"value": None, "low": None, "high": None, "n": 0} for name in columns}
    kept = np.column_stack([*columns.values(), whole])[seen]
    sums = cluster_sums(kept, np.asarray(clusters, dtype=str)[seen])
    drawn = resampled(sums)
    low, high = np.quantile(drawn[:, :-1] / drawn[:, -1:], tails(len(sums)), axis=0)
    values = kept[:, :-1].sum(axis=0) / n
    result = {}
    for name, value, least, most in zip(columns, values.tolist(), low.tolist(), high.tolist(), strict=True):
        floor = wilson(value, int(seen.sum()))
        result[name] = {"value": value, "low": min(least, floor[0]), "high": max(most, floor[1]), "n": n}
    return result


def wilson(value: float, n: int) -> tuple[float, float]:
    """Wilson's 95% interval of a proportion of `n` independent cases."""
    center = (value + Z * Z / (2 * n)) / (1 + Z * Z / n)
    half = Z / (1 + Z * Z / n) * (value * (1 - value) / n + Z * Z / (4 * n * n)) ** 0.5
    # Exact at the ends, where the formula leaves a rounding error on the wrong side of the value.
    return min(value, max(0.0, center - half)), max(value, min(1.0, center + half))


def cluster_sums(rows: np.ndarray, clusters: Sequence[str] | np.ndarray) -> np.ndarray:
    """Sums of rows by cluster; of one cluster the rows themselves, whose interval then covers that API only."""
    names, places = np.unique(np.asarray(clusters, dtype=str), return_inverse=True)
    if len(names) < 2:
        return np.asarray(rows, dtype=float)
    sums = np.zeros((len(names), rows.shape[1]))
    np.add.at(sums, places, rows)
    return sums


def resampled(sums: np.ndarray) -> np.ndarray:
    """The columns' sums `(resamples, columns)` in each bootstrap sample of the rows of `sums`: 2,000 samples, of tens
    of thousands of rows fewer, since memory for all their draws would say nothing more."""
    return _draws(len(sums), max(200, min(RESAMPLES, 10_000_000 // len(sums)))).astype(float) @ sums


@lru_cache(maxsize=32)
def _draws(units: int, resamples: int) -> np.ndarray:
    """How often each bootstrap sample contains each unit; cached, since all rates of an evaluation share it."""
    return np.random.default_rng(0).multinomial(units, np.full(units, 1 / units), size=resamples).astype(np.int32)


def tails(units: int) -> tuple[float, float]:
    """The percentiles of a bootstrap of `units` units that give a 95% interval, expanded for few units."""
    if units < 2:
        return 0.0, 1.0
    from scipy.special import stdtrit  # takes a moment to import, as below

    low = NormalDist().cdf(-((units / (units - 1)) ** 0.5) * float(stdtrit(units - 1, 0.975)))
    return low, 1 - low


def paired(a: Sequence[float | bool], b: Sequence[float | bool], clusters: Sequence[str]) -> dict[str, Any]:
    """Compare two models on the same instructions.

    The interval is [`rate`]'s on the differences; its floor is Agresti and Min's adjusted interval for matched pairs
    (2005), so that two runs that agree everywhere have a width.

    There are two tests. The headline `p_value` flips the sign of the difference of whole APIs, which is exact under
    the hypothesis that the models are exchangeable in every API (all flips for up to 16 APIs, else 20,000 sampled).
    With fewer than 6 APIs it cannot fall below 0.05, and the sign test (for yes and no: McNemar's exact test) is used.
    That one assumes independent instructions: of two equal models whose rates differ by API with a standard deviation
    of 0.3, 21% of its p-values are below 0.05 in a simulation. Neither is corrected for looking at several metrics.

    Args:
        a, b (`Sequence[float | bool]`): Each model's value for each instruction, from 0 to 1 (else [`InputError`]).
        clusters (`Sequence[str]`): The API of each instruction.

    Returns:
        `dict`: `difference` (mean of `a` minus that of `b`), `low`, `high`, `p_value`, `n`, `wins` and `losses` (of
            `a`), `test` (`"APIs flipped"`, `"sign test"`), `p_apis_flipped` (`None` below 6 APIs), `p_sign_test`.

    Example:

    ```python
    >>> result = paired([1, 1, 1, 0], [0, 0, 1, 0], ["tides", "tides", "ports", "ports"])
    >>> result["difference"], result["wins"], result["losses"], result["p_value"], result["test"]
    (0.5, 2, 0, 0.5, 'sign test')
    ```
    """
    if not len(a) == len(b) == len(clusters) or not len(a):
        raise InputError(f"{len(a)} and {len(b)} values for {len(clusters)} instructions cannot be paired")
    first, second = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    if not np.all((first >= 0) & (first <= 1) & (second >= 0) & (second <= 1)):
        raise InputError("a value to compare is not between 0 and 1")
    differences = first - second
    sums = cluster_sums(np.column_stack([differences, np.ones(len(differences))]), clusters)
    drawn = resampled(sums)
    low, high = np.quantile(drawn[:, 0] / drawn[:, 1], tails(len(sums))).tolist()
    # Agresti and Min's floor: the usual interval after half a pair is added to each of the four cells.
    n = len(differences) + 2
    mean = float(differences.sum()) / n
    half = Z * (float((differences**2).sum()) + 1 - n * mean**2) ** 0.5 / n
    wins, losses = int((differences > 0).sum()), int((differences < 0).sum())
    several = len(set(clusters)) >= FEWEST_CLUSTERS
    flipped = sign_flips(sums[:, 0]) if several else None
    from scipy.special import bdtr

    sign = min(1.0, 2 * float(bdtr(min(wins, losses), wins + losses, 0.5)))
    return {
        "difference": float(differences.mean()),
        "low": max(-1.0, min(low, mean - half)),
        "high": min(1.0, max(high, mean + half)),
        "p_value": sign if flipped is None else flipped,
        "n": len(differences),
        "wins": wins,
        "losses": losses,
        "test": "APIs flipped" if several else "sign test",
        "p_apis_flipped": flipped,
        "p_sign_test": sign,
    }


def sign_flips(sums: np.ndarray) -> float:
    """Share of sign assignments to the clusters' sums whose total is at least as far from 0 as the observed one."""
    moving = sums[sums != 0]
    if len(moving) <= EXACT_CLUSTERS:
        totals = np.zeros(1)
        for step in moving:
            totals = np.concatenate([totals + step, totals - step])
    else:
        signs = np.random.default_rng(0).choice(np.array([-1.0, 1.0]), size=(SAMPLED_FLIPS, len(moving)))
        totals = np.append(signs @ moving, moving.sum())  # what was observed is one of the ways
    # The margin keeps totals that are equal but for rounding as extreme as what was observed.
    return float(np.mean(np.abs(totals) >= abs(moving.sum()) - 1e-9))


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

    Where users vary, a scripted one takes half. Raises [`OptionError`] if trials would be one, or cannot be halved.

    Example:

    ```python
    >>> [(trial.sampling_seed, trial.simulator_seed) for trial in plan_trials(RolloutConfig(temperature=0.7), 4)]
    [(0, 0), (1, 0), (2, 1), (3, 1)]
    ```
    """
    if vary_user and (not config.user_model or trials % 2):
        raise OptionError("needs --user-model and an even number of --trials", option="--vary-user", fix="pass both")
    seeded = not config.real and config.simulator == "embedded" and config.responder != "replay"
    users = ("configured", "scripted") if vary_user else ("configured",)
    each = trials // len(users)
    if each > 1 and not config.temperature and not seeded:
        raise OptionError(
            "greedy trials of answers without a seed are one", option="--trials", fix="set --temperature"
        )
    seeds = 1 if not seeded else each if not config.temperature else 2 if each >= 4 and each % 2 == 0 else 1
    # Users meet seeds of their own: a shared one would hide in the difference between them.
    places = [(user, place * seeds + n * seeds // each) for place, user in enumerate(users) for n in range(each)]
    return [Trial(n, config.seed + n, config.seed + seed, user) for n, (user, seed) in enumerate(places)]


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
    users, cells = len({trial.user for trial in plan}), len({(trial.user, trial.simulator_seed) for trial in plan})
    # Trials are in the order of their users, then of their seeds, of each as many.
    each = np.array(rows, dtype=float).reshape(len(rows), users, cells // users, len(plan) // cells)
    of_cells, per_user, per_cell = each.mean(axis=3), *each.shape[2:]
    sampling = 0.0 if greedy else None
    if per_cell > 1:
        sampling = float(each.var(axis=3, ddof=1).mean())
    simulator = user = between = None
    if per_user > 1:
        between = float(of_cells.var(axis=2, ddof=1).mean())
        simulator = None if sampling is None else max(0.0, between - sampling / per_cell)
    if users > 1:
        below = (sampling or 0.0) / per_cell if between is None else between / per_user
        user = max(0.0, float(of_cells.mean(axis=2).var(axis=1, ddof=1).mean()) - below)
    instruction = max(0.0, float(each.mean(axis=(1, 2, 3)).var()) - within / len(plan))
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
