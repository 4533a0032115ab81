"""Data without some features, in whatever form it came."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from surgery._random import preserved_rng
from surgery.study.columns._fill import Fill
from surgery.study.columns._forms import (
    is_array,
    is_frame,
    is_plain_sequence,
    is_record,
    labels_of,
    rebuilt,
)
from surgery.study.columns._names import numbered


@dataclass
class Removed:
    """The features to remove and those that were found on the way.

    Attributes:
        features: Their names.
        how: `drop`, `zero`, `mean` or `shuffle`.
        seed: Seeds the shuffling.
        found: Those met so far.
    """

    features: tuple[str, ...]
    how: str = "drop"
    seed: int = 0
    found: set[str] = field(default_factory=set[str])

    def __post_init__(self) -> None:
        self.fill = Fill(self.how, self.seed)


def lacking(data: Any, removed: Removed) -> Any:
    """The same data without the features; what has none of them is as it was.

    Frames lose columns, mappings keys, arrays columns (`feature#3`: last axis) or
    channels (`channel#0`: axis 1); a DataLoader gives batches, and a Dataset samples,
    without them. The data given is not changed.
    """
    if is_frame(data):
        return _frame(data, removed)
    if is_array(data):
        return _array(data, removed, first=1)
    if isinstance(data, Mapping):
        return _mapping(data, removed)
    if isinstance(data, DataLoader):
        return _loader(data, removed)
    if isinstance(data, TensorDataset):
        first, *others = data.tensors
        return TensorDataset(lacking(first, removed), *others)
    if isinstance(data, IterableDataset):
        return _LackingStream(data, removed)
    if isinstance(data, Dataset):
        return _Lacking(data, removed)
    if is_plain_sequence(data):
        labels = labels_of(data)
        items = [
            item if index == labels else lacking(item, removed)
            for index, item in enumerate(data)
        ]
        return rebuilt(data, items)
    if is_record(data):
        names = [f.name for f in dataclasses.fields(data) if f.init]
        changed = {name: lacking(getattr(data, name), removed) for name in names}
        return dataclasses.replace(data, **changed)
    return data


def _frame(frame: Any, removed: Removed) -> Any:
    here = [column for column in frame.columns if str(column) in removed.features]
    removed.found.update(map(str, here))
    if removed.how == "drop":
        return frame.drop(columns=here)
    fills = {c: removed.fill.column(str(c), frame[c]) for c in here}
    # Strings as keywords would exclude columns of other names.
    frame = frame.copy()
    for column, fill in fills.items():
        frame[column] = fill
    return frame


def _mapping(data: Mapping[Any, Any], removed: Removed) -> Any:
    items: dict[Any, Any] = {}
    for key, item in data.items():
        if str(key) not in removed.features:
            items[key] = lacking(item, removed)
            continue
        removed.found.add(str(key))
        if removed.how != "drop":
            items[key] = _neutral(str(key), item, removed)
    if type(data) is dict:
        return items
    changed = copy.copy(cast("Any", data))
    for key in list(data):
        if key in items:
            changed[key] = items[key]
        else:
            del changed[key]
    return changed


def _neutral(name: str, item: Any, removed: Removed) -> Any:
    if is_array(item) and item.ndim:
        return removed.fill.array(name, item)
    if is_array(item) or isinstance(item, int | float):
        return item * 0  # one sample's own value: nothing else to put there
    return item


def _array(array: Any, removed: Removed, first: int) -> Any:
    """An array whose axis `first` is the first that is not that of the samples."""
    for axis_name in ("feature", "channel"):
        axis = array.ndim - 1 if axis_name == "feature" else first
        if axis < first or (axis_name == "channel" and array.ndim < first + 2):
            continue
        named = [(name, numbered(name)) for name in removed.features]
        here = sorted(
            (place[1], name)
            for name, place in named
            if place and place[0] == axis_name and place[1] < array.shape[axis]
        )
        if here:
            removed.found.update(name for _, name in here)
            array = _without(array, axis, here, removed, first)
    return array


def _without(
    array: Any, axis: int, here: Sequence[tuple[int, str]], removed: Removed, first: int
) -> Any:
    if removed.how == "drop":
        gone = {index for index, _ in here}
        kept = [index for index in range(array.shape[axis]) if index not in gone]
        if isinstance(array, Tensor):
            return array.index_select(axis, torch.tensor(kept, dtype=torch.long))
        return np.take(array, kept, axis=axis)
    array = array.clone() if isinstance(array, Tensor) else array.copy()
    for index, name in here:
        at = (slice(None),) * axis + (index,)
        array[at] = removed.fill.array(name, array[at]) if first else array[at] * 0
    return array


def _loader(loader: DataLoader[Any], removed: Removed) -> DataLoader[Any]:
    """A copy of the loader whose batches lack the features."""
    changed = copy.copy(loader)
    sample = _Collate(loader.collate_fn, removed)
    changed.collate_fn = sample
    for batch in _first_batch(loader):
        sample([], batch)  # so that what was found is known before training
    return changed


def _first_batch(loader: DataLoader[Any]) -> list[Any]:
    try:
        sample = first_sample(loader.dataset)
        return [loader.collate_fn([sample, sample])]
    except Exception:  # odd datasets: their first batch tells
        return []


def first_sample(dataset: Dataset[Any]) -> Any:
    """The first sample of a dataset, also of one that is only iterated.

    Raises:
        IndexError: There is none.
        StopIteration: Likewise.
    """
    with preserved_rng():  # a stream may shuffle
        streams = isinstance(dataset, IterableDataset)
        return next(iter(dataset)) if streams else dataset[0]


class _Collate:
    """Puts samples together, then takes the features away; goes to workers."""

    def __init__(self, collate: Any, removed: Removed) -> None:
        self._collate = collate
        self._removed = removed

    def __call__(self, samples: Any, batch: Any = None) -> Any:
        batch = self._collate(samples) if batch is None else batch
        if is_plain_sequence(batch) and len(batch) == 2:
            return rebuilt(batch, [lacking(batch[0], self._removed), batch[1]])
        return lacking(batch, self._removed)


class _Lacking(Dataset[Any]):
    """A dataset whose samples lack the features; all else is the dataset's own."""

    def __init__(self, dataset: Dataset[Any], removed: Removed) -> None:
        self._dataset = dataset
        self._removed = removed
        # So that what was found is known before training; nothing is in an empty one.
        with contextlib.suppress(IndexError, StopIteration):
            self._sample(first_sample(dataset))

    def __getitem__(self, index: Any) -> Any:
        return self._sample(self._dataset[index])

    def __len__(self) -> int:
        return len(cast("Any", self._dataset))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._dataset, name)

    def _sample(self, sample: Any) -> Any:
        if is_plain_sequence(sample) and len(sample) == 2:
            return rebuilt(sample, [self._one(sample[0]), sample[1]])
        return self._one(sample)

    def _one(self, item: Any) -> Any:
        if is_array(item):
            return _array(item, self._removed, first=0)
        return lacking(item, self._removed)


class _LackingStream(_Lacking, IterableDataset[Any]):
    """The same for a dataset that is only iterated."""

    def __iter__(self) -> Iterator[Any]:
        for sample in cast("IterableDataset[Any]", self._dataset):
            yield self._sample(sample)
