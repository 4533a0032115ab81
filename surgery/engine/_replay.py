"""Replayed: samples kept as they were, for metrics whose states do not merge."""

from __future__ import annotations

from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from surgery.data import to_device
from surgery.engine._blocks import MAX_BLOCKS
from surgery.engine._feeds import Fed


@final
class Replayed:
    """Predictions and labels of all samples, on the CPU, in at most 200 blocks.

    Some metrics lose what a run of one sample would tell (correlations stack the
    deviations within runs, which are zero), and wrappers have no states of their own.
    They are updated anew with the samples of the blocks asked for.
    """

    def __init__(self) -> None:
        self._batches: list[tuple[Any, Any]] = []
        self._count = 0

    def __len__(self) -> int:
        return min(self._count, MAX_BLOCKS)

    def append(self, predictions: Any, labels: Any, length: int) -> None:
        """Add a batch, as `own_samples` gave it."""
        self._batches.append((predictions, labels))
        self._count += length

    def samples(self, indices: NDArray[np.intp]) -> tuple[Any, Any]:
        """Predictions and labels of these blocks."""
        blocks = np.array_split(np.arange(self._count), len(self))
        rows = np.concatenate([blocks[index] for index in indices])
        if len(self._batches) > 1:
            sides = zip(*self._batches, strict=True)
            predictions, labels = (_joined(list(side)) for side in sides)
            self._batches = [(predictions, labels)]
        predictions, labels = self._batches[0]
        return _rows(predictions, rows), _rows(labels, rows)


def own_samples(fed: Fed) -> tuple[Any, Any]:
    """Predictions and labels of a batch, apart from the model's own tensors."""
    return to_device((_own(fed.predictions), _own(fed.labels)), "cpu")  # type: ignore[no-any-return]


def _own(item: Any) -> Any:
    return item.detach().clone() if isinstance(item, Tensor) else item


def _joined(batches: list[Any]) -> Any:
    if isinstance(batches[0], Tensor):
        return torch.cat(batches)
    return [item for batch in batches for item in batch]


def _rows(items: Any, rows: NDArray[np.intp]) -> Any:
    if isinstance(items, Tensor):
        return items[torch.from_numpy(rows)]
    return [items[row] for row in rows]
