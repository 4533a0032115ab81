"""Several draws on the same samples: intervals that hold as often as they say."""

from __future__ import annotations

import math

import numpy as np
import pytest

from surgery.stats import Effect, combined, paired_means, repeated_means


def test_one_draw_is_a_paired_comparison() -> None:
    generator = np.random.default_rng(0)
    before, after = generator.normal(size=(2, 50))
    assert repeated_means(before, [after]) == paired_means(before, after)


def test_draws_that_are_alike_are_the_paired_comparison_of_one() -> None:
    generator = np.random.default_rng(0)
    before, after = generator.normal(size=(2, 50))
    one, three = paired_means(before, after), repeated_means(before, [after] * 3)
    for name in ("baseline", "value", "delta", "low", "high"):
        assert math.isclose(getattr(one, name), getattr(three, name), rel_tol=1e-9)


@pytest.mark.parametrize(
    ("samples", "draws", "rest"), [(1.0, 0.0, 1.0), (0.3, 0.3, 0.3), (0.1, 1.0, 0.1)]
)
def test_the_interval_holds_as_often_as_it_says(
    samples: float, draws: float, rest: float
) -> None:
    generator = np.random.default_rng(1)
    inside = 0
    for _ in range(400):
        before = generator.normal(size=40)
        added = (
            0.5
            + samples * generator.normal(size=(1, 40))
            + draws * generator.normal(size=(4, 1))
            + rest * generator.normal(size=(4, 40))
        )
        effect = repeated_means(before, list(before + added))
        inside += effect.low <= 0.5 <= effect.high
    assert 0.92 <= inside / 400 <= 0.99


def test_proportions_are_never_certain_and_stay_proportions() -> None:
    before = np.ones(60)
    effect = repeated_means(before, [before, before])
    assert effect.delta == 0 and effect.low < 0 and effect.high == 0
    worse = [np.zeros(60), np.ones(60)]
    wide = repeated_means(before, worse)
    assert wide.delta == -0.5 and -1 <= wide.low <= wide.high <= 0


def test_proportions_hold_as_often_as_they_say() -> None:
    generator = np.random.default_rng(2)
    inside = 0
    for _ in range(400):
        before = (generator.random(100) < 0.9).astype(float)
        rates = np.clip(generator.normal(0.3, 0.05, size=(4, 1)), 0, 1)
        lost = generator.random((4, 100)) < rates
        effect = repeated_means(before, list(np.where(lost, 0.0, before)))
        inside += effect.low <= -0.27 <= effect.high
    assert inside / 400 >= 0.93


def test_weights_are_those_of_a_ratio() -> None:
    generator = np.random.default_rng(3)
    before, after, other = generator.normal(size=(3, 50))
    weights = generator.integers(1, 4, 50).astype(float)
    effect = repeated_means(before, [after, other], weights)
    mean = np.average((after + other) / 2, weights=weights)
    assert math.isclose(effect.value, mean)
    assert math.isclose(effect.delta, mean - np.average(before, weights=weights))


def test_a_draw_that_is_no_number_fails() -> None:
    before = np.zeros(40) + 0.5
    effect = repeated_means(before, [before, before * math.nan])
    assert effect.method == "failed" and math.isnan(effect.low)


def test_other_metrics_combine_the_effects_of_their_draws() -> None:
    def effect(delta: float, half: float = 0.1) -> Effect:
        ends = delta - half, delta + half
        return Effect(1.0, 1 + delta, delta, *ends, 0.1, 50, "bootstrap")

    assert combined([effect(0.2)], 0.95) == effect(0.2)
    alike = combined([effect(0.2), effect(0.2), effect(0.2)], 0.95)
    assert math.isclose(alike.low, 0.1) and math.isclose(alike.high, 0.3)
    apart = combined([effect(0.1), effect(0.2), effect(0.3)], 0.95)
    assert math.isclose(apart.delta, 0.2) and math.isclose(apart.value, 1.2)
    half = math.sqrt(0.1**2 + (4.302653 * 0.1 / math.sqrt(3)) ** 2)
    assert math.isclose(apart.high - apart.delta, half, rel_tol=1e-6)
    assert 0 < apart.p < 1
    lost = combined([effect(0.1), effect(math.nan)], 0.95)
    assert lost.method == "failed"
