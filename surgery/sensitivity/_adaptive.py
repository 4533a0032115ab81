"""Adaptive levels: more of them where a curve is not known well enough."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from surgery.sensitivity._perturbation import Perturbation
from surgery.sensitivity._point import Point

FINEST = 64
"""So many parts of the whole range a step is looked for, and no more."""


def refined(
    names: Sequence[str],
    points: Sequence[Point],
    perturbation: Perturbation,
    tolerance: float,
) -> tuple[dict[int, tuple[float, ...]], dict[str, float]]:
    """Levels in the middle of where neighbouring points are too far apart.

    Between neighbours a monotone curve lies between their values: where these differ
    by no more than the tolerance, so does it from the line between them.

    Args:
        names: The components.
        points: All that is known so far; the first metric of it decides.
        perturbation: What is done.
        tolerance: In units of the metric.

    Returns:
        By component's number, the levels that are wanted; and by its name the widest
        gap that is left, where it is too wide but the levels are as fine as they go.
    """
    metric = (points[0].group, points[0].metric) if points else ("", "")
    wanted: dict[int, tuple[float, ...]] = {}
    open_: dict[str, float] = {}
    for number, name in enumerate(names):
        mine = [p for p in points if p.component == name]
        mine = [p for p in mine if (p.group, p.metric) == metric]
        known = {p.level: p.delta for p in mine if math.isfinite(p.delta)}
        if perturbation.starts_at_zero:
            known.setdefault(0.0, 0.0)
        levels = sorted(known, key=perturbation.strength)
        new, left = _between(levels, known, perturbation, tolerance)
        if new:
            wanted[number] = new
        if left:
            open_[name] = left
    return wanted, open_


def _between(
    levels: Sequence[float],
    known: dict[float, float],
    perturbation: Perturbation,
    tolerance: float,
) -> tuple[tuple[float, ...], float]:
    new: list[float] = []
    left = 0.0
    for a, b in itertools.pairwise(levels):
        gap = abs(known[b] - known[a])
        if gap <= tolerance:
            continue
        finest = abs(levels[-1] - levels[0]) / FINEST
        middle = perturbation.between(a, b, finest)
        if middle is None:
            left = max(left, gap)
        else:
            new.append(middle)
    return tuple(new), left
