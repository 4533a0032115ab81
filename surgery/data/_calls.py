"""How a batch becomes a call of the model: one reading of it for all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from torch import Tensor, nn

from surgery.data._samples import batch_length, is_per_sample


def call_on_inputs(model: nn.Module, inputs: Any, labels: Any = None) -> Any:
    """Call a model on inputs: a tensor, a tuple or list of arguments, or a mapping.

    Args:
        model: What is called.
        inputs: A list may be several arguments or one argument with an item per
            sample; where `labels` are known, their number decides.
        labels: Of the same batch, if it has any.
    """
    if isinstance(inputs, Mapping):
        return model(**cast("Mapping[str, Any]", inputs))
    if isinstance(inputs, tuple):
        return model(*inputs)
    if isinstance(inputs, list) and _are_arguments(inputs, labels):
        return model(*inputs)
    return model(inputs)


def call_on_batch(model: nn.Module, batch: Any) -> Any:
    """Call a model on a batch without asking for labels, which are left out.

    A batch is a tensor, `(inputs, labels)`, or a mapping of keyword inputs.
    """
    if isinstance(batch, Mapping):
        fields = cast("Mapping[str, Any]", batch)
        return model(**{k: v for k, v in fields.items() if k != "labels"})
    if isinstance(batch, (tuple, list)):
        parts = cast("list[Any]", batch)
        labels = parts[1] if len(parts) == 2 else None
        return call_on_inputs(model, parts[0], labels)
    return model(batch)


def _are_arguments(inputs: list[Any], labels: Any) -> bool:
    """Whether a list is several inputs, as a DataLoader collates a tuple of them.

    Else it is one argument with an item per sample, as detectors take.
    """
    counted = isinstance(labels, Tensor) and labels.ndim
    length = batch_length(labels) if counted else None
    return (
        length is not None
        and all(isinstance(item, Tensor) for item in inputs)
        and all(batch_length(item) == length for item in inputs)
        and not is_per_sample(inputs, length)
    )
