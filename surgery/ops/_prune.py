"""Prune: the smallest weights, or the smallest channels of them, set to zero."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self, final

import torch
from torch import Tensor, nn

from surgery.anatomy import Component
from surgery.errors import OperationError
from surgery.ops._base import AbstractNewValue, AbstractParameterOperation
from surgery.ops._changes import Each
from surgery.ops._graded import AbstractGraded, require_share
from surgery.ops._owned import weights


@final
@dataclass(frozen=True)
class Prune(AbstractParameterOperation, AbstractGraded):
    """The smallest weights set to zero, in each tensor the same share.

    Biases and the scales of norms stay as they are, unless the component has nothing
    else.

    Attributes:
        share: Share of the entries (of the channels, if structured) of each weight, to
            the nearest number of them. Default: 0.5.
        structured: Whole channels by their Euclidean norm, in place of single entries
            by their magnitude.
        axis: Which axis of a weight has the channels. Default: 0, as in torch's layers.
    """

    share: float = 0.5
    structured: bool = False
    axis: int = 0
    mode: ClassVar[str] = "prune"
    ladder: ClassVar[Sequence[float]] = (0.1, 0.3, 0.5, 0.7, 0.9)

    def __post_init__(self) -> None:
        require_share("Prune(share=...)", self.share)

    def at(self, level: float) -> Self:
        return replace(self, share=level)

    def values(
        self, model: nn.Module, component: Component, seed: int
    ) -> Mapping[Tensor, AbstractNewValue]:
        found = weights(model, component)
        for name, tensor in found.items():
            if self.structured and not -tensor.ndim <= self.axis < tensor.ndim:
                raise OperationError(
                    f"{name} has {tensor.ndim} axes, and no axis {self.axis} to prune "
                    "channels of; use Prune(structured=False)"
                )
        return dict.fromkeys(found.values(), Each(self._pruned))

    def kept(self, weight: Tensor) -> Tensor:
        """Which entries of a weight stay; which channels, if structured."""
        if not self.structured:
            return self._largest(weight.abs().flatten()).view(weight.shape)
        others = [i for i in range(weight.ndim) if i != self.axis % weight.ndim]
        size = torch.linalg.vector_norm(weight, dim=others) if others else weight.abs()
        return self._largest(size)

    def _pruned(self, present: Tensor) -> Tensor:
        kept = self.kept(present)
        if self.structured:
            axis = self.axis % present.ndim
            kept = kept.view([-1 if i == axis else 1 for i in range(present.ndim)])
        return present * kept

    def _largest(self, sizes: Tensor) -> Tensor:
        kept = torch.ones_like(sizes, dtype=torch.bool)
        # Stable, so that ties are broken alike and more share prunes more of the same.
        order = sizes.argsort(stable=True)
        kept[order[: round(self.share * len(sizes))]] = False
        return kept
