"""Judging: from per-sample outcomes to rows with intervals and verdicts."""

from __future__ import annotations

from collections.abc import Sequence

from surgery.engine import AbstractMetric, Sweep, Swept
from surgery.measurement import note, reach, require_outcomes
from surgery.ranking._row import Row
from surgery.stats import Effect, Evidence, adjust, verdict


def judged(
    sweep: Sweep, swept: Swept, evidence: Evidence, seed: int
) -> tuple[tuple[Row, ...], dict[str, bool]]:
    """Rows of a sweep, and for each metric whether higher is better.

    All components of one metric are one family for the correction.

    Raises:
        DataError: No sample was measured.
    """
    ranked = [i for i in range(len(sweep.names)) if i not in swept.refused]
    require_outcomes(swept, len(ranked))
    rows: list[Row] = []
    directions: dict[str, bool] = {}
    for place, metric in enumerate(sweep.metrics):
        family = [
            metric.compare(
                swept.baseline[place],
                swept.outcomes[index][place],
                confidence=evidence.confidence,
                seed=seed,
            )
            for index in ranked
        ]
        failed = [swept.outcomes[index][place].failed for index in ranked]
        for name in family[0]:
            directions[name] = metric.direction(name)
            effects = [effect[name] for effect in family]
            measured = list(zip(ranked, effects, failed, strict=True))
            rows += _family(sweep, swept, metric, name, measured, evidence)
    return tuple(rows), directions


def _family(
    sweep: Sweep,
    swept: Swept,
    metric: AbstractMetric,
    name: str,
    measured: Sequence[tuple[int, Effect, int]],
    evidence: Evidence,
) -> list[Row]:
    adjusted = adjust([effect.p for _, effect, _ in measured], evidence.correction)
    higher, alpha = metric.direction(name), 1 - evidence.confidence
    rows: list[Row] = []
    for (index, effect, failed), p in zip(measured, adjusted, strict=True):
        p_adjusted = float(p)
        variant = sweep.variants[index]
        row = Row(
            component=sweep.names[index],
            metric=name,
            baseline=effect.baseline,
            value=effect.value,
            delta=effect.delta,
            low=effect.low,
            high=effect.high,
            p=effect.p,
            p_adjusted=p_adjusted,
            verdict=verdict(effect.delta, p_adjusted, higher, alpha),
            effect=reach(variant, swept.reached[index]),
            n=effect.n,
            group=metric.group,
            failed=failed,
            note=note([variant]),
        )
        rows.append(row)
    return rows
