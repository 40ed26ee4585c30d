"""Two models on the same instructions: how far apart they are, and whether that is more than chance."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import ToolAlpacaError
from .statistics import RESAMPLES, Z, cluster_sums, resampled, tails

EXACT_CLUSTERS = 16
SAMPLED_FLIPS = 20_000
# With fewer, no pattern of signs is rarer than 5%: 2 of 2 ** 5 are as extreme as all signs alike.
FEWEST_CLUSTERS = 6


def paired(
    a: Sequence[float | bool],
    b: Sequence[float | bool],
    clusters: Sequence[str],
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> dict[str, Any]:
    """Compare two models on the same instructions.

    The interval is [`statistics.rate`]'s on the differences, a bootstrap of APIs with expanded percentiles; its floor is
    Agresti and Min's adjusted interval for matched pairs (2005), so that two runs that agree everywhere have a width.

    There are two tests. The sign test (for yes and no: McNemar's exact test) takes instructions as independent; where
    one model is better on some APIs and the other on others, it sees differences that are not there: in a simulation of
    two equal models whose rates differ by API with a standard deviation of 0.3, 21% of its p-values are below 0.05, and
    5% of the other's. The other test flips the sign of the difference of whole APIs, which is exact under the hypothesis
    that the models could change places in every API; with 16 APIs at most it goes through all flips. This one is
    `p_value`, the headline, except with fewer than 6 APIs, where it can not fall below 0.05 whatever the data are: then
    it is the sign test, and `test` says so. Neither is corrected for looking at several metrics.

    Args:
        a (`Sequence[float | bool]`):
            One model's value for each instruction, between 0 and 1.
        b (`Sequence[float | bool]`):
            The other's, for the same instructions in the same order.
        clusters (`Sequence[str]`):
            The API of each instruction.
        seed (`int`, *optional*, defaults to `0`):
            Seed of the resampling, and of the flips where they are sampled.
        resamples (`int`, *optional*, defaults to `2000`):
            How many bootstrap samples are drawn.

    Returns:
        `dict`: `difference` (mean of `a` less mean of `b`), `low`, `high`, `p_value`, `n`, `wins` and `losses` (of `a`),
        `test` (`"APIs flipped"` or `"sign test"`), `p_apis_flipped` (`None` with fewer than 6 APIs)
        and `p_sign_test`.

    Raises:
        [`ToolAlpacaError`]: There is no instruction, the lengths differ, or a value is not between 0 and 1.

    Example:

    ```python
    >>> result = paired([1, 1, 1, 0], [0, 0, 1, 0], ["tides", "tides", "ports", "ports"])
    >>> result["difference"], result["wins"], result["losses"], result["p_value"], result["test"]
    (0.5, 2, 0, 0.5, 'sign test')
    ```
    """
    if not len(a) == len(b) == len(clusters) or not len(a):
        raise ToolAlpacaError(
            f"{len(a)} and {len(b)} values for {len(clusters)} instructions can not be paired; give one value of each "
            "model for each instruction, and at least one instruction"
        )
    first, second = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    if not np.all((first >= 0) & (first <= 1) & (second >= 0) & (second <= 1)):
        raise ToolAlpacaError("a value to compare is not between 0 and 1; correct that record")
    differences = first - second
    sums = cluster_sums(np.column_stack([differences, np.ones(len(differences))]), clusters)
    drawn = resampled(sums, seed, resamples)
    low, high = np.quantile(drawn[:, 0] / drawn[:, 1], tails(len(sums))).tolist()
    floor = _adjusted(differences)
    wins, losses = int((differences > 0).sum()), int((differences < 0).sum())
    several = len(set(clusters)) >= FEWEST_CLUSTERS
    flipped = sign_flips(sums[:, 0], seed) if several else None
    sign = _sign_test(wins, losses)
    return {
        "difference": float(differences.mean()),
        "low": max(-1.0, min(low, floor[0])),
        "high": min(1.0, max(high, floor[1])),
        "p_value": sign if flipped is None else flipped,
        "n": len(differences),
        "wins": wins,
        "losses": losses,
        "test": "APIs flipped" if several else "sign test",
        "p_apis_flipped": flipped,
        "p_sign_test": sign,
    }


def sign_flips(sums: np.ndarray, seed: int = 0) -> float:
    """The share of ways to give these sums signs that leave a total as far from 0 as theirs.

    Args:
        sums (`np.ndarray`): One sum a cluster. Up to 16 that are not 0, all ways are gone through; above, 20,000 drawn.
        seed (`int`, *optional*, defaults to `0`): Seed of the draws.

    Example:

    ```python
    >>> sign_flips(np.array([1, 2, 3]))  # only +++ and --- of 8
    0.25
    ```
    """
    moving = sums[sums != 0]
    if len(moving) <= EXACT_CLUSTERS:
        totals = np.zeros(1)
        for one in moving:
            totals = np.concatenate([totals + one, totals - one])
    else:
        signs = np.random.default_rng(seed).choice(np.array([-1.0, 1.0]), size=(SAMPLED_FLIPS, len(moving)))
        totals = np.append(signs @ moving, moving.sum())  # what was observed is one of the ways
    # The margin keeps totals that are equal but for rounding as extreme as what was observed.
    return float(np.mean(np.abs(totals) >= abs(moving.sum()) - 1e-9))


def _sign_test(wins: int, losses: int) -> float:
    if wins == losses:  # also no instruction at all
        return 1.0
    from scipy.stats import binomtest  # takes a second to import, and only a comparison needs it

    return float(binomtest(wins, wins + losses).pvalue)


def _adjusted(differences: np.ndarray) -> tuple[float, float]:
    """Agresti and Min's interval: the usual one after half a pair is added to each of the four cells."""
    n = len(differences) + 2
    mean = float(differences.sum()) / n
    error = (float((differences**2).sum()) + 1 - n * mean**2) ** 0.5 / n
    return mean - Z * error, mean + Z * error
