"""Rates and intervals against plain loops, scipy, cases by hand, and samples whose true rate is known."""

import math
from collections import defaultdict
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtr, stdtrit
from scipy.stats import binomtest

from toolalpaca_hf.errors import InputError
from toolalpaca_hf.evaluation import statistics
from toolalpaca_hf.evaluation.statistics import _draws, rate, rates, tails, wilson

PORTS = ["brest"] * 3 + ["cork"] * 2 + ["nantes"] * 4


def bootstrap_in_a_loop(
    values: list[float], totals: list[float], clusters: list[str], draws: np.ndarray
) -> list[float]:
    """The bootstrap of APIs as one would explain it: put the drawn APIs' instructions in a pile, and divide."""
    names = sorted(set(clusters))
    shares = []
    for draw in draws:
        pile = []
        for name, times in zip(names, draw, strict=True):
            pile += [i for i in range(len(values)) if clusters[i] == name] * int(times)
        shares.append(sum(values[i] for i in pile) / sum(totals[i] for i in pile))
    return sorted(shares)


def percentile(ordered: list[float], share: float) -> float:
    place = share * (len(ordered) - 1)
    below, above = ordered[math.floor(place)], ordered[math.ceil(place)]
    return below + (place - math.floor(place)) * (above - below)


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_a_rate_is_that_of_a_plain_loop(data: st.DataObject) -> None:
    n = data.draw(st.integers(2, 20))
    clusters = data.draw(st.lists(st.sampled_from(["a", "b", "c", "d", "e"]), min_size=n, max_size=n))
    totals = data.draw(st.lists(st.integers(1, 4), min_size=n, max_size=n))
    values = [data.draw(st.integers(0, total)) for total in totals]
    units = len(set(clusters))
    with patch.object(statistics, "RESAMPLES", 200):
        found = rates({"share": values}, clusters, totals=totals)["share"]
    if units == 1:  # then instructions are the units
        clusters, units = [f"{i:03}" for i in range(n)], n
    shares = bootstrap_in_a_loop(values, totals, clusters, _draws(units, 200))
    floor = wilson(sum(values) / sum(totals), n)
    low, high = tails(units)
    assert found["value"] == pytest.approx(sum(values) / sum(totals)) and found["n"] == sum(totals)
    assert found["low"] == pytest.approx(min(percentile(shares, low), floor[0]))
    assert found["high"] == pytest.approx(max(percentile(shares, high), floor[1]))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.sampled_from("abcdef")), min_size=1, max_size=40))
def test_an_interval_holds_its_value_and_has_a_width(rows: list[tuple[float, str]]) -> None:
    found = rate([value for value, _ in rows], [name for _, name in rows])
    assert 0 <= found["low"] <= found["value"] <= found["high"] <= 1
    assert found["high"] - found["low"] > 0.05


def test_the_order_of_instructions_and_the_names_of_apis_say_nothing() -> None:
    values = [1, 0, 1, 1, 1, 0, 0, 1, 1]
    order = [8, 1, 4, 0, 3, 2, 7, 6, 5]
    assert rate([values[i] for i in order], [PORTS[i] for i in order]) == rate(values, PORTS)
    assert rate(values, [f"the {port}" for port in PORTS]) == rate(values, PORTS)


def test_draws_are_fair_and_the_same_each_time() -> None:
    draws = _draws(10, 2000)
    assert (draws.sum(axis=1) == 10).all()
    assert draws.mean(axis=0) == pytest.approx(np.ones(10), abs=0.1)
    assert draws.var(axis=0) == pytest.approx(np.full(10, 0.9), abs=0.15)  # a binomial of 10 times 1/10
    _draws.cache_clear()
    assert (_draws(10, 2000) == draws).all()


@pytest.mark.parametrize("right", [0, 1, 37, 99, 100])
def test_wilson_is_scipy_s(right: int) -> None:
    expected = binomtest(right, 100).proportion_ci(method="wilson")
    assert wilson(right / 100, 100) == pytest.approx((expected.low, expected.high), abs=1e-12)


