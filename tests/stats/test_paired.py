"""Paired means against scipy, brute force, and simulated truths."""

import itertools
import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from surgery.errors import DataError
from surgery.stats import paired_means


def normal(n: int, seed: int = 0) -> NDArray[np.float64]:
    return np.random.default_rng(seed).normal(size=n)


def test_many_samples_equal_scipys_paired_t() -> None:
    before, after = normal(80, 1), normal(80, 2) + 0.3
    effect = paired_means(before, after, confidence=0.9)
    truth = stats.ttest_rel(after, before)
    interval = truth.confidence_interval(0.9)
    assert effect.p == pytest.approx(truth.pvalue)
    assert (effect.low, effect.high) == pytest.approx((interval.low, interval.high))
    assert effect.delta == pytest.approx(after.mean() - before.mean())
    assert effect.n == 80 and effect.method == "paired t"


@pytest.mark.parametrize("n", [2, 5, 9])
def test_few_samples_equal_all_sign_flips_by_brute_force(n: int) -> None:
    before, after = normal(n, 3), normal(n, 4) + 0.5
    differences = after - before
    observed = abs(differences.mean())
    flips = [
        abs(float(np.mean(differences * signs)))
        for signs in itertools.product((-1, 1), repeat=n)
    ]
    truth = np.mean([flip >= observed - 1e-12 for flip in flips])
    assert paired_means(before, after).p == pytest.approx(float(truth))


def test_a_seed_decides_a_permutation_test_that_cannot_be_exact() -> None:
    before, after = normal(25, 5), normal(25, 6) + 0.2
    one, same, other = (paired_means(before, after, seed=s).p for s in (0, 0, 1))
    assert one == same
    assert one != other
    assert one == pytest.approx(stats.ttest_rel(after, before).pvalue, abs=0.02)


def test_truth_values_use_mcnemar_and_bonett_price() -> None:
    before = np.array([True] * 50 + [False] * 50)
    after = before.copy()
    after[:12] = False
    after[50:53] = True
    effect = paired_means(before, after)
    assert effect.p == pytest.approx(stats.binomtest(3, 15, 0.5).pvalue)
    assert effect.delta == pytest.approx(-0.09)
    assert effect.low < effect.delta < effect.high
    assert "McNemar" in effect.method


def test_equal_truth_values_still_have_an_interval_of_some_width() -> None:
    right = np.ones(20)
    effect = paired_means(right, right)
    assert (effect.delta, effect.p) == (0, 1)
    assert effect.low < 0 < effect.high


def test_weighted_means_are_ratios_and_delta_is_their_difference() -> None:
    before, after = normal(60, 7), normal(60, 8)
    weights = np.random.default_rng(9).integers(1, 9, 60).astype(float)
    effect = paired_means(before, after, weights)
    assert effect.baseline == pytest.approx(np.average(before, weights=weights))
    assert effect.value == pytest.approx(np.average(after, weights=weights))
    assert effect.delta == pytest.approx(effect.value - effect.baseline)


def test_equal_weights_change_nothing() -> None:
    before, after = normal(60, 10), normal(60, 11)
    plain = paired_means(before, after)
    weighted = paired_means(before, after, np.full(60, 3.0))
    assert (weighted.p, weighted.low) == pytest.approx((plain.p, plain.low))


def test_weighted_standard_error_equals_a_bootstrap() -> None:
    rng = np.random.default_rng(12)
    before = rng.normal(size=400)
    after = before + 0.4 + 0.3 * rng.normal(size=400)
    weights = rng.integers(1, 20, 400).astype(float)
    effect = paired_means(before, after, weights)
    rows = rng.integers(0, 400, (2000, 400))
    d, w = (after - before)[rows], weights[rows]
    spread = ((d * w).sum(1) / w.sum(1)).std()
    half = (effect.high - effect.low) / 2 / 1.966
    assert half == pytest.approx(spread, rel=0.1)


def test_constant_differences_divide_by_nothing() -> None:
    before = normal(40)
    many = paired_means(before, before + 0.5)
    few = paired_means(before[:6], before[:6] + 0.5)
    assert many.p < 1e-9 and few.p == 2**-5
    assert many.low == pytest.approx(0.5) and few.high == pytest.approx(0.5)


def test_no_difference_has_a_p_of_one() -> None:
    for n in (4, 40):
        effect = paired_means(normal(n), normal(n))
        assert (effect.delta, effect.p, effect.low, effect.high) == (0, 1, 0, 0)


def test_one_sample_tells_nothing() -> None:
    effect = paired_means(np.array([0.2]), np.array([0.9]))
    assert effect.delta == pytest.approx(0.7)
    assert (effect.low, effect.high) == (-math.inf, math.inf)
    assert math.isnan(effect.p)


def test_a_value_that_is_not_finite_is_a_failure() -> None:
    effect = paired_means(np.zeros(3), np.array([0.5, math.nan, 0.5]))
    assert math.isnan(effect.value) and math.isnan(effect.p)
    assert effect.method == "failed"


