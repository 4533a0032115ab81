"""Effects of something drawn at random, from several draws on the same samples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from surgery.stats._effect import Effect
from surgery.stats._interval import is_zero, t_interval, t_test
from surgery.stats._paired import Array, _binary, _checked, paired_means
from surgery.stats._proportions import bonett_price


def repeated_means(
    baseline: NDArray[Any],
    variants: Sequence[NDArray[Any]],
    weights: NDArray[Any] | None = None,
    *,
    confidence: float = 0.95,
    seed: int = 0,
) -> Effect:
    """Compare the mean over draws of a variant with the baseline, sample by sample.

    One draw is `paired_means`. Of several, both the samples and the draws are a sample
    of all there could be: the variance of the mean is that of a two-way layout with
    random rows and columns, (MS_samples + MS_draws - MS_rest) / (samples · draws), its
    degrees of freedom Satterthwaite's (1946). Values that are all 0 or 1 take for the
    part of the samples the interval of Bonett and Price, which is never of zero width.

    Args:
        baseline: One value per sample.
        variants: For each draw one value per sample, in the same order.
        weights: One weight per sample, the same everywhere.
        confidence: Level of the interval.
        seed: As for `paired_means`.
    """
    if len(variants) == 1:
        return paired_means(
            baseline, variants[0], weights, confidence=confidence, seed=seed
        )
    checked = [_checked(baseline, variant, weights) for variant in variants]
    before, _, weight = checked[0]
    afters = np.stack([after for _, after, _ in checked])
    w = np.ones(len(before)) if weight is None else weight / weight.mean()
    base, value = float(np.mean(w * before)), float(np.mean(w * afters))
    draws, n = afters.shape
    if not (math.isfinite(base) and math.isfinite(value)):
        nan = math.nan
        return Effect(base, value, value - base, nan, nan, nan, n, "failed")
    differences = afters - before
    delta = float(np.mean(w * differences))
    proportions = weight is None and _binary(before) and all(map(_binary, afters))
    if proportions:
        error, degrees = _of_proportions(differences)
    else:
        error, degrees = _of_layout(w * (differences - delta))
    if is_zero(error, before, afters):
        error = 0.0
    low, high = t_interval(delta, error, degrees, confidence)
    if proportions:  # which end at 0 and 1
        low, high = max(low, -base), min(high, 1 - base)
    p = t_test(delta, error, degrees)
    method = f"paired t over samples and {draws} draws"
    return Effect(base, value, delta, low, high, p, n, method)


def combined(effects: Sequence[Effect], confidence: float) -> Effect:
    """The mean of the effects of several draws, whose samples are the same.

    For metrics that are no means. The samples' part of the interval is that of one
    draw, which is never too narrow; the draws' part is the t interval of their mean.
    """
    if len(effects) == 1:
        return effects[0]
    value = float(np.mean([effect.value for effect in effects]))
    deltas = np.array([effect.delta for effect in effects])
    base, n, delta = effects[0].baseline, effects[0].n, float(np.mean(deltas))
    if not math.isfinite(delta):
        nan = math.nan
        return Effect(base, value, delta, nan, nan, nan, n, "failed")
    halves = np.array([(effect.high - effect.low) / 2 for effect in effects])
    among = float(np.std(deltas, ddof=1)) / math.sqrt(len(deltas))
    spread = t_interval(0.0, among, len(deltas) - 1, confidence)[1]
    half = math.sqrt(float(np.mean(halves**2)) + spread**2)
    method = f"{effects[0].method}, and t over {len(effects)} draws"
    p = _normal_p(delta, half, confidence)
    return Effect(base, value, delta, delta - half, delta + half, p, n, method)


def _of_layout(rest: Array) -> tuple[float, float]:
    """Standard error and degrees of freedom from deviations, draws x samples."""
    draws, n = rest.shape
    if n < 2:
        return math.nan, 0
    by_draw, by_sample = rest.mean(1, keepdims=True), rest.mean(0, keepdims=True)
    rows = n * float(np.sum((by_draw - rest.mean()) ** 2)) / (draws - 1)
    columns = draws * float(np.sum((by_sample - rest.mean()) ** 2)) / (n - 1)
    inner = rest - by_draw - by_sample + rest.mean()
    errors = float(np.sum(inner**2)) / ((n - 1) * (draws - 1))
    # Less than either part alone would be luck.
    square = max(rows + columns - errors, rows, columns)
    pieces = (
        rows**2 / (draws - 1)
        + columns**2 / (n - 1)
        + errors**2 / ((n - 1) * (draws - 1))
    )
    degrees = square**2 / pieces if pieces else n - 1
    return math.sqrt(square / (n * draws)), max(1.0, degrees)


def _of_proportions(differences: Array) -> tuple[float, float]:
    """The same for differences of zeros and ones."""
    draws, n = differences.shape
    gained = float(np.mean(np.sum(differences > 0, 1)))
    lost = float(np.mean(np.sum(differences < 0, 1)))
    from scipy.special import ndtri

    low, high = bonett_price(gained, lost, n, 0.95)
    samples = ((high - low) / 2 / float(ndtri(0.975))) ** 2
    among = float(np.var(differences.mean(1), ddof=1)) / draws
    square = samples + among
    degrees = square**2 / (among**2 / (draws - 1)) if among else math.inf
    return math.sqrt(square), max(1.0, degrees)


def _normal_p(delta: float, half: float, confidence: float) -> float:
    if not math.isfinite(half):
        return math.nan
    if half == 0:
        return float(delta == 0)
    from scipy.special import ndtr, ndtri

    z = float(ndtri((1 + confidence) / 2))
    return min(1.0, 2 * float(ndtr(-abs(delta) / half * z)))
