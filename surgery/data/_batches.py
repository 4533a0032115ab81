"""Batches: whatever a user calls data, as batches, and how often it can be read."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from typing import Any, cast, final

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset

from surgery.data._chosen import Chosen
from surgery.data._samples import as_tensor, batch_length
from surgery.errors import DataError

_KINDS = (
    "a DataLoader, a Dataset, a pair (X, Y) of tensors or arrays, or an iterable of "
    "batches"
)


@final
class Batches:
    """Iterates over data batch by batch, each sample loaded once per pass.

    Attributes:
        samples: Number of samples, where known without a pass.
        batches: Number of batches, where known without a pass.
        passes_left: How many more passes are possible: infinitely many, or one and
            then none for an iterator such as a generator.
        wanted: Which batches later passes give, by number, with `None` in the place of
            the others; by default all.
    """

    samples: int | None
    batches: int | None
    passes_left: float
    wanted: Callable[[int], bool] | None

    def __init__(self, data: object, batch_size: int = 64) -> None:
        if batch_size < 1:
            raise DataError(f"batch_size must be at least 1, got {batch_size}")
        self._source = _source(data, batch_size)
        self.samples, self.batches = _sizes(self._source)
        self.passes_left = math.inf
        if isinstance(self._source, Iterator):
            self.passes_left = 1
        self.wanted = None
        self._chosen: Chosen | None = None

    @property
    def digest(self) -> str:
        """Of the order of samples in the latest pass with only the batches wanted."""
        return self._chosen.digest if self._chosen else ""

    def require(self, passes: int) -> None:
        """Raise if the data cannot be read so many times more; reads nothing."""
        if passes > self.passes_left:
            raise DataError(
                f"{passes} pass{'es' * (passes > 1)} over the data needed, but "
                f"{type(self._source).__name__} is an iterator that "
                f"{'can be read only once' if self.passes_left else 'is used up'}; "
                "pass a list of batches or a DataLoader"
            )

    def __iter__(self) -> Iterator[Any]:
        self.require(1)
        self.passes_left -= 1
        empty, source = True, self._source
        if self.wanted is not None:
            source = self._chosen = Chosen(source, self.wanted)
        for batch in source:
            empty = False
            yield batch
        if empty:
            raise DataError(
                f"the data has no batch: {type(self._source).__name__} is empty; "
                f"give {_KINDS} with at least one sample"
            )


@final
class _Slices:
    """A pair of tensors, cut into batches."""

    def __init__(self, x: Tensor, y: Tensor, size: int) -> None:
        self.x, self.y, self.size = x, y, size

    def __len__(self) -> int:
        return math.ceil(len(self.x) / self.size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for at in range(0, len(self.x), self.size):
            yield self.x[at : at + self.size], self.y[at : at + self.size]


def _source(data: object, batch_size: int) -> Iterable[Any]:
    if isinstance(data, DataLoader):
        return data
    if isinstance(data, Dataset):
        dataset = data
        # An own generator: a DataLoader seeds its workers from the global one.
        return DataLoader(
            dataset, batch_size=batch_size, generator=torch.Generator().manual_seed(0)
        )
    if _is_pair(data):
        x, y = (_tensor(item) for item in cast("tuple[Any, Any]", data))
        if len(x) != len(y):
            raise DataError(
                f"the pair (X, Y) has {len(x)} inputs but {len(y)} labels; give one "
                "label per input"
            )
        return _Slices(x, y, batch_size)
    if isinstance(data, (Tensor, np.ndarray)):
        shape = tuple(cast("Tensor", data).shape)
        raise DataError(
            f"data is a single tensor of shape {shape}, without labels; give a pair "
            "(X, Y), or batches together with step="
        )
    if isinstance(data, Mapping):
        raise DataError(
            "data is a single mapping; if it is one batch, give a list of it: [batch]"
        )
    if not isinstance(data, Iterable) or isinstance(data, (str, bytes)):
        raise DataError(f"data of type {type(data).__name__}; give {_KINDS}")
    return data


def _is_pair(data: object) -> bool:
    if not isinstance(data, tuple):
        return False
    items = data
    return len(items) == 2 and all(
        isinstance(item, (Tensor, np.ndarray)) and item.ndim > 0 for item in items
    )


def _tensor(item: Any) -> Tensor:
    if isinstance(item, Tensor):
        return item
    if item.dtype.kind not in "biuf":
        raise DataError(
            f"an array of dtype {item.dtype} is no tensor; turn it into numbers first"
        )
    return as_tensor(item)


def _sizes(source: Iterable[Any]) -> tuple[int | None, int | None]:
    if isinstance(source, _Slices):
        return len(source.x), len(source)
    if isinstance(source, DataLoader):
        return _loader_sizes(source)
    if isinstance(source, Sequence):
        items = source
        try:
            return sum(batch_length(item) for item in items), len(items)
        except DataError:
            return None, len(items)
    return None, _len(source)


def _loader_sizes(loader: DataLoader[Any]) -> tuple[int | None, int | None]:
    if isinstance(loader.dataset, IterableDataset):
        # Its length, where it has one, is a promise that workers may break.
        return None, None
    batches = _len(loader)
    # Without `batch_size` a sampler of the user's own makes the batches.
    samples = _len(loader.sampler) if loader.batch_size is not None else None
    if samples is not None and loader.drop_last and loader.batch_size is not None:
        samples -= samples % loader.batch_size
    return samples, batches


def _len(thing: object) -> int | None:
    if not isinstance(thing, Sized):
        return None
    try:
        return len(thing)
    except TypeError:
        return None
