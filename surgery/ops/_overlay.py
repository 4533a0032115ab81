"""Overlays: values laid over a tensor in place, taken off again in any order.

Each tensor keeps its layers, oldest first. A layer remembers what was there before it,
bit for bit; taking off one in the middle hands that to the layer above and computes
the layers above anew, as if the one taken off had never been.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from surgery.ops._base import AbstractNewValue


@dataclass
class _Layer:
    token: object
    before: Tensor
    value: AbstractNewValue
    dial: float

    def on(self, present: Tensor) -> Tensor:
        return dialled(present, self.value(present), self.dial)


_LAYERS: WeakTensorKeyDictionary = WeakTensorKeyDictionary()


def dialled(present: Tensor, new: Tensor, dial: float) -> Tensor:
    """(1 - m) · present + m · new, exact at both ends."""
    if dial == 1:
        return new
    if dial == 0:
        return present
    return (1 - dial) * present + dial * new


@torch.no_grad()
def lay(
    values: Mapping[Tensor, AbstractNewValue], dial: float
) -> tuple[Callable[[], None], int, bool]:
    """Put new values into tensors, in place.

    Returns:
        How to take them off again, how many tensors there are, and whether any of
        them changed.
    """
    token = object()
    changed = False
    with ExitStack() as stack:
        # Autocast keeps low-precision copies of weights and misses changes in place.
        stack.callback(torch.clear_autocast_cache)
        for tensor, value in values.items():
            layer = _Layer(token, tensor.detach().clone(), value, dial)
            new = layer.on(layer.before)
            changed = changed or not torch.equal(new, layer.before)
            below: list[_Layer] = _LAYERS.get(tensor) or []
            _LAYERS[tensor] = [*below, layer]
            stack.callback(_take_off, tensor, token)
            tensor.copy_(new)
        torch.clear_autocast_cache()
        kept = stack.pop_all()  # not undone at the end of this block
    return kept.close, len(values), changed


@torch.no_grad()
def _take_off(tensor: Tensor, token: object) -> None:
    layers: list[_Layer] = _LAYERS[tensor]
    place = next(i for i, layer in enumerate(layers) if layer.token is token)
    value = layers.pop(place).before
    for layer in layers[place:]:
        layer.before = value
        value = layer.on(value)
    if not layers:
        del _LAYERS[tensor]
    tensor.copy_(value)


def is_overlaid(tensor: Tensor) -> bool:
    """Whether values are laid over it at present."""
    return tensor in _LAYERS
