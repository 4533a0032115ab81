"""Place: where a sweep runs, and how batches lie in memory there."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from surgery.anatomy import mapped
from surgery.data import to_device

_AXES = {torch.channels_last: 4, torch.channels_last_3d: 5}
"""How many axes tensors have that a memory format is for."""


@dataclass(frozen=True)
class Place:
    """Where batches go.

    Attributes:
        device: The device.
        memory_format: How images lie in memory; `None` for as they are.
    """

    device: torch.device
    memory_format: torch.memory_format | None = None

    def put(self, batch: Any) -> Any:
        """The batch on the device and in the memory format."""
        batch = to_device(batch, self.device)
        if self.memory_format is None:
            return batch
        return mapped(batch, self._laid_out)

    @contextmanager
    def holding(self, model: nn.Module) -> Generator[None]:
        """Have the model's tensors in the memory format; as they were afterwards."""
        changed: list[tuple[Tensor, Tensor]] = []
        for tensor in (*model.parameters(), *model.buffers()):
            new = self._laid_out(tensor.data)
            if new is not tensor.data and new.stride() != tensor.stride():
                changed.append((tensor, tensor.data))
                tensor.data = new
        try:
            yield
        finally:
            for tensor, data in changed:
                tensor.data = data

    def _laid_out(self, x: Tensor) -> Tensor:
        wanted = self.memory_format
        if wanted is None or x.ndim != _AXES.get(wanted) or x.is_sparse:
            return x
        return x.contiguous(memory_format=wanted)
