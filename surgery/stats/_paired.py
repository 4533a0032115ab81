"""Effects on metrics that are means of per-sample values."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from surgery.errors import DataError
from surgery.stats._effect import Effect
from surgery.stats._interval import is_zero, t_interval, t_test
from surgery.stats._proportions import bonett_price, mcnemar

Array = NDArray[np.float64]

SMALL = 30
"""Below so many samples a t-test leans on normality: signs are flipped instead."""

_FLIPS = 32_767


def paired_means(
    baseline: NDArray[Any],
    variant: NDArray[Any],
    weights: NDArray[Any] | None = None,
    *,
    confidence: float = 0.95,
    seed: int = 0,
) -> Effect:
    """Compare two (weighted) means of the same samples.

    Values that are all 0 or 1 and have no weights: exact McNemar test and the
    interval of Bonett and Price. Fewer than 30 samples: sign-flip permutation test
    and the interval of all shifts that it does not reject (unbounded where so few
    samples can reject none). Else both are paired t.

    With weights w the metric is the ratio sum(w v) / sum(w). Its standard error is
    that of the linearised differences w (v - b - delta) / mean(w) (Cochran,
    Sampling Techniques, 1977, section 6.3).

    Args:
        baseline: One value per sample.
        variant: One value per sample, in the same order.
        weights: One weight per sample, the same for both sides.
        confidence: Level of the interval.
        seed: Seeds the permutation test where it cannot be exact.
    """
    before, after, weight = _checked(baseline, variant, weights)
    n = len(before)
    if weight is None and _binary(before) and _binary(after):
        return _binary_effect(before, after, confidence)
    w = np.ones(n) if weight is None else weight / weight.mean()
    base, value = float(np.mean(w * before)), float(np.mean(w * after))
    if not (math.isfinite(base) and math.isfinite(value)):
        nan = math.nan
        return Effect(base, value, value - base, nan, nan, nan, n, "failed")
    differences = w * (after - before)
    delta = float(np.mean(differences))
    if n < SMALL:
        low, high, p = _sign_flip(after - before, w, confidence, seed)
        method = "sign-flip permutation test and interval"
        return Effect(base, value, delta, low, high, p, n, method)
    spread = differences - w * delta
    error = math.sqrt(float(np.sum(spread**2)) / (n - 1) / n)
    if is_zero(error, before, after):
        error = 0.0
    low, high = t_interval(delta, error, n - 1, confidence)
    p, method = t_test(delta, error, n - 1), "paired t"
    return Effect(base, value, delta, low, high, p, n, method)


def _binary_effect(before: Array, after: Array, confidence: float) -> Effect:
    n = len(before)
    gained = int(np.sum(after > before))
    lost = int(np.sum(after < before))
    low, high = bonett_price(gained, lost, n, confidence)
    return Effect(
        baseline=float(before.mean()),
        value=float(after.mean()),
        delta=(gained - lost) / n,
        low=low,
        high=high,
        p=mcnemar(gained, lost),
        n=n,
        method="exact McNemar, Bonett-Price interval",
    )


def _sign_flip(
    differences: Array, weights: Array, confidence: float, seed: int
) -> tuple[float, float, float]:
    """Interval and two-sided p: without an effect each sign may as well be the other.

    Flipping the signs of some samples moves the mean of what a shift leaves of the
    differences away from 0, or not towards it, if and only if the shift lies between
    the mean difference of those samples and that of the others. Counting such spans
    tests every shift at once (Hartigan, JASA 64, 1969).
    """
    n = len(differences)
    if n == 1:
        return -math.inf, math.inf, math.nan
    if not np.any(differences):
        return 0.0, 0.0, 1.0
    flipped = _flips(n, seed)
    # Sums that are equal but for rounding are ties.
    slack = 1e-12 * float(np.max(np.abs(differences)))
    with np.errstate(divide="ignore", invalid="ignore"):
        ones = flipped @ (weights * differences) / (flipped @ weights)
        others = ~flipped @ (weights * differences) / (~flipped @ weights)
    # Samples without weight decide nothing: whichever sign they have, it is a tie.
    tie = np.isnan(ones) | np.isnan(others)
    lows = np.sort(np.where(tie, -np.inf, np.fmin(ones, others) - slack))
    highs = np.sort(np.where(tie, np.inf, np.fmax(ones, others) + slack))
    total = len(flipped) + 1  # and the signs as they are
    beyond = min(int(np.sum(lows <= 0)), int(np.sum(highs >= 0)))
    rank = math.floor((1 - confidence) * total + 1e-9)
    low = float(lows[rank - 1]) if rank else -math.inf
    high = float(highs[-rank]) if rank else math.inf
    return low, high, (1 + beyond) / total


def _flips(n: int, seed: int) -> NDArray[np.bool_]:
    """Whose signs to flip: each way once (one of it and its opposite), or a sample."""
    if 2 ** (n - 1) <= _FLIPS:
        codes = np.arange(1, 2 ** (n - 1))
        return (codes[:, None] >> np.arange(n) & 1).astype(bool)
    return np.random.default_rng(seed).random((_FLIPS, n)) < 0.5


def _checked(
    baseline: NDArray[Any], variant: NDArray[Any], weights: NDArray[Any] | None
) -> tuple[Array, Array, Array | None]:
    before = np.asarray(baseline, dtype=np.float64)
    after = np.asarray(variant, dtype=np.float64)
    weight = None if weights is None else np.asarray(weights, dtype=np.float64)
    if before.ndim != 1 or before.shape != after.shape:
        raise DataError(
            "baseline and variant need one value per sample each, of the same "
            f"samples; got shapes {before.shape} and {after.shape}"
        )
    if not len(before):
        raise DataError("there is no sample to compare; give data that is not empty")
    if weight is None:
        return before, after, None
    if weight.shape != before.shape:
        raise DataError(
            f"weights have shape {weight.shape}, values {before.shape}; give one "
            "weight per sample"
        )
    if not (np.all(np.isfinite(weight)) and np.all(weight >= 0) and weight.sum() > 0):
        raise DataError("weights must be finite, not negative, and not all zero")
    return before, after, weight


def _binary(values: Array) -> bool:
    return bool(np.all((values == 0) | (values == 1)))
