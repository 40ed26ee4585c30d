"""Paired differences against all flips by hand, scipy's tests, and models that are known to be equal."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, permutation_test

from toolalpaca_hf.errors import InputError
from toolalpaca_hf.evaluation.statistics import paired, sign_flips

TEN_APIS = [f"api {i // 10}" for i in range(100)]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(-6, 6), min_size=1, max_size=9))
def test_flips_are_all_flips_in_a_loop(sums: list[int]) -> None:
    observed = abs(sum(sums))
    totals = [
        abs(sum(sign * one for sign, one in zip(signs, sums, strict=True)))
        for signs in product((1, -1), repeat=len(sums))
    ]
    assert sign_flips(np.array(sums, dtype=float)) == pytest.approx(
        sum(total >= observed for total in totals) / len(totals)
    )


def test_flips_are_scipy_s_paired_permutations() -> None:
    a, b = np.array([0.7, 0.4, 0.9, 0.3, 0.8, 0.6, 0.5]), np.array([0.5, 0.5, 0.4, 0.2, 0.3, 0.6, 0.1])
    expected = permutation_test((a, b), lambda x, y: np.mean(x - y), permutation_type="samples", n_resamples=np.inf)
    assert sign_flips(a - b) == pytest.approx(expected.pvalue)


def test_sampled_flips_are_near_the_exact_ones() -> None:
    few = np.arange(1, 17) - 6.25
    exact = sign_flips(few)
    # One more cluster, too small to matter, and the flips are drawn.
    sampled = sign_flips(np.append(few, 1e-12))
    assert sampled == pytest.approx(exact, abs=4 * (exact * (1 - exact) / 20_000) ** 0.5)
    assert sampled == sign_flips(np.append(few, 1e-12)) != exact
    assert 0 < sign_flips(np.full(200, 1.0)) < 0.001  # never 0: what was observed is one of the ways


def test_a_case_by_hand() -> None:
    a = [1, 1, 0, 1, 0, 0.5]
    b = [0, 1, 1, 0, 0, 0.0]
    found = paired(a, b, ["a", "a", "b", "b", "c", "c"])
    assert found["difference"] == pytest.approx(1.5 / 6)
    assert (found["wins"], found["losses"], found["n"]) == (3, 1, 6)
    assert (found["test"], found["p_apis_flipped"]) == ("sign test", None)
    assert found["p_value"] == found["p_sign_test"] == pytest.approx(10 / 16)  # 2 * (1 + 4) of 2 ** 4


def test_the_headline_is_the_flips_with_six_apis() -> None:
    clusters = [f"api {i // 3}" for i in range(18)]
    found = paired([1] * 18, [0] * 18, clusters)
    assert found["test"] == "APIs flipped" and found["p_value"] == found["p_apis_flipped"] == 2 / 2**6
    assert found["p_sign_test"] == pytest.approx(binomtest(18, 18).pvalue) and found["p_sign_test"] < found["p_value"]
    assert paired([1] * 15, [0] * 15, clusters[:15])["test"] == "sign test"


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.sampled_from("abcdefgh")), min_size=1, max_size=60))
def test_changing_places_turns_the_sign(rows: list[tuple[bool, bool, str]]) -> None:
    a, b, clusters = zip(*rows, strict=True)
    one, other = paired(a, b, clusters), paired(b, a, clusters)
    assert one["difference"] == -other["difference"] and one["p_value"] == pytest.approx(other["p_value"])
    assert (one["wins"], one["losses"]) == (other["losses"], other["wins"])
    assert -1 <= one["low"] <= one["difference"] <= one["high"] <= 1
    assert one["high"] - one["low"] > 0.01


def test_a_run_and_itself() -> None:
    values = [i % 3 == 0 for i in range(100)]
    found = paired(values, values, TEN_APIS)
    assert (found["difference"], found["p_value"], found["wins"], found["losses"]) == (0, 1, 0, 0)
    # Agresti and Min: half a pair in each cell, so sqrt(1) / 102 is the standard error.
    assert (found["low"], found["high"]) == pytest.approx((-1.96 / 102, 1.96 / 102), abs=1e-6)


def test_what_cannot_be_paired_is_refused() -> None:
    with pytest.raises(InputError, match="2 and 1 values for 2 instructions"):
        paired([1, 0], [1], ["a", "b"])
    with pytest.raises(InputError, match="0 instructions"):
        paired([], [], [])
    with pytest.raises(InputError, match="not between 0 and 1"):
        paired([1, float("nan")], [1, 1], ["a", "b"])


@pytest.mark.parametrize("spread", [0.0, 0.15, 0.3])
def test_equal_models_are_seldom_told_apart(spread: float) -> None:
    """Two models that are equal over all APIs, each better on some: the reason for the headline's test."""
    random = np.random.default_rng(3)
    flipped = sign = covered = 0
    for _ in range(600):
        base, difference = random.uniform(0.2, 0.8, 10), spread * random.normal(size=10)
        a, b = (np.clip(base + half * difference, 0, 1).repeat(10) for half in (0.5, -0.5))
        found = paired(random.random(100) < a, random.random(100) < b, TEN_APIS)
        flipped += found["p_apis_flipped"] <= 0.05
        sign += found["p_sign_test"] <= 0.05
        covered += found["low"] <= 0 <= found["high"]
    assert flipped / 600 < 0.07 and covered / 600 > 0.92
    assert (sign / 600 > 0.15) == (spread == 0.3)


def test_a_real_difference_is_found() -> None:
    random = np.random.default_rng(5)
    found = [paired(random.random(100) < 0.7, random.random(100) < 0.4, TEN_APIS) for _ in range(100)]
    assert sum(one["p_value"] < 0.05 for one in found) > 90
    assert sum(one["low"] <= 0.3 <= one["high"] for one in found) > 90
