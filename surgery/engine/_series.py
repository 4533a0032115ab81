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

    Truth values take a byte, doubles eight, other floats four. They go into one array
    that grows as a whole: small pieces that stay, made between large tensors that go,
    would leave the heap full of holes. On an accelerator a few batches wait there and
    move together, so that it is not waited for at every batch.
    """

    def __init__(self) -> None:
        self._pending: list[Tensor] = []
        self._array: NDArray[Any] = np.empty(0, dtype=np.bool_)
        self._filled = 0
        self._length = 0

    def __len__(self) -> int:
        return self._length

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        pending = sum(item.numel() * item.element_size() for item in self._pending)
        return pending + self._array.nbytes

    def append(self, values: Tensor) -> None:
        """Add a batch."""
        values = values.detach()
        if values.dtype not in (torch.bool, torch.float32, torch.float64):
            values = values.float()
        self._length += len(values)
        if values.device.type == "cpu":
            self._flush()
            self._add(values)
            return
        # A view would keep the whole tensor behind it alive.
        self._pending.append(values.clone())
        if len(self._pending) >= _PENDING:
            self._flush()

    def numpy(self) -> NDArray[Any]:
        """Everything so far."""
        self._flush()
        return self._array[: self._filled]

    def _flush(self) -> None:
        if self._pending:
            values = torch.cat(self._pending)
            self._pending.clear()
            self._add(values.cpu())

    def _add(self, values: Tensor) -> None:
        new = values.numpy()
        needed = self._filled + len(new)
        dtype = np.result_type(self._array, new)
        if needed > len(self._array) or dtype != self._array.dtype:
            length = max(needed, len(self._array) * 5 // 4)
            grown = np.empty((length, *new.shape[1:]), dtype=dtype)
            if self._filled:
                grown[: self._filled] = self._array[: self._filled]
            self._array = grown
        self._array[self._filled : needed] = new
        self._filled = needed


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
