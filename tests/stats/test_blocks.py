"""The paired bootstrap against the t-test it must agree with, and simulated truths."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from surgery.errors import DataError
from surgery.stats import paired_blocks, paired_means, paired_transformed

Array = NDArray[np.float64]


def pair(n: int, shift: float, seed: int = 0) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    before = rng.gamma(2, size=n)
    return before, before + shift + 0.5 * rng.normal(size=n)


def test_of_a_mean_it_agrees_with_the_paired_t() -> None:
    sides = pair(60, 0.15)
    truth = paired_means(*sides)
    effect = paired_blocks(
        lambda rows, which: float(sides[which][rows].mean()), 60, 60, resamples=2000
    )
    assert effect.delta == pytest.approx(truth.delta)
    assert effect.low == pytest.approx(truth.low, abs=0.02)
    assert effect.high == pytest.approx(truth.high, abs=0.02)
    assert math.log(effect.p) == pytest.approx(math.log(truth.p), abs=0.7)


def test_interval_and_p_agree_on_where_zero_lies() -> None:
    found: set[bool] = set()
    for shift in np.linspace(0, 0.9, 12):
        sides = pair(50, float(shift), seed=3)

        def statistic(
            rows: NDArray[np.intp], which: int, sides: tuple[Array, Array] = sides
        ) -> float:
            return float(np.median(sides[which][rows]))

        effect = paired_blocks(statistic, 50, 50, resamples=100)
        assert (effect.p < 0.05) == (not effect.low <= 0 <= effect.high)
        found.add(effect.p < 0.05)
    assert found == {True, False}


def test_equal_seeds_draw_equal_blocks_for_both_sides() -> None:
    drawn: list[tuple[int, bytes]] = []

    def statistic(rows: NDArray[np.intp], which: int) -> float:
        drawn.append((which, rows.tobytes()))
        return float(rows.sum())

    paired_blocks(statistic, 10, 10, seed=1, resamples=20)
    baseline = [rows for which, rows in drawn if not which]
    assert baseline == [rows for which, rows in drawn if which]
    first = list(drawn)
    drawn.clear()
    paired_blocks(statistic, 10, 10, seed=1, resamples=20)
    assert drawn == first


def test_a_constant_metric_has_no_effect_and_a_constant_shift_a_sure_one() -> None:
    same = paired_blocks(lambda rows, which: 0.5, 30, 90)
    assert (same.delta, same.p, same.low, same.high, same.n) == (0, 1, 0, 0, 90)
    moved = paired_blocks(lambda rows, which: 0.5 + which, 30, 90)
    assert moved.delta == 1 and moved.p == 2**-29


def test_one_block_tells_nothing() -> None:
    effect = paired_blocks(lambda rows, which: 0.5 + which, 1, 8)
    assert (effect.low, effect.high) == (-math.inf, math.inf)
    assert math.isnan(effect.p)


def test_a_metric_without_a_value_failed() -> None:
    effect = paired_blocks(lambda rows, which: math.nan if which else 0.5, 9, 9)
    assert math.isnan(effect.delta) and effect.method == "failed"


def test_a_metric_undefined_on_many_draws_has_no_p() -> None:
    def statistic(rows: NDArray[np.intp], which: int) -> float:
        return which if len(set(rows.tolist())) == 9 else math.nan

    effect = paired_blocks(statistic, 9, 9)
    assert effect.delta == 1 and math.isnan(effect.p)
    assert effect.high == math.inf


def test_no_block_is_refused() -> None:
    with pytest.raises(DataError, match="no sample to compare"):
        paired_blocks(lambda rows, which: 0.0, 0, 0)


def test_transformed_means_are_transforms_of_means() -> None:
    before, after = pair(300, 0.1)
    weights = np.random.default_rng(1).integers(1, 9, 300).astype(float)
    effect = paired_transformed(before, after, weights, np.exp)
    truth = np.exp(np.average(before, weights=weights))
    assert effect.baseline == pytest.approx(float(truth))
    assert effect.value == pytest.approx(
        float(np.exp(np.average(after, weights=weights)))
    )
    assert "200 blocks" in effect.method


def test_identity_transformed_means_agree_with_the_paired_t() -> None:
    before, after = pair(150, 0.1)
    truth = paired_means(before, after)
    effect = paired_transformed(before, after, None, np.positive)
    assert effect.low == pytest.approx(truth.low, abs=0.01)
    assert effect.high == pytest.approx(truth.high, abs=0.01)


def test_a_transform_that_overflows_failed() -> None:
    effect = paired_transformed(np.ones(50), np.full(50, 1e4), None, np.exp)
    assert effect.value == math.inf and effect.method == "failed"


@pytest.mark.parametrize("n", [40, 300])
def test_errors_stay_at_5_percent_and_effects_are_found(n: int) -> None:
    def share(shift: float, runs: int) -> float:
        found = 0
        for seed in range(runs):
            rng = np.random.default_rng(seed)
            sample = rng.gamma(2, size=n)
            before = sample * rng.uniform(0.5, 1.5, n)
            after = sample * rng.uniform(0.5, 1.5, n) * (1 + shift)
            effect = paired_transformed(before, after, None, np.sqrt, resamples=200)
            found += effect.p < 0.05
        return found / runs

    assert share(0, 200) < 0.05 + 3 * math.sqrt(0.05 * 0.95 / 200)
    assert share(0.5, 30) > 0.8
