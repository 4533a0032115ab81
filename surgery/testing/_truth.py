"""What each mode does, in plain arithmetic on values that a forward by hand gives."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from surgery.ops import AbstractOutputOperation
from surgery.testing._by_hand import At, Change, Given
from surgery.testing._mount import WatchedNoise, stretched
from surgery.testing._subjects import Subject


def change_of(
    mode: str,
    operation: AbstractOutputOperation,
    means: dict[int, Tensor],
    dial: float = 1.0,
) -> Change:
    """What `mode` puts in a value's place.

    Args:
        mode: Name of the mode.
        operation: The one in effect; noise tells what it has added.
        means: Mean value over the data for each run of the part, for mode `mean`.
        dial: How far to go.
    """

    def full(value: Tensor, given: Given, index: int) -> Tensor:
        match mode:
            case "zero":
                return torch.zeros_like(value)
            case "constant":
                return torch.full_like(value, 0.7)
            case "identity":
                return fitted(given, value)
            case "mean":
                return means[index].expand_as(value)
            case "resample":  # the one way in which two samples can trade places
                return value.flip(0)
            case "noise" if isinstance(operation, WatchedNoise):
                return value + operation.added[index]
            case _:
                return stretched(value, given)

    def change(value: Tensor, given: Given, index: int) -> Tensor:
        new = full(value, given, index)
        return new if dial == 1 else (1 - dial) * value + dial * new

    return change


def fitted(given: Given, value: Tensor) -> Tensor:
    """What went in, in the shape of what came out: cut off, or filled with zeros."""
    for x in given:
        if x.shape == value.shape:
            return x
    x = given[0]
    if x.numel() == value.numel():
        return x.reshape(value.shape)
    axis = 1 if x.ndim == 4 else -1  # of the channels
    if x.ndim == 4 and x.shape[2:] != value.shape[2:]:
        x = nn.functional.adaptive_avg_pool2d(x, (value.shape[2], value.shape[3]))
    channels = min(x.shape[axis], value.shape[axis])
    missing = value.shape[axis] - channels
    blank = torch.zeros_like(value).narrow(axis, channels, missing)
    return torch.cat([x.narrow(axis, 0, channels), blank], axis)


def means_by_hand(
    subject: Subject, model: nn.Module, target: str, data: list[dict[str, Tensor]]
) -> dict[int, Tensor]:
    """The value of a part averaged over all samples, for each run of it."""
    sums: dict[int, Tensor] = {}
    counts: dict[int, int] = {}

    def add(value: Tensor, given: Given, index: int) -> Tensor:
        total = value.sum(0, keepdim=True)
        sums[index] = total if index not in sums else sums[index] + total
        counts[index] = counts.get(index, 0) + len(value)
        return value

    with torch.no_grad():
        for batch in data:
            subject.run_by_hand(model, At(((target, add),)), batch)
    return {index: total / counts[index] for index, total in sums.items()}
