"""The ratio of two paired means, with Fieller's interval."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray


def ratio_of_means(
    part: NDArray[Any], whole: NDArray[Any], *, confidence: float = 0.95
) -> tuple[float, float, float]:
    """`mean(part) / mean(whole)`, paired run by run: the ratio, low and high.

    Fieller's interval holds every r for which a t test of `part - r * whole` does not
    reject zero. Where `whole` is not significantly different from zero, any ratio is
    possible, and the ends are infinite.
    """
    x, y = np.asarray(part, float), np.asarray(whole, float)
    n = len(y)
    total = float(y.mean()) if n else 0.0
    ratio = float(x.mean()) / total if total else math.nan
    if n < 2 or not math.isfinite(ratio):
        return ratio, -math.inf, math.inf
    from scipy.special import stdtrit

    t = float(stdtrit(n - 1, (1 + confidence) / 2)) ** 2 / n
    (vx, vxy), (_, vy) = np.cov(x, y).tolist()
    # (x - r y)^2 <= t (vx - 2 r vxy + r^2 vy), as a r^2 - 2 b r + c <= 0.
    a = total**2 - t * vy
    b = float(x.mean()) * total - t * vxy
    c = float(x.mean()) ** 2 - t * vx
    if a <= 0:
        return ratio, -math.inf, math.inf
    root = math.sqrt(max(b * b - a * c, 0.0))
    return ratio, (b - root) / a, (b + root) / a
