"""Judging: from per-sample outcomes of all draws to points with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from surgery.engine import AbstractMetric, Sweep, Swept
from surgery.measurement import Reach, note, reach, require_outcomes
from surgery.sensitivity._perturbation import Perturbation
from surgery.sensitivity._point import Point
from surgery.stats import Effect, Evidence

_FURTHEST: tuple[Reach, ...] = ("full", "local", "none")


@dataclass(frozen=True)
class Place:
    """One point of a curve before it is measured.

    Attributes:
        component: Whose curve.
        level: At which level.
        draws: The variants that measure it, by number.
    """

    component: str
    level: float
    draws: tuple[int, ...]


def judged(
    sweep: Sweep,
    swept: Swept,
    places: Sequence[Place],
    perturbation: Perturbation,
    evidence: Evidence,
    seed: int,
) -> tuple[list[Point], dict[str, bool]]:
    """Points of a sweep, and for each metric whether higher is better.

    Raises:
        DataError: No sample was measured.
        OperationError: No place is left.
    """
    require_outcomes(swept, len(places))
    points: list[Point] = []
    directions: dict[str, bool] = {}
    for number, metric in enumerate(sweep.metrics):
        for place in places:
            effects = metric.compare_repeats(
                swept.baseline[number],
                [swept.outcomes[draw][number] for draw in place.draws],
                confidence=evidence.confidence,
                seed=seed,
            )
            failed = sum(swept.outcomes[draw][number].failed for draw in place.draws)
            for name, effect in effects.items():
                directions[name] = metric.direction(name)
                points.append(
                    _point(
                        sweep, swept, place, perturbation, metric, name, effect, failed
                    )
                )
    return points, directions


def _point(
    sweep: Sweep,
    swept: Swept,
    place: Place,
    perturbation: Perturbation,
    metric: AbstractMetric,
    name: str,
    effect: Effect,
    failed: int,
) -> Point:
    variants = [sweep.variants[draw] for draw in place.draws]
    reached = [
        reach(variant, swept.reached[draw])
        for variant, draw in zip(variants, place.draws, strict=True)
    ]
    return Point(
        component=place.component,
        perturb=perturbation.name,
        level=place.level,
        metric=name,
        baseline=effect.baseline,
        value=effect.value,
        delta=effect.delta,
        low=effect.low,
        high=effect.high,
        n=effect.n,
        p=effect.p,
        strength=perturbation.strength(place.level),
        repeats=len(place.draws),
        effect=next(r for r in _FURTHEST if r in reached),
        group=metric.group,
        failed=failed,
        note=note(variants),
    )
