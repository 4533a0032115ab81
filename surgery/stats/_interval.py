"""The t interval and test of a difference whose standard error is known."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray


def t_interval(
    delta: float, error: float, degrees: float, confidence: float
) -> tuple[float, float]:
    """Delta plus and minus t times its standard error; all of R without evidence."""
    if degrees < 1 or not math.isfinite(error):
        return -math.inf, math.inf
    from scipy.special import stdtrit

    half = float(stdtrit(degrees, (1 + confidence) / 2)) * error
    return delta - half, delta + half


def t_test(delta: float, error: float, degrees: float) -> float:
    """Two-sided p of the t test that belongs to `t_interval`.

    Where nothing varies, t is not defined: p is 1 without a difference, else the
    chance that all units differ in the same direction.
    """
    if degrees < 1 or not math.isfinite(error):
        return math.nan
    if error == 0:
        return 1.0 if delta == 0 else one_sided_chance(int(min(degrees, 1000)) + 1)
    from scipy.special import stdtr

    return min(1.0, 2 * float(stdtr(degrees, -abs(delta) / error)))


def one_sided_chance(n: int) -> float:
    """Two-sided chance that n fair signs all agree."""
    return 2.0 ** max(1 - n, -1000)


def is_zero(error: float, *values: NDArray[Any]) -> bool:
    """Whether a standard error is no more than rounding of the values behind it."""
    scale = max(float(np.max(np.abs(value))) for value in values)
    return error <= 1e-14 * scale
