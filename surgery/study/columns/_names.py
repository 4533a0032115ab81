"""The names of all features in some data."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from typing import Any, cast

from torch.utils.data import DataLoader, Dataset, TensorDataset

from surgery.study.columns._forms import (
    is_array,
    is_frame,
    is_plain_sequence,
    is_record,
    labels_of,
)

_NUMBERED = re.compile(r"(feature|channel)#(\d+)")


def numbered(name: str) -> tuple[str, int] | None:
    """The axis and place of `feature#3` or `channel#0`; `None` for other names."""
    match = _NUMBERED.fullmatch(name)
    return (match[1], int(match[2])) if match else None


def feature_names(data: object) -> tuple[str, ...]:
    """Columns of frames, keys of mappings, numbered columns and channels of arrays."""
    return tuple(dict.fromkeys(_found(data, batched=True)))


def _found(data: Any, batched: bool) -> Iterator[str]:
    if is_frame(data):
        yield from (str(column) for column in data.columns)
    elif is_array(data):
        axes = data.shape[1:] if batched else data.shape
        if axes:
            yield from (f"feature#{index}" for index in range(axes[-1]))
        if len(axes) > 1:
            yield from (f"channel#{index}" for index in range(axes[0]))
    elif isinstance(data, Mapping):
        for key, item in cast("Mapping[object, Any]", data).items():
            yield str(key)
            yield from _found(item, batched)
    elif isinstance(data, DataLoader):
        yield from _found(cast("Any", data.dataset), batched=False)
    elif isinstance(data, TensorDataset):
        yield from _found(data.tensors[0], batched=True)
    elif isinstance(data, Dataset):
        yield from _first_sample(data)
    elif is_plain_sequence(data):
        labels = labels_of(data) if batched else 1 if len(data) == 2 else None
        for index, item in enumerate(data):
            if index != labels:
                yield from _found(item, batched)
    elif is_record(data):
        for field in dataclasses.fields(data):
            yield from _found(getattr(data, field.name), batched)


def _first_sample(data: Any) -> Iterator[str]:
    try:
        sample = data[0]
    except Exception:  # iterable datasets, empty ones: their names are not known
        return
    yield from _found(sample, batched=False)