@pytest.mark.parametrize("right", [True, False])
def test_all_alike_has_wilson_s_width(right: bool) -> None:
    found = rate([right] * 100, [f"api {i % 10}" for i in range(100)])
    expected = binomtest(100 * right, 100).proportion_ci(method="wilson")
    assert (found["low"], found["high"]) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert found["value"] == right


def test_percentiles_are_expanded_by_student_s_t() -> None:
    for units in (5, 10, 11, 100):
        assert tails(units)[0] == pytest.approx(ndtr(-math.sqrt(units / (units - 1)) * stdtrit(units - 1, 0.975)))
    assert tails(2)[0] < 1e-6 and tails(3)[0] < 2e-4  # the extremes of any bootstrap


def test_unlike_apis_make_it_wider() -> None:
    clusters = [f"api {i // 10}" for i in range(100)]
    alike = rate([i % 2 for i in range(100)], clusters)
    unlike = rate([i < 50 for i in range(100)], clusters)
    assert alike["value"] == unlike["value"] == 0.5
    assert unlike["high"] - unlike["low"] > 3 * (alike["high"] - alike["low"])


def test_an_instruction_without_steps_says_nothing_about_steps() -> None:
    with_it = rates({"known": [2, 0, 1, 3]}, ["a", "a", "b", "c"], totals=[2, 0, 2, 4])
    assert with_it == rates({"known": [2, 1, 3]}, ["a", "b", "c"], totals=[2, 2, 4])
    assert with_it["known"]["n"] == 8


def test_nothing_at_all() -> None:
    assert rate([], []) == {"value": None, "low": None, "high": None, "n": 0}
    assert rates({"known": [0, 0]}, ["a", "b"], totals=[0, 0])["known"]["value"] is None


@pytest.mark.parametrize("value", [1.5, -0.1, math.nan, math.inf])
def test_what_is_no_share_is_named(value: float) -> None:
    with pytest.raises(InputError, match="f1 has a value that is not a share"):
        rates({"arguments": [1, 1], "f1": [1, value]}, ["a", "b"])


def test_a_value_too_few_is_named() -> None:
    with pytest.raises(InputError, match="f1 has 1 values for 2 instructions"):
        rates({"f1": [1]}, ["a", "b"])


def coverage(p: float, correlation: float, samples: int = 2000) -> float:
    """How often the interval has the true rate, over 10 APIs of 10 instructions with beta-distributed rates."""
    random = np.random.default_rng(7)
    clusters = [f"api {i // 10}" for i in range(100)]
    spread = (1 - correlation) / correlation if correlation else 1e9
    hits = 0
    for _ in range(samples):
        own = random.beta(p * spread, (1 - p) * spread, 10)
        found = rate(random.random(100) < np.repeat(own, 10), clusters)
        hits += found["low"] <= p <= found["high"]
    return hits / samples


@pytest.mark.parametrize(
    ("p", "correlation", "least", "most"),
    [
        (0.6, 0, 0.94, 0.99),
        (0.1, 0, 0.94, 0.99),
        (0.6, 0.1, 0.92, 0.98),
        (0.1, 0.1, 0.92, 0.98),
        (0.6, 0.3, 0.91, 0.97),
    ],
)
def test_the_interval_has_the_true_rate_as_often_as_it_says(
    p: float, correlation: float, least: float, most: float
) -> None:
    assert least <= coverage(p, correlation) <= most


def test_rates_share_their_resamples() -> None:
    """What makes an evaluation's 30 rates cheap: a resample is drawn once for each number of APIs."""
    _draws.cache_clear()
    by_api: dict[str, list[int]] = defaultdict(list)
    clusters = [f"api {i % 10}" for i in range(100)]
    for i, name in enumerate(clusters):
        by_api[name].append(i)
    for name, rows in by_api.items():
        rate([i % 3 == 0 for i in rows], [name] * len(rows))
    rate([i % 3 == 0 for i in range(100)], clusters)
    assert _draws.cache_info().misses == 1  # 10 APIs, and 10 instructions in each
