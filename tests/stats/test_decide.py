"""Corrections against hand computations and each other; verdicts."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from surgery.errors import DataError
from surgery.stats import adjust, verdict

P_VALUES = st.lists(st.floats(0, 1), min_size=1, max_size=12)


def slow_holm(p: list[float]) -> list[float]:
    """Reject in order of p while p (m - rank) stays below the level."""
    adjusted = []
    for one in p:
        before = [other for other in p if other <= one]
        steps = [
            (len(p) - sum(1 for other in p if other < step)) * step for step in before
        ]
        adjusted.append(min(1.0, max(steps)))
    return adjusted


def test_corrections_of_four_p_values_by_hand() -> None:
    p = [0.01, 0.04, 0.03, 0.5]
    assert adjust(p, "none").tolist() == p
    assert adjust(p, "bonferroni").tolist() == [0.04, 0.16, 0.12, 1.0]
    assert adjust(p, "holm") == pytest.approx([0.04, 0.09, 0.09, 0.5])
    assert adjust(p, "bh") == pytest.approx([0.04, 0.16 / 3, 0.16 / 3, 0.5])


@given(P_VALUES)
def test_holm_equals_its_definition(p: list[float]) -> None:
    assert adjust(p, "holm") == pytest.approx(slow_holm(p))


@given(P_VALUES)
def test_corrections_are_ordered_by_strictness(p: list[float]) -> None:
    none, bh, holm, bonferroni = (
        adjust(p, name) for name in ("none", "bh", "holm", "bonferroni")
    )
    slack = 1e-12
    assert np.all(none <= bh + slack)
    assert np.all(bh <= holm + slack)
    assert np.all(holm <= bonferroni + slack)


@pytest.mark.parametrize("correction", ["none", "bonferroni", "holm", "bh"])
def test_nan_stays_and_does_not_count_as_a_comparison(correction: Any) -> None:
    with_nan = adjust([0.01, math.nan, 0.04, math.nan], correction)
    assert np.isnan(with_nan).tolist() == [False, True, False, True]
    assert with_nan[[0, 2]].tolist() == adjust([0.01, 0.04], correction).tolist()


def test_nothing_to_correct_gives_nothing() -> None:
    assert adjust([], "holm").tolist() == []


def test_an_unknown_correction_is_refused() -> None:
    wrong: Any = "sidak"
    with pytest.raises(DataError, match="unknown correction 'sidak'"):
        adjust([0.1], wrong)


@pytest.mark.parametrize(
    ("delta", "p", "higher", "expected"),
    [
        (-0.1, 0.01, True, "important"),
        (0.1, 0.01, False, "important"),
        (0.1, 0.01, True, "harmful"),
        (-0.1, 0.01, False, "harmful"),
        (-0.1, 0.2, True, "inconclusive"),
        (-0.1, 0.05, True, "inconclusive"),
        (0.0, 1.0, True, "inconclusive"),
        (-0.1, math.nan, True, "inconclusive"),
        (math.nan, math.nan, True, "failed"),
        (math.inf, 0.0, False, "failed"),
    ],
)
def test_verdicts(delta: float, p: float, higher: bool, expected: str) -> None:
    assert verdict(delta, p, higher, 0.05) == expected
