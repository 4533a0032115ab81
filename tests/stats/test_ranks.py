"""Rank agreement against SciPy and against counting."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from surgery.errors import DataError
from surgery.stats import rank_agreement


@pytest.mark.parametrize("n", [4, 6, 8, 20])
def test_rho_and_tau_are_scipys(n: int) -> None:
    rng = np.random.default_rng(n)
    x = rng.integers(0, 6, size=n).astype(float)
    y = x + rng.normal(size=n)
    found = rank_agreement(list(x), list(y))
    assert found.rho == pytest.approx(stats.spearmanr(x, y).statistic)
    assert found.tau == pytest.approx(stats.kendalltau(x, y).statistic)
    assert -1 <= found.low <= found.rho <= found.high <= 1
    assert found.n == n


def test_few_things_have_the_p_of_all_permutations() -> None:
    assert rank_agreement([1, 2, 3], [1, 2, 3]).p == pytest.approx(2 / 6)
    assert rank_agreement([1, 2, 3, 4], [4, 3, 2, 1]).p == pytest.approx(2 / 24)


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    r = 0.6
    truth = 6 / math.pi * math.asin(r / 2)  # Spearman's rho of a normal pair
    held = 0
    for _ in range(400):
        x = rng.normal(size=25)
        y = r * x + math.sqrt(1 - r * r) * rng.normal(size=25)
        found = rank_agreement(list(x), list(y))
        held += found.low <= truth <= found.high
    assert 0.91 <= held / 400 <= 0.985


def test_perfect_agreement_of_few_is_not_certain() -> None:
    found = rank_agreement([1, 2, 3, 4, 5], [1, 2, 3, 4, 5])
    assert found.rho == pytest.approx(1.0) and found.high >= found.rho
    assert found.low < 0.9
    assert (rank_agreement([1, 2, 3], [1, 2, 3]).low) == -1.0


def test_a_score_that_is_the_same_for_all_has_no_agreement() -> None:
    assert math.isnan(rank_agreement([1, 1, 1], [1, 2, 3]).rho)


def test_scores_of_other_things_are_refused() -> None:
    with pytest.raises(DataError, match="same things"):
        rank_agreement([1.0, 2.0], [1.0])
    with pytest.raises(DataError, match="finite"):
        rank_agreement([1.0, math.nan], [1.0, 2.0])
