"""Tensors that operations can write values into; all others are refused by name.

Some libraries keep a parameter's values elsewhere (offloaded), in a packed form
(quantised) or in pieces over processes (sharded). Writing plain values there would
fail somewhere in torch, or change nothing.
"""

from __future__ import annotations

import sys

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.utils._python_dispatch import is_traceable_wrapper_subclass

from surgery.anatomy import Component
from surgery.errors import OperationError
from surgery.ops._base import AbstractOperation
from surgery.ops._output import Constant, Zero


def require_values(name: str, tensor: Tensor, component: Component) -> None:
    """Refuse a parameter that has no values of its own.

    Raises:
        OperationError: It is lazy, offloaded, or a sketch on the meta device.
    """
    if is_lazy(tensor):
        raise OperationError(
            f"{_named(name, component)} has no values yet, for its module is lazy; "
            "run the model once, then operate on it"
        )
    if tensor.is_meta:
        raise OperationError(
            f"{_named(name, component)} is on the meta device, without values: "
            "accelerate loads an offloaded module's parameters for the time of its "
            "forward (or the model was never given any); use an output mode such as "
            "mode='zero' on the module, or load the model without offloading"
        )


def require_writable(
    name: str, tensor: Tensor, component: Component, operation: AbstractOperation
) -> None:
    """Refuse a parameter whose values cannot be replaced by plain ones.

    Raises:
        OperationError: It has no values, or is quantised, sharded, or of integers.
    """
    require_values(name, tensor, component)
    what = f"mode={operation.mode!r} cannot write {_named(name, component)}"
    if _is_sharded(tensor):
        if isinstance(operation, Zero) or (
            isinstance(operation, Constant) and not isinstance(operation.value, Tensor)
        ):
            return
        raise OperationError(
            f"{what}, which is sharded over processes (DTensor); use mode='zero', an "
            "output mode on its module, or operate before fully_shard(...)"
        )
    if _is_packed(tensor):
        raise OperationError(
            f"{what}, which is quantised ({type(tensor).__name__}, {tensor.dtype}): "
            "its values are packed; use an output mode such as mode='zero' on its "
            "module, or operate before quantising"
        )
    if component.kind == "parameter" and not takes(operation, tensor):
        raise OperationError(
            f"{what}, which holds {tensor.dtype} values; operate on its module"
        )


def takes(operation: AbstractOperation, tensor: Tensor) -> bool:
    """Whether the operation, on a module, changes this parameter of it."""
    real = tensor.is_floating_point()
    return real or (tensor.is_complex() and operation.mode != "noise")


def _named(name: str, component: Component) -> str:
    return name if name == str(component) else f"{name} of {component}"


def _is_sharded(tensor: Tensor) -> bool:
    # Seconds to import, and loaded by whoever shards.
    loaded = sys.modules.get("torch.distributed.tensor")
    return loaded is not None and isinstance(tensor, loaded.DTensor)


def _is_packed(tensor: Tensor) -> bool:
    if is_traceable_wrapper_subclass(tensor):  # torchao's
        return True
    plain = type(tensor) in (Tensor, nn.Parameter)
    number = tensor.is_floating_point() or tensor.is_complex()
    return not plain and not number and tensor.dtype != torch.bool
