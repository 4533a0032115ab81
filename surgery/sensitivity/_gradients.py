"""Gradients of the loss by every dial, for each sample, from one backward pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from surgery.engine import Runner
from surgery.measurement import Measurement, Plan
from surgery.sensitivity._gate import Dials, gated
from surgery.sensitivity._loss import Loss
from surgery.sensitivity._passes import Passed, PerSample, each_batch

Array = NDArray[np.float64]


@dataclass
class Derived:
    """What backward passes told.

    Attributes:
        scores: By row and sample, the derivative by the dial (or its mean over dials).
        joint: By sample, the loss with all dials at 1 minus that with all at 0, where
            dials were turned.
        passed: How the pass went.
    """

    scores: PerSample = field(default_factory=PerSample)
    joint: PerSample = field(default_factory=PerSample)
    passed: Passed = field(default_factory=Passed)


def derive_by_dials(
    measurement: Measurement, plan: Plan, loss: Loss, points: int | None
) -> Derived:
    """Derivatives by the dials of all rows, at 0 or averaged while all turn together.

    Args:
        measurement: Running.
        plan: The rows.
        loss: What is derived.
        points: So many points of a Gauss-Legendre rule on the way from 0 to 1, each of
            which takes a backward pass; `None`: at 0 only.
    """
    derived = Derived()
    nodes = _nodes(points)
    dials = Dials(len(plan.variants))

    def work(runner: Runner, batch: Any, number: int, size: int) -> None:
        device = measurement.place.device
        total: Tensor | None = None
        weights = torch.ones(size)
        for place, share in nodes:
            turned = dials.turn(place, size, device)
            found, _, weights = slopes(turned, runner, batch, number, size, loss)
            total = share * found if total is None else total + share * found
        assert total is not None
        if points is not None:
            joint = _joint(dials, runner, batch, number, size, loss, device)
            weights = torch.where(joint.isfinite(), weights, 0)
            derived.joint.add(joint[None], weights)
        derived.scores.add(total, weights)

    title = f"Differentiating by {len(plan.names)} dials"
    derived.passed = each_batch(
        measurement,
        plan.names,
        plan.variants,
        title,
        work,
        gated(measurement.model, plan.variants, dials, measurement.engine.backend),
    )
    return derived


def slopes(
    turned: Sequence[Tensor],
    runner: Runner,
    batch: Any,
    number: int,
    size: int,
    loss: Loss,
) -> tuple[Tensor, Tensor, Tensor]:
    """Of every dial on every sample, at where the dials are.

    Returns:
        Slopes, rows x samples; the loss of each sample; and its weight, 0 where it is
        not finite.
    """
    runner.put_back()
    with torch.enable_grad():
        values, weights = loss(*runner.forward(batch, number), size)
        weights = torch.where(values.isfinite(), weights, 0)
        found = torch.autograd.grad(
            values.sum(), turned, allow_unused=True, materialize_grads=True
        )
    return torch.stack(found), values.detach(), weights


def _joint(
    dials: Dials,
    runner: Runner,
    batch: Any,
    number: int,
    size: int,
    loss: Loss,
    device: torch.device,
) -> Tensor:
    """Each sample's effect of taking all components out of action together."""
    ends: list[Tensor] = []
    for dial in (0.0, 1.0):
        dials.turn(dial, size, device)
        runner.put_back()
        with torch.no_grad():
            ends.append(loss(*runner.forward(batch, number), size)[0])
    return ends[1] - ends[0]


def _nodes(points: int | None) -> list[tuple[float, float]]:
    """Places in [0, 1] and their shares."""
    if points is None:
        return [(0.0, 1.0)]
    places, shares = np.polynomial.legendre.leggauss(points)
    return [
        (float(x + 1) / 2, float(w) / 2) for x, w in zip(places, shares, strict=True)
    ]
