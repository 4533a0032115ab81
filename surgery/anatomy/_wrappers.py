"""Wrappers around a model: parallel and compiled ones, and what is inside."""

from __future__ import annotations

import torch
from torch import nn

from surgery.errors import OperationError

# A tuple: older tracers of torch.compile, which come by here, know no unions of types.
_WRAPPERS = (nn.DataParallel, nn.parallel.DistributedDataParallel)


def unwrap(model: nn.Module) -> nn.Module:
    """The model inside `DataParallel`, `DistributedDataParallel` or `torch.compile`.

    Targets name the parts of the inner model, so that the same names hold with and
    without a wrapper.
    """
    if not isinstance(model, nn.Module):  # callers without a type checker
        raise OperationError(
            f"the model must be a torch.nn.Module, got {type(model).__name__}"
        )
    while True:
        if isinstance(model, _WRAPPERS):
            model = model.module
        elif isinstance(inner := getattr(model, "_orig_mod", None), nn.Module):
            model = inner
        else:
            return model


def is_scripted(module: nn.Module) -> bool:
    """Whether TorchScript runs this module, so that no Python hook inside it can."""
    return isinstance(module, torch.jit.ScriptModule)


def may_be_iterated(module: nn.Module) -> bool:
    """Whether it is a plain Sequential, which some models iterate and never call."""
    # A traced module's class has no `forward` that can be looked at.
    return getattr(type(module), "forward", None) is nn.Sequential.forward
