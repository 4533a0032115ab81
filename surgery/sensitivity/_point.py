"""Point: what one level of a perturbation did to one metric."""

from __future__ import annotations

from dataclasses import dataclass

from surgery.measurement import Reach


@dataclass(frozen=True)
class Point:
    """One component, one level and one metric: a point of a curve.

    Attributes:
        component: The target that names it.
        perturb: What was done to it.
        level: How much, as it was asked for.
        metric: Name of the metric.
        baseline: The metric of the untouched model.
        value: The metric at this level, the mean over repeats.
        delta: `value - baseline`.
        low: Lower end of the interval of `delta`: over samples and repeats.
        high: Upper end of it.
        n: Samples that were compared.
        p: How likely so large a change is if the perturbation made no difference.
        strength: How far the level is from doing nothing, which is 0: the level itself,
            but for bits the step between two values.
        repeats: How often it was drawn.
        effect: How far the perturbation reached: `full` changed the model's output,
            `local` only the component's own or its parameters, `none` not even that.
        group: The table it belongs to, where metrics come in named groups.
        failed: Samples that failed only with the perturbation, over all repeats.
        note: What else must be known to read this row.
    """

    component: str
    perturb: str
    level: float
    metric: str
    baseline: float
    value: float
    delta: float
    low: float
    high: float
    n: int
    p: float
    strength: float
    repeats: int
    effect: Reach
    group: str = ""
    failed: int = 0
    note: str = ""
