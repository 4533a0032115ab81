"""Curves: every component at every level and draw, in sweeps over the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from surgery._random import derive
from surgery.ablation import Variant
from surgery.engine import Sweep, Swept
from surgery.measurement import Measurement, Plan
from surgery.sensitivity._adaptive import refined
from surgery.sensitivity._judge import Place, judged
from surgery.sensitivity._perturbation import Perturbation
from surgery.sensitivity._point import Point
from surgery.stats import Evidence


@dataclass(frozen=True)
class Asked:
    """What is to be known.

    Attributes:
        perturbation: What is done.
        levels: At which levels, at first.
        repeats: How often each is drawn.
        tolerance: How far neighbouring points may be apart; `None`: the levels only.
    """

    perturbation: Perturbation
    levels: tuple[float, ...]
    repeats: int
    tolerance: float | None

    def variants(
        self, measurement: Measurement, components: Any, level: float
    ) -> list[Variant]:
        """A component at one level, once for each draw.

        The draws are those of every other component and level.
        """
        operation, dial = self.perturbation.at(level)
        return [
            measurement.variant(
                components, operation, dial, _seed(measurement.seed, repeat)
            )
            for repeat in range(self.repeats)
        ]


@dataclass
class Curves:
    """What was measured.

    Attributes:
        points: All of it.
        directions: By metric, whether higher is better.
        order: The names of variants, in the order of the sweeps.
        refused: Points that could not be measured, as `component, cause`.
        swept: What the last sweep left.
        rounds: How many sweeps there were.
        open: By component, how far neighbouring points still are apart, where that is
            more than was asked for.
    """

    points: list[Point] = field(default_factory=list[Point])
    directions: dict[str, bool] = field(default_factory=dict[str, bool])
    order: list[str] = field(default_factory=list[str])
    refused: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    swept: list[Swept] = field(default_factory=list[Swept])
    open: dict[str, float] = field(default_factory=dict[str, float])


def measure_curves(
    measurement: Measurement, plan: Plan, asked: Asked, evidence: Evidence
) -> Curves:
    """Sweep all components over all levels, and over more where a curve is not known.

    Args:
        measurement: Running.
        plan: The components.
        asked: What is to be known.
        evidence: How to judge.
    """
    curves = Curves()
    wanted: Mapping[int, Sequence[float]] = dict.fromkeys(
        range(len(plan.names)), asked.levels
    )
    while wanted:
        _sweep(measurement, plan, asked, wanted, evidence, curves)
        if asked.tolerance is None or curves.swept[-1].interrupted:
            break
        wanted, curves.open = refined(
            plan.names, curves.points, asked.perturbation, asked.tolerance
        )
    return curves


def _sweep(
    measurement: Measurement,
    plan: Plan,
    asked: Asked,
    wanted: Mapping[int, Sequence[float]],
    evidence: Evidence,
    curves: Curves,
) -> None:
    places: list[Place] = []
    names: list[str] = []
    variants: list[Variant] = []
    for row, levels in wanted.items():
        components = plan.variants[row].components
        for level in levels:
            made = asked.variants(measurement, components, level)
            first = len(variants)
            numbers = range(first, first + len(made))
            places.append(Place(plan.names[row], level, tuple(numbers)))
            name = f"{plan.names[row]} at {level:g}"
            draws = [f"{name}, draw {draw}" for draw in range(len(made))]
            names += draws if len(made) > 1 else [name]
            variants += made
    sweep, swept = measurement.sweep(
        names,
        variants,
        f"Perturbing {len(wanted)} components",
        (asked.perturbation.name, asked.levels, asked.repeats, repr(evidence)),
    )
    curves.order += names
    curves.swept.append(swept)
    _judge(sweep, swept, places, asked, evidence, measurement.seed, curves)


def _judge(
    sweep: Sweep,
    swept: Swept,
    places: Sequence[Place],
    asked: Asked,
    evidence: Evidence,
    seed: int,
    curves: Curves,
) -> None:
    curves.refused += [
        {"component": sweep.names[i], "cause": cause}
        for i, cause in swept.refused.items()
    ]
    left = [p for p in places if not swept.refused.keys() & set(p.draws)]
    points, directions = judged(sweep, swept, left, asked.perturbation, evidence, seed)
    curves.points += points
    curves.directions |= directions


def _seed(seed: int, repeat: int) -> int:
    """The first draw is that of `ablate` and `rank` under the same seed."""
    return derive(seed, "repeat", repeat) if repeat else seed
