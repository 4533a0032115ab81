"""Proposals: levels for all components together, by what each costs by its curve."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, final

from torch import Tensor, nn

from surgery.ablation import Variant
from surgery.anatomy import Component
from surgery.measurement import Measurement, Plan
from surgery.ops import (
    AbstractNewValue,
    AbstractOperation,
    AbstractParameterOperation,
    Quantize,
    acts_on_outputs,
)
from surgery.sensitivity._budget import Choice, spend
from surgery.sensitivity._curve import harm
from surgery.sensitivity._perturbation import Perturbation
from surgery.sensitivity._point import Point

SHARES = (1.0, 0.7, 0.5, 0.35, 0.25, 0.12, 0.06)
"""Parts of the budget that are spent by the curves: effects together may cost more."""

_BITS = 32
"""Of a weight that is not quantised."""


@final
@dataclass(frozen=True)
class Assigned(AbstractParameterOperation):
    """To each component an operation of its own.

    Attributes:
        pairs: Components' names and their operations.
    """

    pairs: tuple[tuple[str, AbstractParameterOperation], ...]
    # It makes sense where what it assigns does: all of these change weights.
    mode: ClassVar[str] = Quantize.mode

    def values(
        self, model: nn.Module, component: Component, seed: int
    ) -> Mapping[Tensor, AbstractNewValue]:
        return dict(self.pairs)[component.name].values(model, component, seed)


def choices_of(
    measurement: Measurement,
    plan: Plan,
    points: Sequence[Point],
    perturbation: Perturbation,
    up: bool | None,
) -> dict[str, list[Choice]]:
    """For each component the levels it can have, what they cost and what they save.

    Args:
        measurement: Running.
        plan: The components.
        points: Of their curves.
        perturbation: What the curves are of.
        up: Whether more of the metric is better.
    """
    sizes = {
        name: _size(measurement.model, variant)
        for name, variant in zip(plan.names, plan.variants, strict=True)
    }
    choices: dict[str, list[Choice]] = {}
    for point in points:
        if point.component not in sizes or not math.isfinite(point.delta):
            continue
        is_bits = isinstance(perturbation.operation, Quantize)
        share = _BITS - point.level if is_bits else point.level
        if acts_on_outputs(perturbation.operation) and point.level != 1:
            continue  # a component goes, or it stays
        if point.strength > 0:
            cost = max(harm(point.delta, up), 0.0)
            choice = Choice(point.level, cost, share * sizes[point.component])
            choices.setdefault(point.component, []).append(choice)
    return choices


def _size(model: nn.Module, variant: Variant) -> int:
    changed = variant.tensors()
    if changed:
        return sum(tensor.numel() for tensor in changed)
    owners = {component.path for component in variant.components}
    found = {
        id(p): p for path in owners for p in model.get_submodule(path).parameters()
    }
    return max(1, sum(p.numel() for p in found.values()))


def proposals_within(
    choices: Mapping[str, Sequence[Choice]], max_drop: float
) -> list[dict[str, Choice]]:
    """From bold to careful, none twice."""
    proposals: list[dict[str, Choice]] = []
    for share in SHARES:
        proposal = spend(choices, share * max_drop)
        if proposal and proposal not in proposals:
            proposals.append(proposal)
    return proposals


def together(
    measurement: Measurement,
    plan: Plan,
    proposal: Mapping[str, Choice],
    perturbation: Perturbation,
) -> Variant:
    """All components of a proposal at their levels, as one variant."""
    members = {
        component: perturbation.at(proposal[name].level)[0]
        for name, variant in zip(plan.names, plan.variants, strict=True)
        if name in proposal
        for component in variant.components
    }
    operation: AbstractOperation = perturbation.operation
    if not acts_on_outputs(operation):
        operation = Assigned(
            tuple(
                (component.name, one)
                for component, one in members.items()
                if isinstance(one, AbstractParameterOperation)
            )
        )
    return measurement.variant(list(members), operation, 1.0)
