"""Batches as nested structures: their length, some of their samples, their device."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from surgery.errors import DataError


def to_device(batch: Any, device: torch.device | str) -> Any:
    """Move every tensor of a batch; arrays become tensors on the way."""
    if isinstance(batch, Tensor):
        # Towards the CPU nothing waits for the copy before its values are read.
        non_blocking = torch.device(device).type != "cpu"
        return batch.to(device, non_blocking=non_blocking)
    if isinstance(batch, np.ndarray):
        array = batch
        return as_tensor(array).to(device) if array.dtype.kind in "biufc" else array
    if _is_container(batch):
        return rebuild(batch, lambda item: to_device(item, device))
    if not isinstance(batch, torch.nn.Module) and callable(getattr(batch, "to", None)):
        return batch.to(device)
    return batch


def as_tensor(array: np.ndarray[Any, Any]) -> Tensor:
    """Turn an array into a tensor.

    Doubles become torch's default dtype: in numpy they are what one gets without
    asking, in a model they are an error.
    """
    # Negative strides and read-only memory are not for torch.
    tensor = torch.from_numpy(np.array(array, order="C", copy=True))
    return tensor.to(torch.get_default_dtype()) if array.dtype == float else tensor


def batch_length(batch: Any) -> int:
    """Count the samples of a batch, of outputs, or of labels."""
    length = _length(batch)
    if length is None:
        raise DataError(
            f"cannot tell how many samples are in a batch of type "
            f"{type(batch).__name__}; give batches of tensors whose first axis is the "
            "sample, or lists with one item per sample"
        )
    return length


def slice_batch(batch: Any, start: int, stop: int) -> Any:
    """Take samples `start` to `stop` (exclusive); what has no samples is kept."""
    length = batch_length(batch)
    # A pair is (inputs, labels), never two samples.
    return select_samples(batch, length, range(length)[start:stop], True)


def take(obj: Any, length: int, start: int, stop: int) -> Any:
    """Take some samples of outputs or labels of known length."""
    return select_samples(obj, length, range(length)[start:stop], False)


def keep_samples(obj: Any, mask: Tensor) -> Any:
    """Take the samples of outputs or labels where a boolean mask is true."""
    return select_samples(obj, len(mask), mask.nonzero().flatten().tolist(), False)


def rebuild(container: Any, change: Callable[[Any], Any]) -> Any:
    """Make a container of the same type with every item changed."""
    if isinstance(container, Mapping):
        mapping = container
        changed = {key: change(item) for key, item in mapping.items()}
        if dataclasses.is_dataclass(container):  # Hugging Face's ModelOutput
            return dataclasses.replace(cast("Any", container), **changed)
        return changed if type(mapping) is dict else cast("Any", type(mapping))(changed)
    items = [change(item) for item in container]
    if hasattr(container, "_fields"):  # a named tuple
        return type(container)(*items)
    return type(container)(items)


def is_per_sample(items: Sequence[Any], length: int) -> bool:
    """Whether a list or tuple holds one item per sample, not one field per item."""
    if len(items) != length or hasattr(items, "_fields"):
        return False
    tensors = [item for item in items if _is_array(item)]
    if len(tensors) < len(items):
        if any(isinstance(item, Mapping) for item in items):
            return True  # annotations, whose own tensors may be of any length
        return not tensors and not all(_has_length(item, length) for item in items)
    # Three-dimensional tensors of 1, 3 or 4 channels are images, as in detection.
    images = all(item.ndim == 3 and item.shape[0] in (1, 3, 4) for item in items)
    return images or not all(_has_length(item, length) for item in items)


def select_samples(obj: Any, length: int, indices: Iterable[int], pair: bool) -> Any:
    """Some samples of an object of `length`; a `pair` is never two samples."""
    chosen = list(indices)
    if _is_array(obj):
        if not obj.ndim or obj.shape[0] != length:
            return obj
        contiguous = chosen == list(range(chosen[0], chosen[-1] + 1)) if chosen else 0
        if contiguous:
            return obj[chosen[0] : chosen[-1] + 1]
        if isinstance(obj, Tensor):
            return obj[torch.tensor(chosen, dtype=torch.long, device=obj.device)]
        return obj[np.array(chosen, dtype=np.intp)]
    if not _is_container(obj):
        return obj
    if not isinstance(obj, Mapping) and not (pair and len(obj) == 2):
        if is_per_sample(obj, length):
            return type(obj)([obj[index] for index in chosen])
    return rebuild(obj, lambda item: select_samples(item, length, chosen, False))


def _length(obj: Any) -> int | None:
    if _is_array(obj):
        return int(obj.shape[0]) if obj.ndim else None
    if not _is_container(obj):
        return None
    if isinstance(obj, Mapping):
        fields = obj
        labels = [fields[key] for key in ("labels", "label") if key in fields]
        return _first_length([*labels, *fields.values()])
    if not obj:
        return None
    if all(_is_annotation(item) for item in obj):
        return len(obj)
    if len(obj) == 2:
        # Labels tell most surely: inputs may be a list of images of unlike sizes.
        return _first_length(reversed(obj))
    lengths = {_length(item) for item in obj}
    if len(lengths) == 1 and not is_per_sample(obj, len(obj)):
        return lengths.pop()
    if all(_is_array(item) and item.ndim == 3 for item in obj):
        return len(obj)
    return _first_length(obj)


def _first_length(items: Iterable[Any]) -> int | None:
    return next((n for n in map(_length, items) if n is not None), None)


def _is_annotation(item: Any) -> bool:
    return isinstance(item, (Mapping, str, bytes, bool, int, float))


def _has_length(item: Any, length: int) -> bool:
    if isinstance(item, (list, tuple)):
        return bool(item) and all(_has_length(part, length) for part in item)
    return _is_array(item) and item.ndim > 0 and item.shape[0] == length


def _is_array(obj: Any) -> bool:
    return isinstance(obj, (Tensor, np.ndarray))


def _is_container(obj: Any) -> bool:
    return isinstance(obj, (Mapping, list, tuple))
