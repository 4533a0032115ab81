"""Fieller's interval against the tests that it is made of."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from surgery.stats import ratio_of_means


@pytest.mark.parametrize("n", [3, 5, 30])
def test_at_its_ends_a_t_test_is_just_significant(n: int) -> None:
    rng = np.random.default_rng(n)
    whole = 5 + rng.normal(size=n)
    part = 0.4 * whole + 0.3 * rng.normal(size=n)
    ratio, low, high = ratio_of_means(part, whole, confidence=0.9)
    assert ratio == pytest.approx(part.mean() / whole.mean())
    assert low < ratio < high
    for end in (low, high):
        p = stats.ttest_1samp(part - end * whole, 0.0).pvalue
        assert p == pytest.approx(0.1)


def test_a_whole_that_may_be_zero_bounds_nothing() -> None:
    whole = np.array([1.0, -1.0, 0.5, -0.4])
    ratio, low, high = ratio_of_means(np.ones(4), whole)
    assert math.isfinite(ratio) and (low, high) == (-math.inf, math.inf)


def test_one_run_has_a_ratio_but_no_interval() -> None:
    found = ratio_of_means(np.array([1.0]), np.array([4.0]))
    assert found == (0.25, -math.inf, math.inf)


def test_a_whole_of_zero_has_no_ratio() -> None:
    assert math.isnan(ratio_of_means(np.ones(3), np.zeros(3))[0])
