"""Ranges of a model input or of a module's output: an action on a part of one axis."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from surgery.anatomy import Component, channel_axis, channel_axis_of
from surgery.backend import Action
from surgery.errors import OperationError, ShapeMismatchError
from surgery_backends._operands import NO_INPUTS, with_range


def edit_slice(action: Action, tensor: Tensor, component: Component) -> Tensor:
    """`tensor` with the component's range replaced by what the action makes of it."""
    part = component.slice
    if part is None:
        return tensor
    axis = tensor.ndim - 1 if part.axis == "feature" else 1
    where = narrowed(tensor, axis, component, "the input has")
    edited = action(where, NO_INPUTS, 0)
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
    axis = _channel_axis(module, output, component)
    where = narrowed(output, axis, component, f"{type(module).__name__} returns")
    edited = action(where, NO_INPUTS, index)
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
    whole = with_range(tensor, axis, part.first, part.last, new)
    if whole.stride() == tensor.stride():
        return whole
    # For code after it that takes views.
    return torch.empty_like(tensor).copy_(whole)


def _channel_axis(module: nn.Module, output: Tensor, component: Component) -> int:
    """As in the recorded forward, if there was one: a shape may mislead."""
    recorded = component.facts.output_shape if component.facts else None
    if recorded is None or len(recorded) != output.ndim:
        return channel_axis(module, output)
    return channel_axis_of(module, recorded)
