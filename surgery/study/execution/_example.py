"""An example input of the model, as the user gave it or as the data begins."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from surgery._random import preserved_rng
from surgery.data import to_device
from surgery.study.columns import first_sample
from surgery.study.execution._inject import call_by_name
from surgery.study.execution._recipe import Recipe

FEW = 2  # samples: BatchNorm in training wants more than one


def example_inputs(
    recipe: Recipe, data: Any, arguments: Mapping[str, object], device: str
) -> Any:
    """What `surgery.excise(inputs=...)` takes; `None` where nothing tells."""
    with preserved_rng():
        if callable(recipe.inputs) and not isinstance(recipe.inputs, Tensor):
            found = call_by_name(recipe.inputs, {**arguments, "data": data})
        elif recipe.inputs is not None:
            found = recipe.inputs
        else:
            found = next(_inputs(data), None)
    return None if found is None else to_device(found, torch.device(device))


def _inputs(data: Any) -> Iterator[Any]:
    """The inputs of a first batch, wherever in the data there is one."""
    if isinstance(data, DataLoader):
        loader = copy.copy(data)
        loader.num_workers = 0
        generator = loader.generator
        state = None if generator is None else generator.get_state()
        try:
            for batch in loader:
                yield from _of_batch(batch)
                break
        finally:
            if generator is not None and state is not None:
                generator.set_state(state)
    elif isinstance(data, Dataset):
        # Nothing is in an empty one; samples of other kinds need the user's collate.
        with contextlib.suppress(IndexError, StopIteration, TypeError):
            sample = first_sample(data)
            yield from _of_batch(default_collate([sample, sample]))
    elif isinstance(data, Mapping):
        for item in data.values():
            yield from _inputs(item)
    elif isinstance(data, list | tuple):
        items = cast("list[Any]", data)
        if items and _is_input(items[0]):
            yield _tensor(items[0])[:FEW]
        else:
            for item in items:
                yield from _inputs(item)
    elif dataclasses.is_dataclass(data) and not isinstance(data, type):
        for field in dataclasses.fields(data):
            yield from _inputs(getattr(data, field.name))
    elif _is_input(data):
        yield _tensor(data)[:FEW]


def _of_batch(batch: Any) -> Iterator[Any]:
    if isinstance(batch, Mapping):
        fields = cast("Mapping[str, Any]", batch)
        yield {k: v[:FEW] for k, v in fields.items() if k != "labels"}
    elif isinstance(batch, list | tuple):
        first = cast("list[Any]", batch)[0]
        yield _tensor(first)[:FEW] if _is_input(first) else first
    elif isinstance(batch, Tensor):
        yield batch[:FEW]


def _is_input(value: Any) -> bool:
    if isinstance(value, Tensor):
        return value.ndim > 1
    return (
        isinstance(value, np.ndarray) and value.ndim > 1 and value.dtype.kind in "fiu"
    )


def _tensor(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        # Models are of single precision; arrays of double by habit.
        found = torch.from_numpy(np.ascontiguousarray(value))
        return found.float() if found.dtype == torch.float64 else found
    return value
