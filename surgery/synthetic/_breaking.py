"""Where something breaks as a knob is turned."""

from __future__ import annotations

import math
from collections.abc import Sequence

from surgery.errors import DataError


def breaking_point(
    levels: Sequence[float], values: Sequence[float], threshold: float
) -> float:
    """The level at which a value that is good if large first falls below a threshold.

    Interpolated linearly between levels.

    Args:
        levels: Those tried, ascending.
        values: What came out at each.
        threshold: What is just good enough.

    Returns:
        The level; the first one if it was never good enough, infinity if it never
        breaks.
    """
    if len(levels) != len(values) or list(levels) != sorted(levels):
        raise DataError(
            "breaking_point takes ascending levels with a value each, got "
            f"{list(levels)} and {len(values)} values"
        )
    for index, (level, value) in enumerate(zip(levels, values, strict=True)):
        if value >= threshold:
            continue
        if index == 0:
            return float(level)
        before, good = levels[index - 1], values[index - 1]
        return float(before + (level - before) * (good - threshold) / (good - value))
    return math.inf
