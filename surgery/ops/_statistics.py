"""Statistics gathered over data in one streaming pass: means and donors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, final

import torch
from torch import Tensor

from surgery.anatomy import Component, channel_axis
from surgery.errors import DataError, OperationError, ShapeMismatchError
from surgery.ops._base import (
    AbstractOutputOperation,
    AbstractStatistic,
    Firing,
    Replacement,
)


@final
@dataclass(frozen=True)
class Mean(AbstractOutputOperation):
    """The output's mean over data in place of the output.

    Attributes:
        over: `"activation"`: the mean over samples, one value per position and
            channel (outputs must have one shape). `"channel"`: over samples and
            positions, one value per channel.
        axis: The channel axis for `over="channel"`. Default: 1 for vectors and
            feature maps, the last for tokens `(B, N, C)` and for `(B, H, W, C)` with
            `H == W != C`.
    """

    over: Literal["activation", "channel"] = "activation"
    axis: int | None = None
    mode: ClassVar[str] = "mean"
    recordable: ClassVar[bool] = True
    over_samples: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.over not in ("activation", "channel"):
            raise OperationError(
                f"Mean(over=...) must be 'activation' or 'channel', got {self.over!r}"
            )

    @property
    def needs_data(self) -> bool:
        return True

    def statistic(self, component: Component, seed: int) -> AbstractStatistic:
        return RunningMean(component, self)

    def apply(self, output: Tensor, firing: Firing) -> Replacement:
        if not isinstance(firing.statistic, RunningMean):
            raise DataError(
                f"{firing.component} ran more often in this forward than in any over "
                "the data, so that this call has no mean; pass data= that takes the "
                "same path through the model"
            )
        return Replacement(firing.statistic.expanded(output))


@final
class RunningMean(AbstractStatistic):
    """Sum and count in double precision, whatever the outputs' type."""

    def __init__(self, component: Component, operation: Mean) -> None:
        self._component = component
        self._operation = operation
        self._sum: Tensor | None = None
        self._count = 0
        self._mean: Tensor | None = None

    def update(self, output: Tensor, batch_size: int | None) -> None:
        if not output.is_floating_point():
            raise OperationError(
                f"mean needs floating-point values, but {self._component} gives "
                f"{output.dtype}; use mode='zero' or mode='resample'"
            )
        axes = self._axes(output)
        total = output.detach().double().sum(axes, keepdim=True) if axes else output
        if self._sum is not None and self._sum.shape != total.shape:
            raise ShapeMismatchError(
                f"the outputs of {self._component} change shape over the data "
                f"({tuple(self._sum.shape[1:])}, then {tuple(total.shape[1:])}), so "
                f"that they have no such mean; {self._remedy()}"
            )
        self._sum = total.double() if self._sum is None else self._sum + total
        self._count += output.numel() // total.numel() if total.numel() else 0

    def finish(self) -> None:
        if self._sum is None or not self._count:
            return
        self._mean = self._sum / self._count
        if not bool(torch.isfinite(self._mean).all()):
            raise DataError(
                f"the mean of {self._component} over the data is not finite (NaN or "
                "infinite): leave out the samples on which the model's values are not, "
                "in a ranking with on_error='skip'"
            )

    def expanded(self, output: Tensor) -> Tensor:
        """The mean in the shape, type and device of `output`."""
        if self._mean is None:
            raise DataError(f"no data ran through {self._component}: it has no mean")
        mean = self._mean.to(device=output.device, dtype=output.dtype)
        per_position = self._operation.over == "activation"
        if mean.ndim != output.ndim or (
            mean.shape[1:] != output.shape[1:]
            if per_position
            else any(
                m not in (1, o) for m, o in zip(mean.shape, output.shape, strict=True)
            )
        ):
            raise ShapeMismatchError(
                f"the mean of {self._component} over the data has shape "
                f"{tuple(mean.shape[1:])} per sample, but its output now has "
                f"{tuple(output.shape[1:])}; {self._remedy()}"
            )
        return mean.expand_as(output).clone()

    def _remedy(self) -> str:
        if self._operation.over == "activation":
            return "use mode=surgery.ops.Mean(over='channel')"
        return "say which axis holds the channels: Mean(over='channel', axis=...)"

    def _axes(self, output: Tensor) -> tuple[int, ...]:
        if self._operation.over == "activation":
            return (0,) if output.ndim else ()
        channel = self._operation.axis
        if channel is None:
            channel = channel_axis(None, output)
        if not -output.ndim <= channel < output.ndim:
            raise ShapeMismatchError(
                f"Mean(axis={channel}) does not exist in the output of "
                f"{self._component}, {tuple(output.shape)}"
            )
        return tuple(a for a in range(output.ndim) if a != channel % output.ndim)