@pytest.mark.parametrize(
    ("before", "after", "weights", "message"),
    [
        (np.zeros(3), np.zeros(4), None, r"shapes \(3,\) and \(4,\)"),
        (np.zeros(0), np.zeros(0), None, "no sample to compare"),
        (np.zeros(3), np.zeros(3), np.ones(2), "one weight per sample"),
        (np.zeros(3), np.zeros(3), np.zeros(3), "not all zero"),
        (np.zeros(3), np.zeros(3), -np.ones(3), "not negative"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(
    before: NDArray[np.float64],
    after: NDArray[np.float64],
    weights: NDArray[np.float64] | None,
    message: str,
) -> None:
    with pytest.raises(DataError, match=message):
        paired_means(before, after, weights)


def rejections(n: int, shift: float, runs: int, *, weighted: bool = False) -> float:
    """Share of runs with p < 0.05 where differences have that mean."""
    rng = np.random.default_rng(13)
    count = 0
    for _ in range(runs):
        before = rng.normal(size=n)
        after = before + shift + rng.normal(size=n)
        weights = rng.integers(1, 5, n).astype(float) if weighted else None
        count += paired_means(before, after, weights).p < 0.05
    return count / runs


@pytest.mark.parametrize(("n", "runs"), [(10, 400), (50, 1000)])
def test_without_an_effect_it_finds_one_in_5_percent(n: int, runs: int) -> None:
    slack = 3 * math.sqrt(0.05 * 0.95 / runs)
    assert 0.05 - slack < rejections(n, 0, runs) < 0.05 + slack


def test_without_an_effect_weights_find_one_in_5_percent() -> None:
    slack = 3 * math.sqrt(0.05 * 0.95 / 1000)
    assert rejections(60, 0, 1000, weighted=True) < 0.05 + slack


@pytest.mark.parametrize(("n", "runs"), [(12, 100), (50, 200)])
def test_it_finds_an_effect_of_one_deviation(n: int, runs: int) -> None:
    assert rejections(n, 1, runs) > 0.8


def test_mcnemar_errs_in_at_most_5_percent_and_has_power() -> None:
    rng = np.random.default_rng(14)

    def rejected(lose: float, gain: float, runs: int = 500) -> float:
        count = 0
        for _ in range(runs):
            before = rng.random(100) < 0.5
            change = rng.random(100) < np.where(before, lose, gain)
            count += paired_means(before, before ^ change).p < 0.05
        return count / runs

    assert rejected(0.2, 0.2) < 0.05 + 3 * math.sqrt(0.05 * 0.95 / 500)
    assert rejected(0.5, 0.05) > 0.9


def flip_p(differences: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    observed = abs(float(differences @ weights))
    sums = [
        abs(float(differences * weights @ np.array(signs)))
        for signs in itertools.product((-1, 1), repeat=len(differences))
    ]
    return float(np.mean([s >= observed - 1e-12 for s in sums]))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("n", "confidence"), [(4, 0.8), (6, 0.95), (9, 0.9)])
def test_few_samples_interval_is_every_shift_that_brute_force_does_not_reject(
    n: int, confidence: float, weighted: bool
) -> None:
    rng = np.random.default_rng(20)
    before, after = rng.normal(size=n), rng.normal(size=n) + 0.8
    weights = rng.integers(1, 5, n).astype(float) if weighted else np.ones(n)
    effect = paired_means(before, after, weights, confidence=confidence)
    assert effect.p == pytest.approx(flip_p(after - before, weights))
    for end, inwards in ((effect.low, 1e-6), (effect.high, -1e-6)):
        inside = flip_p(after - before - end - inwards, weights)
        outside = flip_p(after - before - end + inwards, weights)
        assert outside <= 1 - confidence + 1e-9 < inside


@pytest.mark.parametrize("n", [2, 3, 5, 6, 12, 20, 29])
@pytest.mark.parametrize("spread", [0.0, 1e-3, 1.0])
def test_interval_and_p_of_few_samples_agree(n: int, spread: float) -> None:
    for seed in range(20):
        before = normal(n, seed)
        after = before + 0.4 + spread * normal(n, seed + 100)
        effect = paired_means(before, after)
        assert (effect.low <= 0 <= effect.high) == (effect.p > 0.05)
        assert effect.low <= effect.delta <= effect.high


def test_too_few_samples_for_significance_have_no_bounds() -> None:
    effect = paired_means(np.zeros(3), np.full(3, 1.5))
    assert effect.p == 0.25
    assert (effect.low, effect.high) == (-math.inf, math.inf)


def test_samples_without_weight_decide_nothing() -> None:
    before, after = normal(8, 21), normal(8, 22) + 1
    padded = paired_means(
        np.append(before, [5.0, 6.0]),
        np.append(after, [0.0, 9.0]),
        np.append(np.ones(8), [0.0, 0.0]),
    )
    plain = paired_means(before, after)
    assert padded.p == pytest.approx(plain.p)
    assert (padded.low, padded.high) == pytest.approx((plain.low, plain.high))
