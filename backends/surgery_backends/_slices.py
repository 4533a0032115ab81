"""Ranges of a model input: an action on a part of one axis."""

from __future__ import annotations

import torch
from torch import Tensor

from surgery.anatomy import Component
from surgery.backend import Action
from surgery.errors import ShapeMismatchError


def edit_slice(action: Action, tensor: Tensor, component: Component) -> Tensor:
    """`tensor` with the component's range replaced by what the action makes of it."""
    part = component.slice
    if part is None:
        return tensor
    axis = tensor.ndim - 1 if part.axis == "feature" else 1
    size = tensor.shape[axis] if axis < tensor.ndim else 0
    if part.last >= size:
        raise ShapeMismatchError(
            f"{component}: the input has shape {tuple(tensor.shape)}, so that "
            f"{part.axis}s run from 0 to {size - 1}"
        )
    length = part.last - part.first + 1
    before = tensor.narrow(axis, 0, part.first)
    after = tensor.narrow(axis, part.last + 1, size - part.last - 1)
    edited = action(tensor.narrow(axis, part.first, length), ((), {}), 0)
    if not isinstance(edited, Tensor):
        return tensor
    return torch.cat([before, edited, after], axis)
