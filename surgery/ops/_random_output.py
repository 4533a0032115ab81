"""Output operations that draw: noise and resampling, each from its own generator."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, Self, final

import torch
from torch import Tensor

from surgery.anatomy import Component
from surgery.errors import DataError, OperationError, ShapeMismatchError
from surgery.ops._base import (
    AbstractOutputOperation,
    AbstractStatistic,
    Firing,
    Replacement,
)
from surgery.ops._graded import AbstractGraded
from surgery.ops._statistics import Donors


@final
@dataclass(frozen=True)
class Noise(AbstractOutputOperation, AbstractGraded):
    """Noise added to the output, or to the parameters.

    Attributes:
        std: Standard deviation. Default: 0.1.
        relative: Whether `std` counts in units of the root mean square of what it is
            added to: of each sample's output, or of each parameter tensor.
        on: `"output"` or `"parameters"`.
        distribution: `"gaussian"` or `"uniform"` (around zero).
    """

    std: float = 0.1
    relative: bool = True
    on: Literal["output", "parameters"] = "output"
    distribution: Literal["gaussian", "uniform"] = "gaussian"
    mode: ClassVar[str] = "noise"
    recordable: ClassVar[bool] = True
    random: ClassVar[bool] = True
    ladder: ClassVar[Sequence[float]] = (0.01, 0.03, 0.1, 0.3, 1.0)

    def __post_init__(self) -> None:
        if self.std < 0:
            raise OperationError(f"Noise(std=...) must be 0 or more, got {self.std}")
        if self.on not in ("output", "parameters"):
            raise OperationError(
                f"Noise(on=...) must be 'output' or 'parameters', got {self.on!r}"
            )
        if self.distribution not in ("gaussian", "uniform"):
            raise OperationError(
                "Noise(distribution=...) must be 'gaussian' or 'uniform', got "
                f"{self.distribution!r}"
            )

    def at(self, level: float) -> Self:
        return replace(self, std=level)

    def apply(self, output: Tensor, firing: Firing) -> Replacement:
        _require_floating(output, firing, "noise")
        per_sample = tuple(range(1, output.ndim))
        (draw,) = firing.drawn or self.draws(output, firing)
        return Replacement(output + self._scaled(draw, output, per_sample))

    def draws(self, output: Tensor, firing: Firing) -> tuple[Tensor]:
        """A number of mean 0 and variance 1 for each of the output's."""
        return (self.numbers(output, firing.seed),)

    def draw(self, like: Tensor, seed: int, over: tuple[int, ...]) -> Tensor:
        """Noise for a tensor, relative to its root mean square over axes `over`."""
        return self._scaled(self.numbers(like, seed), like, over)

    def added(self, present: Tensor, numbers: Tensor) -> Tensor:
        """A parameter with these numbers added, relative to its root mean square."""
        noise = self._scaled(numbers, present, tuple(range(present.ndim)))
        return noise.add_(present)

    def numbers(self, like: Tensor, seed: int) -> Tensor:
        """A number of mean 0 and variance 1 for each of a tensor's."""
        generator = torch.Generator(like.device).manual_seed(seed)
        draws = torch.randn if self.distribution == "gaussian" else torch.rand
        draw = draws(
            like.shape, generator=generator, device=like.device, dtype=torch.float32
        )
        return draw if draws is torch.randn else (draw - 0.5) * math.sqrt(12)

    def _scaled(self, draw: Tensor, like: Tensor, over: tuple[int, ...]) -> Tensor:
        scale: Tensor | float = self.std
        if self.relative:
            square = like.detach().float().square()
            # Over no axis at all each value stands alone; torch would take all axes.
            mean = square.mean(over, keepdim=True) if over else square
            scale = self.std * mean.sqrt()
        return (draw * scale).to(like.dtype)


@final
@dataclass(frozen=True)
class Resample(AbstractOutputOperation):
    """Another sample's output in place of each sample's own (permutation).

    Donors come from `data` where it is given (a seeded sample of it), else from the
    same batch. No sample is its own donor.

    Attributes:
        donors: How many samples of `data` are kept as donors. Default: 64.
    """

    donors: int = 64
    mode: ClassVar[str] = "resample"
    recordable: ClassVar[bool] = True
    random: ClassVar[bool] = True
    draws_alike: ClassVar[bool] = True
    over_samples: ClassVar[bool] = True

    def statistic(self, component: Component, seed: int) -> AbstractStatistic:
        return Donors(component, self.donors, seed)

    def apply(self, output: Tensor, firing: Firing) -> Replacement:
        batch = _samples(output, firing)
        if output.ndim == 0 or batch == 0 or output.shape[0] % batch:
            raise ShapeMismatchError(
                f"resample needs one output per sample, but {firing.component} returns "
                f"shape {tuple(output.shape)} for {batch} samples; use mode='mean'"
            )
        # Windows of one sample (Swin) travel together: (B * windows, ...).
        rows = output.reshape(batch, -1, *output.shape[1:])
        if isinstance(firing.statistic, Donors):
            generator = torch.Generator().manual_seed(firing.seed)
            drawn = firing.statistic.draw(rows, generator)
        elif batch == 1:
            raise DataError(
                f"resample at {firing.component} found no donor in a batch of one "
                "sample; use larger batches, or pass data= to draw donors from"
            )
        else:
            (donors,) = firing.drawn or self._donors(batch, firing.seed)
            drawn = rows[donors.to(rows.device)]
        return Replacement(drawn.reshape(output.shape))

    def draws(self, output: Tensor, firing: Firing) -> tuple[Tensor, ...] | None:
        """Each sample's donor in the batch; donors of `data` depend on the output."""
        batch = _samples(output, firing)
        if isinstance(firing.statistic, Donors) or batch < 2:
            return None
        return self._donors(batch, firing.seed)

    def _donors(self, batch: int, seed: int) -> tuple[Tensor]:
        return (derangement(batch, torch.Generator().manual_seed(seed)),)


def derangement(size: int, generator: torch.Generator) -> Tensor:
    """A random permutation of `size` items that leaves none in its place."""
    order = torch.randperm(size, generator=generator)
    donor = torch.empty_like(order)
    donor[order] = order.roll(1)
    return donor


def _samples(output: Tensor, firing: Firing) -> int:
    return firing.batch_size or (output.shape[0] if output.ndim else 0)


def _require_floating(output: Tensor, firing: Firing, mode: str) -> None:
    if not output.is_floating_point():
        raise OperationError(
            f"{mode} needs floating-point values, but {firing.component} gives "
            f"{output.dtype}; use mode='zero' or mode='resample'"
        )
