"""Screening: a score for every component from one pass, and its check."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np

from surgery.engine import AbstractMetric, Swept
from surgery.errors import OperationError
from surgery.measurement import Measurement, Plan, note, provenance
from surgery.ops import (
    AbstractOperation,
    ModeLike,
    Noise,
    acts_on_outputs,
    as_operation,
    mode_name,
)
from surgery.sensitivity._check import checked
from surgery.sensitivity._corrected import corrected, draw_effects
from surgery.sensitivity._gradients import derive_by_dials
from surgery.sensitivity._hessian import DRAWS, measure_traces
from surgery.sensitivity._influence import measure_influence
from surgery.sensitivity._loss import Loss, the_loss, the_metric
from surgery.sensitivity._passes import Passed, PerSample
from surgery.sensitivity._score import Method, Score, scored
from surgery.sensitivity._scores import Scores
from surgery.sensitivity._twins import without_twins
from surgery.stats import Evidence

POINTED: Sequence[Method] = ("integrated", "corrected")
"""Methods that take more time per batch the more points they are given."""


@dataclass(frozen=True)
class Screen:
    """What is asked for.

    Attributes:
        method: By which method.
        operation: What dials go towards, and what the check does in full.
        surrogate: The loss, in the place of the metric.
        points: Of the quadrature; forwards that correct.
        draws: Of signs.
        check: So many components are checked.
    """

    method: Method
    operation: AbstractOperation
    surrogate: object
    points: int
    draws: int
    check: int

    @property
    def passes(self) -> int:
        """How often the data are read, but for what an operation averages first."""
        return 2 if self.check else 1


@dataclass
class _Found:
    scores: list[Score]
    passed: Passed
    joint: dict[str, float] | None = field(default=None)


def as_screen(
    method: Method,
    mode: ModeLike | None,
    surrogate: object,
    points: int,
    repeats: int | None,
    check: int,
) -> Screen:
    """What a user asked for.

    Raises:
        OperationError: An option makes no sense.
    """
    if points < 1:
        raise OperationError(f"points must be 1 or more, got {points}")
    if check < 0 or check == 1:
        raise OperationError(
            f"check is how many components are measured exactly: 2 or more, or 0 for "
            f"none, got {check}"
        )
    if repeats is not None and (method != "hessian" or repeats < 2):
        raise OperationError(
            "repeats is how often method='hessian' draws signs, 2 or more; other "
            f"methods have no use for it, got {repeats} for {method!r}"
        )
    operation = _operation(method, mode)
    on_outputs = acts_on_outputs(operation)
    if on_outputs == (method == "hessian"):
        raise OperationError(
            f"mode={mode_name(operation)!r} acts on "
            f"{'outputs' if on_outputs else 'parameters'}; method={method!r} needs one "
            f"that acts on {'parameters' if on_outputs else 'outputs'}, such as "
            f"{'ops.Quantize(bits=4)' if on_outputs else 'zero or mean'}"
        )
    return Screen(method, operation, surrogate, points, repeats or DRAWS, check)


def _operation(method: Method, mode: ModeLike | None) -> AbstractOperation:
    if mode is not None:
        return as_operation(mode)
    if method == "hessian":
        # Its effect is half the trace times the variance, where the loss is quadratic.
        return Noise(0.01, relative=False, on="parameters")
    return as_operation("identity" if method == "influence" else "zero")


def screen(
    measurement: Measurement,
    plan: Plan,
    asked: Screen,
    targets: object,
    evidence: Evidence,
) -> Scores:
    """Score every row of a plan, and check some.

    Args:
        measurement: Running.
        plan: The rows.
        asked: What is asked for.
        targets: As the user gave them.
        evidence: How to judge.
    """
    world = measurement.peers.world
    if world > 1:
        raise OperationError(
            f"method={asked.method!r} runs in one process, but {world} measure "
            "together; have each of them score on its own: "
            "engine=Engine(sharded=False)"
        )
    metric: AbstractMetric
    if asked.method == "influence":
        loss, metric = None, the_metric(measurement.metrics, asked.surrogate)
    else:
        loss = the_loss(measurement.metrics, asked.surrogate)
        metric = loss.metric
    measurement.metrics = (metric,)
    if asked.method == "hessian":
        plan = without_twins(plan)
    else:
        _require_outputs(plan, asked)
    found = _found(measurement, plan, asked, loss, evidence)
    order = list(plan.names)
    told: dict[str, Any] = {}
    if asked.check and not found.passed.interrupted:
        told = checked(
            measurement,
            plan,
            asked.operation,
            metric,
            found.scores,
            asked.check,
            evidence,
        )
    passed = found.passed
    if passed.interrupted:
        samples = sum(passed.sizes)
        warnings.warn(
            f"interrupted: the result rests on the first {samples} samples, unchecked",
            stacklevel=3,
        )
    swept = Swept.start(measurement.metrics, 0, None)
    swept.batch_sizes, swept.failures = passed.sizes, passed.failures
    swept.interrupted = passed.interrupted
    origin = provenance(
        measurement,
        targets,
        {
            "method": asked.method,
            "loss": metric.name,
            "mode": mode_name(asked.operation),
            "points": asked.points if asked.method in POINTED else None,
            "repeats": asked.draws if asked.method == "hessian" else None,
            "joint": found.joint,
            "check": told,
        },
        evidence,
        order,
        plan.skipped,
        swept,
        _directions(metric, loss),
    )
    return Scores(tuple(found.scores), origin)


def _require_outputs(plan: Plan, asked: Screen) -> None:
    """Refuse parameters: they have no output, and no value per sample."""
    for name, variant in zip(plan.names, plan.variants, strict=True):
        if len(variant.edits) < len(variant.components):
            raise OperationError(
                f"{name} is or has a parameter, the same for every sample: method="
                f"{asked.method!r} scores outputs; use method='hessian', or measure it "
                "with surgery.rank"
            )


def _directions(metric: AbstractMetric, loss: Loss | None) -> Mapping[str, bool]:
    if loss is not None:
        return {metric.name: loss.higher_is_better}
    return {}


def _found(
    measurement: Measurement,
    plan: Plan,
    asked: Screen,
    loss: Loss | None,
    evidence: Evidence,
) -> _Found:
    if asked.method == "influence":
        values, passed = measure_influence(measurement, plan)
        return _Found(_scored(measurement, plan, asked, values, evidence), passed)
    loss = cast("Loss", loss)
    if asked.method == "hessian":
        return _Found(*measure_traces(measurement, plan, loss, asked.draws, evidence))
    points = asked.points if asked.method == "integrated" else None
    if asked.method == "corrected":
        drawn = draw_effects(measurement, plan, loss, asked.points)
        return _Found(corrected(plan, _notes(plan), drawn, evidence), drawn.passed)
    derived = derive_by_dials(measurement, plan, loss, points)
    if asked.method == "fisher":
        derived.scores.values = [x**2 / 2 for x in derived.scores.values]
    scores = _scored(measurement, plan, asked, derived.scores, evidence)
    joint = None
    if points is not None:
        effects, weights = derived.joint.all()
        exact = float(np.average(effects[0], weights=weights))
        joint = {"scores": sum(row.score for row in scores), "exact": exact}
    return _Found(scores, derived.passed, joint)


def _scored(
    measurement: Measurement,
    plan: Plan,
    asked: Screen,
    values: PerSample,
    evidence: Evidence,
) -> list[Score]:
    # Influence does nothing: there is nothing to tell of it.
    notes = [""] * len(plan.names) if asked.method == "influence" else _notes(plan)
    return scored(plan.names, notes, asked.method, values, evidence, measurement.seed)


def _notes(plan: Plan) -> list[str]:
    return [note([variant]) for variant in plan.variants]
