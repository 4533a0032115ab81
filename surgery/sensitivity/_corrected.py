"""Corrected: slopes on all samples, and how far off they are on some that are drawn.

What a slope foretells of a component's effect may be wrong, but it is cheap. A forward
may take one component out for these samples and another for those, so that few forwards
tell the exact effects of all components, each on some samples. The mean slope, plus the
mean of what it was off by there, is right on average however bad slopes are, and
precise where they are good: the difference estimator of sampling (Cochran, Sampling
Techniques, 1977), of late prediction-powered inference (Angelopoulos et al., 2023).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from surgery._random import derive
from surgery.engine import Runner
from surgery.errors import OperationError
from surgery.measurement import Measurement, Plan
from surgery.sensitivity._deck import Deck
from surgery.sensitivity._gate import Dials, gated
from surgery.sensitivity._gradients import slopes
from surgery.sensitivity._loss import Loss
from surgery.sensitivity._passes import Passed, PerSample, each_batch
from surgery.sensitivity._score import Score, with_failed
from surgery.stats import Evidence, t_interval, t_test

Array = NDArray[np.float64]


@dataclass
class Drawn:
    """What the pass told.

    Attributes:
        slopes: By row and sample.
        effects: Likewise, exact; 0 where none was measured.
        measured: Likewise, whether one was: 1 or 0.
        passed: How the pass went.
    """

    slopes: PerSample = field(default_factory=PerSample)
    effects: PerSample = field(default_factory=PerSample)
    measured: PerSample = field(default_factory=PerSample)
    passed: Passed = field(default_factory=Passed)


def draw_effects(
    measurement: Measurement, plan: Plan, loss: Loss, forwards: int
) -> Drawn:
    """One backward pass for all slopes; forwards for exact effects on drawn samples.

    Args:
        measurement: Running.
        plan: The rows.
        loss: What is derived, and changes.
        forwards: In how many, per batch, each sample has one component out.
    """
    drawn = Drawn()
    rows = len(plan.names)
    dials = Dials(rows)
    deck = Deck(rows, derive(measurement.seed, "corrected"))

    def work(runner: Runner, batch: Any, number: int, size: int) -> None:
        device = measurement.place.device
        turned = dials.turn(0.0, size, device)
        found, before, weights = slopes(turned, runner, batch, number, size, loss)
        effects, measured = torch.zeros_like(found), torch.zeros_like(found)
        every = torch.arange(size, device=device)
        for out in deck.deal(size, min(forwards, rows)):
            dials.take_out(out, device)
            runner.put_back()
            after, _ = loss(*runner.forward(batch, number), size)
            place = torch.from_numpy(out).to(device), every
            effects[place] = (after - before).to(effects)
            measured[place] = 1
        drawn.slopes.add(found, weights)
        drawn.effects.add(effects, weights)
        drawn.measured.add(measured, weights)

    drawn.passed = each_batch(
        measurement,
        plan.names,
        plan.variants,
        f"Differentiating by {rows} dials, and correcting",
        work,
        gated(measurement.model, plan.variants, dials, measurement.engine.backend),
    )
    return drawn


def corrected(
    plan: Plan, notes: list[str], drawn: Drawn, evidence: Evidence
) -> list[Score]:
    """Rows with intervals.

    Raises:
        OperationError: A row was not measured on two samples.
    """
    (predicted, weights), (effects, _) = drawn.slopes.all(), drawn.effects.all()
    measured = drawn.measured.all()[0] > 0
    fewest = int(measured.sum(1).min())
    if fewest < 2:
        rows, samples = measured.shape
        raise OperationError(
            f"{samples} samples in so few forwards take one of {rows} components out "
            f"only {fewest} times, and an interval needs two; give more samples, or "
            f"points={max(2, math.ceil(3 * rows / samples))}"
        )
    return [
        _row(*one, weights, evidence)
        for one in zip(plan.names, notes, predicted, effects, measured, strict=True)
    ]


def _row(
    name: str,
    note: str,
    predicted: Array,
    effects: Array,
    measured: NDArray[np.bool_],
    weights: Array,
    evidence: Evidence,
) -> Score:
    """The mean of values, one per sample, whose spread is the estimate's."""
    off = np.where(measured, effects - predicted, 0.0)
    w = weights / weights.mean()
    share = float((w * measured).mean())
    mean_off = float((w * off).mean()) / share
    values = predicted + mean_off + np.where(measured, off - mean_off, 0.0) / share
    score = float((w * values).mean())
    n, samples = int(measured.sum()), len(values)
    spread = float(((w * (values - score)) ** 2).mean())
    error = math.sqrt(spread / samples * n / (n - 1))
    low, high = t_interval(score, error, n - 1, evidence.confidence)
    p = t_test(score, error, n - 1)
    return Score(
        name,
        "corrected",
        score,
        low,
        high,
        n,
        p,
        error,
        with_failed(note, predicted + off),
    )
