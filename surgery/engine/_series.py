"""Series: one small number per sample, collected batch by batch."""

from __future__ import annotations

from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from surgery.errors import DataError

_PENDING = 64


@final
class Series:
    """Grows by batches of numbers; as compact as they are.

    Truth values take a byte, doubles eight, other floats four. A few batches stay on
    their device before they move to the CPU together, so that a GPU is not waited
    for at every batch.
    """

    def __init__(self) -> None:
        self._pending: list[Tensor] = []
        self._done: list[NDArray[Any]] = []
        self._length = 0

    def __len__(self) -> int:
        return self._length

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        pending = sum(item.numel() * item.element_size() for item in self._pending)
        return pending + sum(item.nbytes for item in self._done)

    def append(self, values: Tensor) -> None:
        """Add a batch."""
        values = values.detach()
        if values.dtype not in (torch.bool, torch.float32, torch.float64):
            values = values.float()
        # A view would keep the whole tensor behind it alive.
        self._pending.append(values.clone())
        self._length += len(values)
        if len(self._pending) >= _PENDING:
            self._flush()

    def numpy(self) -> NDArray[Any]:
        """Everything so far."""
        self._flush()
        if not self._done:
            return np.empty(0)
        if len(self._done) > 1:
            self._done = [np.concatenate(self._done)]
        return self._done[0]

    def _flush(self) -> None:
        if self._pending:
            self._done.append(torch.cat(self._pending).cpu().numpy())
            self._pending.clear()


def check_paired(name: str, baseline: int, variant: int) -> None:
    """Raise if baseline and variant did not see the same number of samples."""
    if baseline != variant:
        raise DataError(
            f"{name}: the baseline saw {baseline} samples, a variant {variant}; both "
            "need the same samples, in the same order"
        )
    if not baseline:
        raise DataError(
            f"{name}: no sample was measured; give data that is not empty and on "
            "which the model works as it is"
        )
