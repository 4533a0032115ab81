"""Counts packed small: the few that are not zero, in as few bytes as they need."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Size, Tensor

_SMALL = 64


@dataclass(frozen=True)
class Packed:
    """A tensor; where it pays, integers as `(indices, values)` of those not zero."""

    values: Tensor
    indices: Tensor | None
    shape: Size
    dtype: torch.dtype

    @property
    def nbytes(self) -> int:
        size = self.values.numel() * self.values.element_size()
        if self.indices is not None:
            size += self.indices.numel() * self.indices.element_size()
        return size

    def unpack(self) -> Tensor:
        """The tensor as it was, on the CPU."""
        if self.indices is None:
            return self.values.to(self.dtype).reshape(self.shape)
        flat = torch.zeros(self.shape.numel(), dtype=self.dtype)
        flat[self.indices.long()] = self.values.to(self.dtype)
        return flat.reshape(self.shape)


def pack(tensor: Tensor) -> Packed:
    """Move a tensor to the CPU, packed."""
    tensor = tensor.detach().cpu()
    shape, dtype = tensor.shape, tensor.dtype
    if dtype.is_floating_point or dtype.is_complex or tensor.numel() < _SMALL:
        return Packed(tensor.clone(), None, shape, dtype)
    flat = tensor.reshape(-1).long()
    low, high = (int(bound) for bound in torch.aminmax(flat))
    fits = (torch.int8, torch.int16, torch.int32)
    small = next(
        (t for t in fits if torch.iinfo(t).min <= low and high <= torch.iinfo(t).max),
        torch.int64,
    )
    filled = flat.nonzero().flatten()
    sparse = len(filled) * (4 + small.itemsize)
    if sparse < len(flat) * small.itemsize and len(flat) < 2**31:
        return Packed(flat[filled].to(small), filled.int(), shape, dtype)
    return Packed(flat.to(small), None, shape, dtype)
