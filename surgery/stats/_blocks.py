"""Effects on metrics that are not means: a paired bootstrap over blocks of samples."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from surgery.errors import DataError
from surgery.stats._effect import Effect
from surgery.stats._interval import is_zero, t_interval, t_test
from surgery.stats._paired import Array, _checked

MAX_BLOCKS = 200
_METHOD = "paired bootstrap of {} blocks, t"


def paired_blocks(
    statistic: Callable[[NDArray[np.intp], int], float],
    blocks: int,
    n: int,
    *,
    confidence: float = 0.95,
    seed: int = 0,
    resamples: int = 200,
) -> Effect:
    """Compare a metric that can be computed from any multiset of blocks.

    The same blocks are drawn for baseline and variant. The bootstrap gives the
    standard error of the difference (a few hundred draws are enough for that: Efron
    and Tibshirani, An Introduction to the Bootstrap, 1993, section 6.4); interval
    and p-value both come from t with `blocks - 1` degrees of freedom, so they agree.

    Args:
        statistic: The metric of these blocks, of the baseline (0) or variant (1).
        blocks: Number of blocks.
        n: Number of samples in them.
        confidence: Level of the interval.
        seed: Seeds the draws; equal seeds draw equal blocks.
        resamples: Number of draws.
    """
    if blocks < 1:
        raise DataError("there is no sample to compare; give data that is not empty")
    everything = np.arange(blocks)
    base, value = statistic(everything, 0), statistic(everything, 1)

    def difference(sample: NDArray[np.intp]) -> float:
        return statistic(sample, 1) - statistic(sample, 0)

    return _effect(
        base, value, difference, blocks, n, confidence, seed, resamples, False
    )


def paired_transformed(
    baseline: NDArray[Any],
    variant: NDArray[Any],
    weights: NDArray[Any] | None,
    transform: Callable[[Array], Array],
    *,
    confidence: float = 0.95,
    seed: int = 0,
    resamples: int = 2000,
) -> Effect:
    """Compare a transform of two (weighted) means, such as exp or sqrt.

    Args:
        baseline: One value per sample.
        variant: One value per sample, in the same order.
        weights: One weight per sample, the same for both sides.
        transform: Turns means into the metric, elementwise.
        confidence: Level of the interval.
        seed: Seeds the draws.
        resamples: Number of draws.
    """
    before, after, weight = _checked(baseline, variant, weights)
    w = np.ones(len(before)) if weight is None else weight
    n = len(before)
    starts = np.unique(np.linspace(0, n, min(n, MAX_BLOCKS) + 1).astype(np.intp))[:-1]
    sums = [np.add.reduceat(w * values, starts) for values in (before, after)]
    total = np.add.reduceat(w, starts)

    def metric(sample: NDArray[np.intp], which: int) -> Array:
        with np.errstate(all="ignore"):
            mean = sums[which][sample].sum(-1) / total[sample].sum(-1)
            return transform(mean)

    def difference(sample: NDArray[np.intp], axis: int = -1) -> Array:
        with np.errstate(all="ignore"):
            return metric(sample, 1) - metric(sample, 0)

    everything = np.arange(len(starts))
    base, value = float(metric(everything, 0)), float(metric(everything, 1))
    return _effect(
        base, value, difference, len(starts), n, confidence, seed, resamples, True
    )


def _effect(
    base: float,
    value: float,
    difference: Callable[..., Any],
    blocks: int,
    n: int,
    confidence: float,
    seed: int,
    resamples: int,
    vectorized: bool,
) -> Effect:
    if not (math.isfinite(base) and math.isfinite(value)):
        nan = math.nan
        return Effect(base, value, value - base, nan, nan, nan, n, "failed")
    delta = value - base
    error = math.nan
    if blocks > 1:
        draws = _draws(difference, blocks, seed, resamples, vectorized)
        error = _standard_error(draws, blocks)
        if is_zero(error, np.array([base, value])):
            error = 0.0
    low, high = t_interval(delta, error, blocks - 1, confidence)
    p = t_test(delta, error, blocks - 1)
    return Effect(base, value, delta, low, high, p, n, _METHOD.format(blocks))


def _draws(
    difference: Callable[..., Any],
    blocks: int,
    seed: int,
    resamples: int,
    vectorized: bool,
) -> Array:
    from scipy.stats import DegenerateDataWarning, bootstrap

    with warnings.catch_warnings():
        # Of scipy's own interval, which is not used; NaN draws are counted below.
        warnings.simplefilter("ignore", DegenerateDataWarning)
        result = bootstrap(
            (np.arange(blocks),),
            difference,
            n_resamples=resamples,
            batch=None if vectorized else 1,
            vectorized=vectorized,
            method="percentile",
            rng=np.random.default_rng(seed),
        )
    return np.asarray(result.bootstrap_distribution, dtype=np.float64)


def _standard_error(draws: Array, blocks: int) -> float:
    # A metric may be undefined on an odd draw (a correlation of constants); one that
    # is undefined on many has no standard error worth the name.
    finite = draws[np.isfinite(draws)]
    if len(finite) < 0.9 * len(draws):
        return math.nan
    # The bootstrap's variance is that of a population of `blocks`, not of a sample.
    return float(np.std(finite, ddof=1)) * math.sqrt(blocks / (blocks - 1))