@final
class Donors(AbstractStatistic):
    """A uniform sample of outputs (reservoir sampling, Vitter 1985, algorithm R)."""

    def __init__(self, component: Component, size: int, seed: int) -> None:
        self._component = component
        self._size = size
        self._generator = torch.Generator().manual_seed(seed)
        self._seen = 0
        self._kept: list[Tensor] = []
        self._pool: Tensor | None = None

    def __copy__(self) -> Donors:
        twin = Donors(self._component, self._size, 0)
        twin._generator.set_state(self._generator.get_state())
        twin._seen, twin._kept = self._seen, list(self._kept)
        return twin

    def update(self, output: Tensor, batch_size: int | None) -> None:
        batch = batch_size or (output.shape[0] if output.ndim else 0)
        if output.ndim == 0 or batch == 0 or output.shape[0] % batch:
            raise ShapeMismatchError(
                f"resample needs one output per sample, but {self._component} returns "
                f"shape {tuple(output.shape)} for {batch} samples; use mode='mean'"
            )
        rows = output.detach().reshape(batch, -1, *output.shape[1:])
        for row in rows:
            if len(self._kept) < self._size:
                self._kept.append(row.clone())
            else:
                place = int(
                    torch.randint(self._seen + 1, (), generator=self._generator)
                )
                if place < self._size:
                    self._kept[place] = row.clone()
            self._seen += 1

    def finish(self) -> None:
        if len({row.shape for row in self._kept}) > 1:
            raise ShapeMismatchError(
                f"the outputs of {self._component} change shape over the data, so that "
                "they cannot stand in for each other; pass data of one size"
            )
        self._pool = torch.stack(self._kept) if self._kept else None

    def draw(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """For each sample a donor that is not the sample itself."""
        if self._pool is None:
            raise DataError(f"no data ran through {self._component}: it has no donors")
        if self._pool.shape[1:] != rows.shape[1:]:
            raise ShapeMismatchError(
                f"donors for {self._component} have shape "
                f"{tuple(self._pool.shape[1:])} per sample, its output has "
                f"{tuple(rows.shape[1:])}; pass data of the same size"
            )
        if len(self._pool) < 2:
            raise DataError(
                f"resample at {self._component} has only one donor, which may be the "
                "sample itself; pass data= with at least two samples"
            )
        pool = self._pool.to(device=rows.device, dtype=rows.dtype)
        flat, donors = rows.reshape(len(rows), -1), pool.reshape(len(pool), -1)
        near = _closeness(rows.dtype)
        order = torch.randint(len(pool), (len(rows),), generator=generator)
        chosen = order.to(rows.device)
        for _ in range(len(pool)):
            # The sample may itself be in the pool; kernels differ in the last bits
            # between batch sizes, so that it is recognised by closeness.
            own = torch.isclose(flat, donors[chosen], rtol=near, atol=near / 100).all(1)
            if not bool(own.any()):
                break
            chosen = torch.where(own, (chosen + 1) % len(pool), chosen)
        return pool[chosen]


def _closeness(dtype: torch.dtype) -> float:
    return max(1e-4, 4 * torch.finfo(dtype).eps) if dtype.is_floating_point else 0.0
