"""McNemar and the Bonett-Price interval against hand computations and coverage."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from surgery.stats._proportions import bonett_price, mcnemar


def test_mcnemar_sums_the_binomial_tails() -> None:
    tails = 2 * sum(math.comb(9, k) for k in (0, 1)) / 2**9
    assert mcnemar(1, 8) == pytest.approx(tails)
    assert mcnemar(8, 1) == pytest.approx(tails)
    assert mcnemar(4, 4) == 1
    assert mcnemar(0, 0) == 1


def test_interval_by_hand() -> None:
    # n = 100, f12 = 3, f21 = 12: p12 = 4/102, p21 = 13/102.
    half = 1.959964 * math.sqrt((17 / 102 - (9 / 102) ** 2) / 102)
    assert bonett_price(3, 12, 100, 0.95) == pytest.approx(
        (-9 / 102 - half, -9 / 102 + half), abs=1e-6
    )


@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 50))
def test_interval_has_width_and_stays_possible(a: int, b: int, rest: int) -> None:
    n = max(1, a + b + rest)
    low, high = bonett_price(a, b, n, 0.95)
    assert -1 <= low < high <= 1
    assert low <= (a - b) / n <= high


@pytest.mark.parametrize(("gain", "lose", "n"), [(0.02, 0.1, 60), (0.3, 0.3, 25)])
def test_interval_covers_the_truth_in_95_percent(
    gain: float, lose: float, n: int
) -> None:
    rng = np.random.default_rng(0)
    runs = 2000
    counts = rng.multinomial(n, [gain, lose, 1 - gain - lose], size=runs)
    covered = 0
    for gained, lost, _ in counts.tolist():
        low, high = bonett_price(gained, lost, n, 0.95)
        covered += low <= gain - lose <= high
    assert covered / runs > 0.95 - 3 * math.sqrt(0.05 * 0.95 / runs)
