"""The check: exact effects of some components, beside what one pass says of them.

A gradient sees what an infinitely small step does. Where the loss bends (a saturated
softmax) or small changes cancel, that is not what ablation does: this finds out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from surgery.engine import AbstractMetric
from surgery.measurement import Measurement, Plan
from surgery.ops import AbstractOperation
from surgery.sensitivity._agreement import alike
from surgery.sensitivity._curve import harm
from surgery.sensitivity._score import CHANGES, SIGNED, Score
from surgery.stats import Evidence


@dataclass(frozen=True)
class Checked:
    """One component's score beside its exact effect on the loss.

    Attributes:
        component: Whose.
        score: What the method says.
        exact: The effect of the operation in full, measured.
        low: Lower end of its interval.
        high: Upper end of it.
        missed: Whether the score is outside of it and wrong by more than half: never
            for scores that are no estimates of the effect.
    """

    component: str
    score: float
    exact: float
    low: float
    high: float
    missed: bool


def checked(
    measurement: Measurement,
    plan: Plan,
    operation: AbstractOperation,
    metric: AbstractMetric,
    scores: Sequence[Score],
    count: int,
    evidence: Evidence,
) -> dict[str, Any]:
    """Measure some components exactly; what that says of the scores, as plain JSON.

    Args:
        measurement: Running.
        plan: The rows.
        operation: What is done to them.
        metric: What the scores are of, or are meant to foretell.
        scores: All of them, in the order of the plan.
        count: How many components to measure: evenly spaced by score, with both ends.
        evidence: How to judge.
    """
    rows = _chosen(scores, count)
    sweep, swept = measurement.sweep(
        [plan.names[row] for row in rows],
        [
            measurement.variant(plan.variants[row].components, operation, 1.0)
            for row in rows
        ],
        f"Checking {len(rows)} components",
        ("check", scores[0].method, repr(evidence)),
    )
    number = sweep.metrics.index(metric)
    up: bool | None = None
    found: list[Checked] = []
    for place, row in enumerate(rows):
        if place in swept.refused:
            continue
        effects = metric.compare(
            swept.baseline[number],
            swept.outcomes[place][number],
            confidence=evidence.confidence,
            seed=measurement.seed,
        )
        name, effect = next(iter(effects.items()))
        up = metric.direction(name)
        score = scores[row]
        missed = score.method in CHANGES and _is_missed(
            score.score, effect.delta, effect.low, effect.high
        )
        found.append(
            Checked(
                score.component,
                score.score,
                effect.delta,
                effect.low,
                effect.high,
                missed,
            )
        )
    return _told(found, scores[0].method, up, evidence)


def _told(
    found: Sequence[Checked], method: str, up: bool | None, evidence: Evidence
) -> dict[str, Any]:
    signed = method in SIGNED
    agreement = alike(
        [harm(c.score, up) if signed else c.score for c in found],
        [harm(c.exact, up) for c in found],
        evidence.confidence,
    )
    told: dict[str, Any] = {
        "n": len(found),
        "spearman": agreement.rho,
        "low": agreement.low,
        "high": agreement.high,
        "kendall": agreement.tau,
        "missed": [c.component for c in found if c.missed],
        "components": [asdict(c) for c in found],
    }
    if method in CHANGES and found:
        worst = max(found, key=_disagreement)
        told["largest"] = _disagreement(worst)
        told["largest_at"] = worst.component
    return told


def _disagreement(one: Checked) -> float:
    gap = abs(one.score - one.exact)
    return math.inf if math.isnan(gap) else gap


def _is_missed(score: float, exact: float, low: float, high: float) -> bool:
    gap = abs(score - exact)
    half = max(abs(score), abs(exact)) / 2
    return math.isnan(gap) or (not low <= score <= high and gap > half)


def _chosen(scores: Sequence[Score], count: int) -> list[int]:
    """Rows evenly spaced in the order of the scores, in the order of the plan."""
    rows = list(range(len(scores)))
    if count >= len(rows):
        return rows
    rows.sort(key=lambda row: (math.isnan(scores[row].score), scores[row].score))
    step = (len(rows) - 1) / max(count - 1, 1)
    return sorted({rows[round(i * step)] for i in range(count)})
