"""Rates with a cluster bootstrap over APIs, because instructions of one API succeed and fail together.

How the interval was chosen, and its coverage, is in docs/design.md; `tests/evaluation/test_statistics.py` measures it.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from statistics import NormalDist
from typing import Any

import numpy as np

from ..errors import InputError

Z = NormalDist().inv_cdf(0.975)
RESAMPLES = 2000
EXACT_CLUSTERS = 16
SAMPLED_FLIPS = 20_000
# With fewer, no pattern of signs is rarer than 5%: 2 of 2 ** 5 are as extreme as all signs alike.
FEWEST_CLUSTERS = 6


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
    resamples = max(200, min(RESAMPLES, 10_000_000 // len(sums)))
    return _draws(len(sums), resamples).astype(float) @ sums


@lru_cache(maxsize=32)
def _draws(units: int, resamples: int) -> np.ndarray:
    """How often each bootstrap sample contains each unit; cached, since all rates of an evaluation share it."""
    drawn = np.random.default_rng(0).multinomial(units, np.full(units, 1 / units), size=resamples)
    return drawn.astype(np.int32)


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
        a, b (`Sequence[float | bool]`): Each model's value for each instruction, between 0 and 1 (else there is an
            [`InputError`]), in the same order.
        clusters (`Sequence[str]`): The API of each instruction.

    Returns:
        `dict`: `difference` (mean of `a` minus mean of `b`), `low`, `high`, `p_value`, `n`, `wins` and `losses` (of
            `a`), `test` (`"APIs flipped"` or `"sign test"`), `p_apis_flipped` (`None` with fewer than 6 APIs) and
            `p_sign_test`.

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
