"""Ranges of a model input or of a module's output: an action on a part of one axis."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from surgery.anatomy import Component, channel_axis
from surgery.backend import Action
from surgery.errors import OperationError, ShapeMismatchError
from surgery.ops import Inputs


def edit_slice(action: Action, tensor: Tensor, component: Component) -> Tensor:
    """`tensor` with the component's range replaced by what the action makes of it."""
    part = component.slice
    if part is None:
        return tensor
    axis = tensor.ndim - 1 if part.axis == "feature" else 1
    where = narrowed(tensor, axis, component, "the input has")
    edited = action(where, ((), {}), 0)
    if not isinstance(edited, Tensor):
        return tensor
    return put_back(tensor, axis, component, edited)


def edit_channels(
    action: Action, module: nn.Module, output: object, component: Component, index: int
) -> object:
    """`output` of `module` with the component's channels replaced by the action."""
    if not isinstance(output, Tensor):
        raise OperationError(
            f"{component}: {type(module).__name__} returns {type(output).__name__} "
            "and not one tensor, so that it is not clear whose channels are meant; "
            "target a module inside it, or all of it"
        )
    axis = channel_axis(module, output)
    where = narrowed(output, axis, component, f"{type(module).__name__} returns")
    edited = action(where, _NO_INPUTS, index)
    if edited is where or not isinstance(edited, Tensor):
        return output
    return put_back(output, axis, component, edited)


def narrowed(tensor: Tensor, axis: int, component: Component, who: str) -> Tensor:
    """The component's range of an axis.

    Raises:
        ShapeMismatchError: The axis is not that long.
    """
    part = component.slice
    assert part is not None
    size = tensor.shape[axis] if axis < tensor.ndim else 0
    if part.last >= size:
        raise ShapeMismatchError(
            f"{component}: {who} shape {tuple(tensor.shape)}, so that "
            f"{part.axis}s run from 0 to {size - 1}"
        )
    return tensor.narrow(axis, part.first, part.last - part.first + 1)


def put_back(tensor: Tensor, axis: int, component: Component, new: Tensor) -> Tensor:
    """`tensor` with `new` in the component's range of an axis."""
    part = component.slice
    assert part is not None
    end = part.last + 1
    before = tensor.narrow(axis, 0, part.first)
    after = tensor.narrow(axis, end, tensor.shape[axis] - end)
    whole = torch.cat([before, new, after], axis)
    if whole.stride() == tensor.stride():
        return whole
    # For code after it that takes views.
    return torch.empty_like(tensor).copy_(whole)


_NO_INPUTS: Inputs = ((), {})
