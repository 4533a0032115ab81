"""Formulas of the named metrics that are means of something per sample."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, final

import torch
from torch import Tensor
from torch.nn import functional

from surgery.engine._checks import Checks
from surgery.engine._layout import (
    IGNORED,
    ClassificationLayout,
    Classified,
    RegressionLayout,
)
from surgery.errors import DataError


class AbstractFormula(ABC):
    """Gives a value per sample and, where samples differ in it, their weight."""

    @abstractmethod
    def __call__(
        self, outputs: Any, labels: Any, checks: Checks | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Return values `(B,)` and weights `(B,)`, or `None` where all weigh 1.

        Args:
            outputs: What the step returned.
            labels: What the step returned.
            checks: Told what would be looked at in labels, which then is not: nothing
                waits for the device. Weights may then be those of samples that all
                count.
        """


@final
class Correct(AbstractFormula):
    """Share of positions whose label is among the k highest logits."""

    def __init__(self, name: str, k: int = 1, *, wrong: bool = False) -> None:
        self._layout = ClassificationLayout(name)
        self._name, self._k, self._wrong = name, k, wrong

    def __call__(
        self, outputs: Any, labels: Any, checks: Checks | None = None
    ) -> tuple[Tensor, Tensor | None]:
        item = self._layout(outputs, labels, checks)
        if self._k > item.classes:
            raise DataError(
                f"{self._name} needs at least {self._k} classes, but the outputs have "
                f"{item.classes}; use accuracy@{item.classes} or less"
            )
        if self._k == 1:
            right = item.predictions() == item.labels
        elif item.binary:  # both of the two classes are among the highest two
            right = torch.ones_like(item.labels, dtype=torch.bool)
        else:
            top = item.logits.topk(self._k, dim=1).indices
            right = (top == item.labels.unsqueeze(1)).any(1)
        return _mean(~right if self._wrong else right, item)


@final
class CrossEntropy(AbstractFormula):
    """Mean cross entropy, in nats, of the positions that count."""

    def __init__(self, name: str, *, soft: bool = True) -> None:
        self._layout = ClassificationLayout(name, soft=soft)

    def __call__(
        self, outputs: Any, labels: Any, checks: Checks | None = None
    ) -> tuple[Tensor, Tensor | None]:
        item = self._layout(outputs, labels, checks)
        if item.binary:
            loss = functional.binary_cross_entropy_with_logits(
                item.logits,
                item.labels.clamp(0, 1).to(item.logits.dtype),
                reduction="none",
            )
        else:
            loss = functional.cross_entropy(
                item.logits, item.labels, reduction="none", ignore_index=IGNORED
            )
        return _mean(loss, item)


@final
class Distance(AbstractFormula):
    """Mean of |output - label| to a power."""

    def __init__(self, name: str, power: int) -> None:
        self._layout = RegressionLayout(name)
        self._power = power

    def __call__(
        self, outputs: Any, labels: Any, checks: Checks | None = None
    ) -> tuple[Tensor, Tensor | None]:
        values, wanted = self._layout(outputs, labels, checks)
        return (values - wanted).abs().pow(self._power).mean(1), None


def _mean(values: Tensor, item: Classified) -> tuple[Tensor, Tensor | None]:
    """Mean of `(B, P)` over the positions of each sample that count."""
    if isinstance(item.ignored, Tensor):
        some, weights = _mean_of(values, item.valid)
        every = _mean_of(values, None)[0]
        # Sums of all positions are added up in another order where some do not count.
        return torch.where(item.ignored, some, every), weights
    return _mean_of(values, None if item.soft or not item.ignored else item.valid)


def _mean_of(values: Tensor, counted: Tensor | None) -> tuple[Tensor, Tensor | None]:
    positions = values.shape[1]
    if positions == 1:
        return values[:, 0], None if counted is None else counted[:, 0]
    values = values.to(_real(values))
    if counted is None:
        # Other batches may have more positions, or fewer.
        weights = torch.full((len(values),), positions, device=values.device)
        return values.mean(1), weights
    weights = counted.sum(1)
    return values.masked_fill(~counted, 0).sum(1) / weights.clamp(min=1), weights


def _real(values: Tensor) -> torch.dtype:
    return values.dtype if values.is_floating_point() else torch.float32
