"""Effects on metrics of whole training runs, paired by seed."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from surgery.errors import DataError
from surgery.stats._effect import Effect
from surgery.stats._interval import is_zero, t_interval, t_test


def paired_runs(
    baseline: NDArray[Any], variant: NDArray[Any], *, confidence: float = 0.95
) -> Effect:
    """Compare a metric of two sets of runs, the same seeds in the same order.

    Paired t, whatever their number: studies have a handful of seeds, of which a test
    of signs could never reject anything (five seeds: p is at least 1/16), and a metric
    of a whole run is itself a mean over many samples. One run has no interval.
    """
    before = np.asarray(baseline, dtype=np.float64)
    after = np.asarray(variant, dtype=np.float64)
    if before.ndim != 1 or before.shape != after.shape or not len(before):
        raise DataError(
            "baseline and variant need one value per run each, of the same seeds; got "
            f"shapes {before.shape} and {after.shape}"
        )
    n = len(before)
    base, value = float(before.mean()), float(after.mean())
    differences = after - before
    if not np.all(np.isfinite(differences)):
        nan = math.nan
        return Effect(base, value, value - base, nan, nan, nan, n, "failed")
    delta = float(differences.mean())
    error = math.nan
    if n > 1:
        error = float(differences.std(ddof=1)) / math.sqrt(n)
        error = 0.0 if is_zero(error, before, after) else error
    low, high = t_interval(delta, error, n - 1, confidence)
    return Effect(
        base, value, delta, low, high, t_test(delta, error, n - 1), n, "paired t"
    )
