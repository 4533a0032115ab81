"""Effects on metrics that are means of per-sample values."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from surgery.errors import DataError
from surgery.stats._effect import Effect
from surgery.stats._interval import is_zero, one_sided_chance, t_interval, t_test
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
    and paired t interval. Else both are paired t.

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
    spread = differences - w * delta
    error = 0.0
    if n > 1:
        error = math.sqrt(float(np.sum(spread**2)) / (n - 1) / n)
    if is_zero(error, before, after):
        error = 0.0
    low, high = t_interval(delta, error, n - 1, confidence)
    if n >= SMALL:
        p, method = t_test(delta, error, n - 1), "paired t"
    else:
        p = _sign_flip(differences, seed)
        method = "sign-flip permutation, paired t interval"
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


def _sign_flip(differences: Array, seed: int) -> float:
    """Two-sided p: under no effect each difference may as well have the other sign."""
    from scipy.stats import permutation_test

    n = len(differences)
    if n == 1:
        return math.nan
    if not np.any(differences):
        return 1.0
    if np.all(differences == differences[0]):
        return one_sided_chance(n)
    result = permutation_test(
        (differences,),
        _mean,
        permutation_type="samples",
        vectorized=True,
        n_resamples=_FLIPS,
        batch=4096,
        rng=np.random.default_rng(seed),
    )
    return min(1.0, float(result.pvalue))


def _mean(sample: Array, axis: int) -> Array:
    return np.asarray(np.mean(sample, axis=axis))


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
