"""Corrections for many comparisons, and verdicts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from surgery.errors import DataError
from surgery.stats._effect import Correction

Verdict = Literal["important", "harmful", "inconclusive", "failed"]


def adjust(p: Sequence[float], correction: Correction) -> NDArray[np.float64]:
    """Correct p-values for having been looked at together.

    Those that are NaN stay NaN and do not count as comparisons.
    """
    raw = np.asarray(p, dtype=np.float64)
    known = ~np.isnan(raw)
    adjusted = np.full(raw.shape, np.nan)
    family = raw[known]
    if family.size:
        adjusted[known] = _corrected(family, correction)
    return adjusted


def verdict(
    delta: float, p_adjusted: float, higher_is_better: bool, alpha: float
) -> Verdict:
    """Say what taking a component away did, at a level of alpha.

    `"important"`: significantly worse without it. `"harmful"`: significantly better
    without it. `"failed"`: the metric without it is not a finite number. What is
    merely not significant is `"inconclusive"`, never "redundant".
    """
    if not math.isfinite(delta):
        return "failed"
    # Written so that a NaN p is inconclusive.
    if not p_adjusted < alpha or delta == 0:
        return "inconclusive"
    return "harmful" if (delta > 0) == higher_is_better else "important"


def _corrected(p: NDArray[np.float64], correction: Correction) -> NDArray[np.float64]:
    m = len(p)
    if correction == "none":
        return p
    if correction == "bonferroni":
        return np.minimum(1.0, m * p)
    if correction == "holm":
        order = np.argsort(p, kind="stable")
        stepped = np.maximum.accumulate((m - np.arange(m)) * p[order])
        adjusted = np.empty(m)
        adjusted[order] = np.minimum(1.0, stepped)
        return adjusted
    if correction == "bh":
        from scipy.stats import false_discovery_control

        return np.asarray(false_discovery_control(p, method="bh"), dtype=np.float64)
    raise DataError(
        f"unknown correction {correction!r}; it is one of 'holm', 'bonferroni', "
        "'bh', 'none'"
    )
