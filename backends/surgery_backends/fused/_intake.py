"""Intake: a batch's tensors in memory that stays, filled while the last batch runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor

_ALIGNED = 256


@final
class Intake:
    """Tensors into which batch after batch is copied, and where a batch's results go.

    All lie in one piece of memory. From the CPU a batch goes into pinned memory, from
    there on a stream of its own into one of two landings on the device, and from there,
    once the last batch is done with it, in one copy to where programs expect it.

    Attributes:
        tensors: The batch.
        place: The place of its results, as a tensor of one integer.

    Args:
        like: Tensors of such a batch.
        device: Where programs run.
    """

    def __init__(self, like: Sequence[Tensor], device: torch.device) -> None:
        self._device = device
        self._like = [(x.dtype, x.shape, _strides(x)) for x in like]
        sizes = [x.numel() * x.element_size() for x in like]
        self._starts: list[int] = []
        total = _ALIGNED  # the place comes first
        for size in sizes:
            self._starts.append(total)
            total += math.ceil(size / _ALIGNED) * _ALIGNED
        self._bytes = torch.zeros(total, dtype=torch.uint8, device=device)
        self.place, *self.tensors = self._views(self._bytes)
        self._lanes: list[_Lane] = []
        self._turn = 0
        if device.type == "cuda":
            stream = torch.cuda.Stream(device)
            self._lanes = [_Lane(self._bytes, stream) for _ in range(2)]

    def fill(self, tensors: Sequence[Tensor], place: int) -> None:
        """Have a batch there for what is launched next; nothing waits for the device.

        Args:
            tensors: The batch, on the device or on the CPU.
            place: The place of its results.
        """
        on_host = all(not x.is_cuda for x in tensors)
        if not (self._lanes and on_host):
            self.place.fill_(place)
            for held, given in zip(self.tensors, tensors, strict=True):
                wait = self._device.type == "cuda" and not given.is_cuda
                held.copy_(given.pin_memory() if wait else given, non_blocking=True)
            return
        lane = self._lanes[self._turn]
        self._turn = 1 - self._turn
        lane.copied.synchronize()  # of the batch before the last
        first, *rest = self._views(lane.pinned)
        first.fill_(place)
        for held, given in zip(rest, tensors, strict=True):
            held.copy_(given)
        lane.send(self._bytes)

    def _views(self, memory: Tensor) -> list[Tensor]:
        found = [memory[:8].view(torch.int64)]
        for (dtype, shape, strides), start in zip(
            self._like, self._starts, strict=True
        ):
            size = shape.numel() * dtype.itemsize
            flat = memory[start : start + size].view(dtype)
            found.append(flat.as_strided(shape, strides, flat.storage_offset()))
        return found


class _Lane:
    """One of two ways to the device.

    Attributes:
        pinned: Memory of the host that the device reads by itself.
        copied: When that was read.
    """

    def __init__(self, like: Tensor, stream: torch.cuda.Stream) -> None:
        self.pinned = torch.zeros(like.shape, dtype=like.dtype, pin_memory=True)
        self.copied = torch.cuda.Event()
        self._landing = torch.empty_like(like)
        self._stream = stream
        self._taken = torch.cuda.Event()

    def send(self, into: Tensor) -> None:
        """Copy what is pinned to the device and, after what was launched, `into`."""
        with torch.cuda.stream(self._stream):
            self._stream.wait_event(self._taken)
            self._landing.copy_(self.pinned, non_blocking=True)
            self.copied.record(self._stream)
        current = torch.cuda.current_stream(into.device)
        current.wait_event(self.copied)
        into.copy_(self._landing, non_blocking=True)
        self._taken.record(current)


def _strides(tensor: Tensor) -> tuple[int, ...]:
    """Strides of a copy: the tensor's own where it has no gaps (channels last, say)."""
    return tuple(torch.empty_like(tensor, device="meta").stride())
