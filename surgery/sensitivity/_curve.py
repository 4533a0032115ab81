"""Curve: one component's metric over strength, as arrays, with its summaries."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from surgery.report import JSONValue
from surgery.sensitivity._point import Point

Array = NDArray[np.float64]
Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Curve:
    """One component and metric, from weak to strong, from 0 on.

    Attributes:
        component: Whose curve it is.
        baseline: The metric of the untouched model.
        levels: As they were asked for; the first, of the untouched model, as the next
            where there is no level of 0 (bits).
        strengths: How far each is from doing nothing; the first is 0.
        deltas: The change of the metric.
        lows: Lower ends of their intervals.
        highs: Upper ends of their intervals.
    """

    component: str
    baseline: float
    levels: Array
    strengths: Array
    deltas: Array
    lows: Array
    highs: Array

    @classmethod
    def of(cls, points: Sequence[Point]) -> Curve:
        """The curve of one component's points, from weak to strong."""
        first = points[0]
        untouched = [] if first.strength == 0 else [0.0]
        zero = [first.level if first.strength != first.level else 0.0]
        return cls(
            first.component,
            first.baseline,
            np.array([*(zero if untouched else []), *(p.level for p in points)]),
            np.array([*untouched, *(p.strength for p in points)]),
            np.array([*untouched, *(p.delta for p in points)]),
            np.array([*untouched, *(p.low for p in points)]),
            np.array([*untouched, *(p.high for p in points)]),
        )

    def area(self) -> Triple:
        """The mean change from doing nothing to the strongest level.

        Its interval is that of the whole band: never too narrow.
        """
        span = self.strengths[-1]
        if not span:
            return math.nan, math.nan, math.nan
        value, low, high = (
            float(np.trapezoid(side, self.strengths) / span)
            for side in (self.deltas, self.lows, self.highs)
        )
        return value, low, high

    def slope(self) -> Triple:
        """The change per strength at 0: from there to the weakest level."""
        if len(self.strengths) < 2:
            return math.nan, math.nan, math.nan
        step = self.strengths[1]
        return (
            float(self.deltas[1] / step),
            float(self.lows[1] / step),
            float(self.highs[1] / step),
        )

    def critical(self, cost: float, higher_is_better: bool | None) -> Triple:
        """The smallest strength that costs a part of the metric, as a level.

        Its interval is where the ends of the band cost as much. Infinite: no level did.

        Args:
            cost: Part of the baseline's metric.
            higher_is_better: Which way is a loss; `None`: both.
        """
        limit = cost * abs(self.baseline)
        if not limit:
            return math.nan, math.nan, math.nan
        if higher_is_better is None:
            inside = (self.lows <= 0) & (self.highs >= 0)
            ends = np.abs([self.lows, self.highs])
            losses = np.abs(self.deltas), ends.max(0), np.where(inside, 0, ends.min(0))
        elif higher_is_better:
            losses = -self.deltas, -self.lows, -self.highs
        else:
            losses = self.deltas, self.highs, self.lows
        value, low, high = (self._first(loss, limit) for loss in losses)
        return value, low, high

    def _first(self, loss: Array, limit: float) -> float:
        """The level at which a line through the points first reaches a limit."""
        beyond = np.flatnonzero(loss >= limit)
        if not len(beyond):
            return math.inf
        place = int(beyond[0])
        if place == 0:
            return float(self.levels[0])
        a, b = loss[place - 1], loss[place]
        part = 1.0 if not math.isfinite(b - a) else float((limit - a) / (b - a))
        start, end = self.strengths[place - 1 : place + 1]
        strength = start + part * (end - start)
        return float(np.interp(strength, self.strengths, self.levels))


def curves_of(points: Sequence[Point]) -> list[Curve]:
    """The curves of one metric, in the order of the points; failed points left out."""
    named: dict[str, list[Point]] = {}
    for point in points:
        mine = named.setdefault(point.component, [])
        if math.isfinite(point.delta):
            mine.append(point)
    return [Curve.of(mine) for mine in named.values() if mine]


def better_of(provenance: Mapping[str, JSONValue], metric: str) -> bool | None:
    """Whether higher is better, if that is known."""
    better = provenance.get("higher_is_better")
    up = better.get(metric) if isinstance(better, dict) else None
    return up if isinstance(up, bool) else None


def harm(change: float, up: bool | None) -> float:
    """A change as a loss: above 0, the model does worse."""
    return abs(change) if up is None else -change if up else change
