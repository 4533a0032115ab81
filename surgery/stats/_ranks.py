"""How far two scores order the same things alike."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from surgery.errors import DataError


@dataclass(frozen=True)
class Agreement:
    """Rank correlation of two scores.

    Attributes:
        rho: Spearman's; NaN where one of the scores is the same for all.
        low: Lower end of its interval.
        high: Upper end of it.
        tau: Kendall's tau-b.
        p: Chance of a rho at least as far from zero if the orders had nothing to do
            with each other: by all permutations up to 8 things, else by t.
        n: Number of things.
    """

    rho: float
    low: float
    high: float
    tau: float
    p: float
    n: int


def rank_agreement(
    one: Sequence[float], other: Sequence[float], *, confidence: float = 0.95
) -> Agreement:
    """Compares two orders of the same things.

    The interval is Fisher's z with the variance of Bonett and Wright (2000),
    `(1 + rho^2 / 2) / (n - 3)`: with fewer than 4 things nothing can be said.
    """
    x, y = np.asarray(one, float), np.asarray(other, float)
    if x.shape != y.shape or x.ndim != 1:
        raise DataError(
            "two scores of the same things are needed, got shapes "
            f"{x.shape} and {y.shape}"
        )
    if not np.all(np.isfinite(x)) or not np.all(np.isfinite(y)):
        raise DataError("scores to compare must be finite; leave out what failed")
    n = len(x)
    if n < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return Agreement(math.nan, -1.0, 1.0, math.nan, math.nan, n)
    from scipy import stats

    ranks, others = stats.rankdata(x), stats.rankdata(y)
    rho = float(np.clip(np.corrcoef(ranks, others)[0, 1], -1, 1))
    tau = float(stats.kendalltau(x, y).statistic)
    p = _exact_p(ranks, others, rho) if n <= 8 else float(stats.spearmanr(x, y).pvalue)
    low, high = _interval(rho, n, confidence)
    return Agreement(rho, low, high, tau, p, n)


def _interval(rho: float, n: int, confidence: float) -> tuple[float, float]:
    if n < 4:
        return -1.0, 1.0
    from scipy.special import ndtri

    half = float(ndtri((1 + confidence) / 2)) * math.sqrt((1 + rho**2 / 2) / (n - 3))
    # At one, Fisher's z is infinite and would claim certainty from four things.
    largest = 1 - 1 / n**2
    z = math.atanh(min(max(rho, -largest), largest))
    low, high = math.tanh(z - half), math.tanh(z + half)
    return min(low, rho), max(high, rho)


def _exact_p(ranks: np.ndarray, others: np.ndarray, rho: float) -> float:
    from itertools import permutations

    x = ranks - ranks.mean()
    y = np.array(list(permutations(others - others.mean())))
    every = y @ x / math.sqrt(float((x**2).sum() * (y[0] ** 2).sum()))
    return float(np.mean(np.abs(every) >= abs(rho) - 1e-12))
