"""What a sweep measures, on one batch and in all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from surgery.anatomy import tensors
from surgery.engine._metric import AbstractMetric, AbstractOutcome
from surgery.errors import SurgeryError

ROUNDING = 1e-5
"""A part of the largest value: as far as another order of sums takes a result."""


@dataclass(frozen=True)
class Failure:
    """A sample that could not be measured.

    Attributes:
        component: The row in which it failed; `None` for the untouched model.
        sample: Its place in the data, from 0.
        cause: What went wrong.
    """

    component: str | None
    sample: int
    cause: str


@dataclass
class Swept:
    """What a sweep leaves: per-sample outcomes, and what happened on the way.

    Attributes:
        baseline: The untouched model's outcome, by metric.
        outcomes: For each variant its outcomes, by metric.
        reached: For each variant whether the model's output ever changed.
        refused: For each variant that cannot be applied to this model, why.
        batch_sizes: Samples of each batch, in order: with the seed, the plan.
        failures: Samples that failed.
        interrupted: Whether it stopped before the end of the data.
    """

    baseline: list[AbstractOutcome]
    outcomes: list[list[AbstractOutcome]]
    reached: list[bool]
    refused: dict[int, str] = field(default_factory=dict[int, str])
    batch_sizes: list[int] = field(default_factory=list[int])
    failures: list[Failure] = field(default_factory=list[Failure])
    interrupted: bool = False

    @classmethod
    def start(
        cls, metrics: Sequence[AbstractMetric], variants: int, samples: int | None
    ) -> Swept:
        """Nothing measured yet."""
        return cls(
            baseline=[metric.start(samples) for metric in metrics],
            outcomes=[[m.start(samples) for m in metrics] for _ in range(variants)],
            reached=[False] * variants,
        )


def kept_places(places: Sequence[int], mask: Tensor) -> list[int]:
    return [place for place, keep in zip(places, mask.tolist(), strict=True) if keep]


def differ(baseline: Any, outputs: Any) -> bool:
    ours, theirs = tensors(baseline), tensors(outputs)
    return len(ours) != len(theirs) or any(
        a.shape != b.shape or not torch.equal(a, b)
        for a, b in zip(ours, theirs, strict=True)
    )


def forward_failed(where: str, error: Exception) -> SurgeryError:
    """What to raise when the model itself raised."""
    return SurgeryError(
        f"the forward failed {where}: {words(error)}. Mend it, or count and skip such "
        "samples with on_error='skip'"
    )


def span(places: Sequence[int]) -> str:
    return f"on samples {places[0]} to {places[-1]}"


def words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
