"""Quantize: weights rounded to a few bits and back, as torch's fake quantisation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, Self, final

import torch
from torch import Tensor, nn

from surgery.anatomy import Component
from surgery.errors import OperationError
from surgery.ops._base import AbstractNewValue, AbstractParameterOperation
from surgery.ops._changes import Each
from surgery.ops._graded import AbstractGraded
from surgery.ops._owned import weights

_MOST = 16


@final
@dataclass(frozen=True)
class Quantize(AbstractParameterOperation, AbstractGraded):
    """Weights as integers of a few bits, with a scale, and back to floating point.

    Symmetric: the largest magnitude becomes the largest integer, zero stays zero.
    Biases and the scales of norms stay as they are, unless the component has nothing
    else.

    Attributes:
        bits: From 2 to 16. Default: 8.
        per: One scale for each `"tensor"`, or for each output `"channel"` of it.
        axis: Which axis of a weight has the channels. Default: 0, as in torch's layers.
    """

    bits: int = 8
    per: Literal["tensor", "channel"] = "tensor"
    axis: int = 0
    mode: ClassVar[str] = "quantize"
    ladder: ClassVar[Sequence[float]] = (8, 6, 5, 4, 3, 2)

    def __post_init__(self) -> None:
        whole = float(self.bits).is_integer()
        if not whole or not 2 <= self.bits <= _MOST:
            raise OperationError(
                f"Quantize(bits=...) takes a whole number from 2 to {_MOST}, got "
                f"{self.bits}"
            )
        if self.per not in ("tensor", "channel"):
            raise OperationError(
                f"Quantize(per=...) must be 'tensor' or 'channel', got {self.per!r}"
            )

    def at(self, level: float) -> Self:
        made = replace(self, bits=level)  # type: ignore[arg-type]  # checked there
        return replace(made, bits=int(level))

    def strength(self, level: float) -> float:
        """The step between two values, as a part of the largest one."""
        return 1 / (2 ** (level - 1) - 1)

    def values(
        self, model: nn.Module, component: Component, seed: int
    ) -> Mapping[Tensor, AbstractNewValue]:
        found = weights(model, component)
        for name, tensor in found.items():
            if self.per == "channel" and not -tensor.ndim <= self.axis < tensor.ndim:
                raise OperationError(
                    f"{name} has {tensor.ndim} axes, and no axis {self.axis} to have a "
                    "scale for each channel of; use Quantize(per='tensor')"
                )
        return dict.fromkeys(found.values(), Each(self._rounded))

    def _rounded(self, present: Tensor) -> Tensor:
        top = 2 ** (self.bits - 1) - 1
        values = present.float()  # what fake quantisation takes
        axis = self.axis % max(values.ndim, 1)
        if self.per == "tensor" or not values.ndim:
            scale = _scale(values.abs().amax(), top)
            zero = torch.zeros_like(scale, dtype=torch.int32)
            new = torch.fake_quantize_per_tensor_affine(values, scale, zero, -top, top)
            return new.to(present.dtype)
        others = [i for i in range(values.ndim) if i != axis]
        largest = values.abs().amax(others) if others else values.abs()
        scale = _scale(largest, top)
        zero = torch.zeros_like(scale, dtype=torch.int32)
        new = torch.fake_quantize_per_channel_affine(
            values, scale, zero, axis, -top, top
        )
        return new.to(present.dtype)


def _scale(largest: Tensor, top: int) -> Tensor:
    # Zeros alone have any scale.
    return torch.where(largest > 0, largest / top, torch.ones_like(largest))
