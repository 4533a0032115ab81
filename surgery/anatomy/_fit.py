"""Fit: how an input can stand in for an output when a module is skipped.

Where shapes agree the input passes as it is. Where they do not, a parameter-free
adapter makes it fit: pool to the output's size, then truncate or zero-pad the
channels (the "option A" shortcut of ResNets, He et al. 2016, arXiv:1512.03385).
"An adapter ran" does not mean that it is a meaningful identity; its name is reported.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isqrt
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Size, Tensor

Shape = tuple[int, ...]


class Shaped(Protocol):
    """What a fit depends on: a tensor, or the `Look` of one."""

    @property
    def shape(self) -> Size: ...
    @property
    def dtype(self) -> torch.dtype: ...


@dataclass(frozen=True, slots=True)
class Look:
    """Shape and type of a tensor that may be changed or gone."""

    shape: Size
    dtype: torch.dtype

    @classmethod
    def of(cls, x: Tensor) -> Look | None:
        """`None` for a nested tensor, which has no one shape."""
        return None if x.is_nested else cls(x.shape, x.dtype)


def find_main_look(looks: Sequence[Look]) -> Look | None:
    """The first floating one, as the main tensor of a structured value; else any."""
    inexact = (x for x in looks if x.dtype.is_floating_point or x.dtype.is_complex)
    return next(inexact, looks[0] if looks else None)


@dataclass(frozen=True)
class Fit:
    """Which input stands in for the output, and how it is made to fit.

    Attributes:
        index: Position of that input among the tensors that went in.
        adapter: `"yes"` where it passes as it is, else the adapter's name.
    """

    index: int
    adapter: str


def find_fit(inputs: Sequence[Shaped], output: Shaped) -> Fit | None:
    """The best stand-in for `output` among `inputs`, or `None`.

    An input of the same shape wins, wherever it stands; else the first floating
    input that an adapter can make fit.
    """
    if not output.dtype.is_floating_point:
        same = [
            i
            for i, x in enumerate(inputs)
            if x.shape == output.shape and x.dtype == output.dtype
        ]
        return Fit(same[0], "yes") if same else None
    floating = [(i, x) for i, x in enumerate(inputs) if x.dtype.is_floating_point]
    for index, x in floating:
        if x.shape == output.shape:
            return Fit(index, "yes")
    for index, x in floating:
        adapter = _adapter(tuple(x.shape), tuple(output.shape))
        if adapter is not None:
            return Fit(index, adapter)
    return None


def adapt(x: Tensor, output: Tensor, adapter: str) -> Tensor:
    """`x` in the shape, type and device of `output`."""
    x = _SHAPERS[adapter](x, output.shape)
    return x.to(dtype=output.dtype, device=output.device)


def _adapter(given: Shape, wanted: Shape) -> str | None:
    if len(given) < 2 or len(wanted) < 2 or 0 in given:
        return None
    if given[0] != wanted[0]:
        return None
    same_numel = Size(given).numel() == Size(wanted).numel()
    if len(given) == len(wanted):
        return _adapter_of_same_rank(given, wanted)
    if len(given) == 4 and len(wanted) == 3:
        return "grid to tokens" if _is_grid(wanted[1]) else None
    if same_numel:
        return "reshape"
    if len(wanted) == 2 and len(given) in (3, 4):
        return "pool to vector"
    return None


def _adapter_of_same_rank(given: Shape, wanted: Shape) -> str | None:
    if given[:-1] == wanted[:-1]:
        return "pad last axis"
    if len(given) == 3:
        return "pool tokens"
    if len(given) == 4:
        if _channels_last(given) or _channels_last(wanted):
            return "pool space (channels last)"
        return "pad channels" if given[2:] == wanted[2:] else "pool space"
    return None


def _is_grid(tokens: int) -> bool:
    return isqrt(tokens) ** 2 == tokens


def _channels_last(shape: Shape) -> bool:
    return shape[1] == shape[2] and shape[2] != shape[3]


def _resize(x: Tensor, size: int, axis: int) -> Tensor:
    """Truncate or zero-pad one axis to `size`."""
    present = x.shape[axis]
    if present >= size:
        return x.narrow(axis, 0, size)
    after_axis = x.ndim - 1 - (axis % x.ndim)
    return F.pad(x, (0, 0) * after_axis + (0, size - present))


def _pad_last(x: Tensor, shape: Size) -> Tensor:
    return _resize(x, shape[-1], -1)


def _pad_channels(x: Tensor, shape: Size) -> Tensor:
    return _resize(x, shape[1], 1)


def _pool_space(x: Tensor, shape: Size) -> Tensor:
    return _pad_channels(F.adaptive_avg_pool2d(x, (shape[2], shape[3])), shape)


def _pool_space_channels_last(x: Tensor, shape: Size) -> Tensor:
    moved = F.adaptive_avg_pool2d(x.permute(0, 3, 1, 2), (shape[1], shape[2]))
    return _pad_last(moved.permute(0, 2, 3, 1), shape)


def _pool_tokens(x: Tensor, shape: Size) -> Tensor:
    if x.shape[1] != shape[1]:
        x = F.adaptive_avg_pool1d(x.transpose(1, 2), shape[1]).transpose(1, 2)
    return _pad_last(x, shape)


def _pool_to_vector(x: Tensor, shape: Size) -> Tensor:
    # Feature maps (B, C, H, W) average over space, tokens (B, N, C) over tokens,
    # (B, H, W, C) over its square axes.
    if x.ndim == 3:
        pooled = x.mean(1)
    else:
        pooled = x.mean((1, 2) if _channels_last(tuple(x.shape)) else (2, 3))
    return _pad_last(pooled, shape)


def _grid_to_tokens(x: Tensor, shape: Size) -> Tensor:
    side = isqrt(shape[1])
    channels_first = x.permute(0, 3, 1, 2) if _channels_last(tuple(x.shape)) else x
    pooled = F.adaptive_avg_pool2d(channels_first, (side, side))
    return _pad_last(pooled.flatten(2).transpose(1, 2), shape)


def _reshape(x: Tensor, shape: Size) -> Tensor:
    return x.reshape(shape)


def _as_it_is(x: Tensor, shape: Size) -> Tensor:
    return x


_SHAPERS = {
    "yes": _as_it_is,
    "pad last axis": _pad_last,
    "pad channels": _pad_channels,
    "pool space": _pool_space,
    "pool space (channels last)": _pool_space_channels_last,
    "pool tokens": _pool_tokens,
    "pool to vector": _pool_to_vector,
    "grid to tokens": _grid_to_tokens,
    "reshape": _reshape,
}
