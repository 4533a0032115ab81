"""Runs paired by seed, against SciPy's paired t."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from surgery.errors import DataError
from surgery.stats import paired_runs


@pytest.mark.parametrize("n", [2, 3, 5, 40])
def test_it_is_the_paired_t_whatever_the_number_of_runs(n: int) -> None:
    rng = np.random.default_rng(n)
    before = rng.normal(size=n)
    after = before + 0.3 + 0.2 * rng.normal(size=n)
    effect = paired_runs(before, after, confidence=0.9)
    truth = stats.ttest_rel(after, before)
    low, high = truth.confidence_interval(0.9)
    assert effect.p == pytest.approx(truth.pvalue)
    assert (effect.low, effect.high) == pytest.approx((low, high))
    assert effect.delta == pytest.approx(float(np.mean(after - before)))


def test_accuracies_of_0_and_1_are_runs_like_any_others() -> None:
    effect = paired_runs(np.array([1.0, 1.0, 0.0]), np.array([0.0, 1.0, 0.0]))
    assert effect.method == "paired t"


def test_one_run_has_a_change_but_no_interval() -> None:
    effect = paired_runs(np.array([0.5]), np.array([0.4]))
    assert effect.delta == pytest.approx(-0.1)
    assert (effect.low, effect.high) == (-math.inf, math.inf)
    assert math.isnan(effect.p)


def test_runs_of_different_numbers_are_refused() -> None:
    with pytest.raises(DataError, match="of the same seeds"):
        paired_runs(np.zeros(2), np.zeros(3))
