"""Refusals: models of which one forward does not stand for another."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from surgery.errors import BackendError
from surgery_backends.replay._look import Look, alike


def require_versions(model: nn.Module) -> None:
    """Refuse a graph, and tensors that do not count their changes.

    Raises:
        BackendError: There is one, or are some.
    """
    if torch.is_grad_enabled():
        raise BackendError(
            "outputs are remembered without a graph, and gradients are on; "
            "evaluate under torch.no_grad()"
        )
    held = [*model.parameters(), *model.buffers()]
    if torch.is_inference_mode_enabled() or any(t.is_inference() for t in held):
        raise BackendError(
            "tensors of torch.inference_mode() do not tell whether they were "
            "changed in place; make and run the model under torch.no_grad()"
        )


def moved(
    before: Mapping[tuple[nn.Module, str], Look],
    after: Mapping[tuple[nn.Module, str], Look],
) -> set[tuple[nn.Module, str]]:
    """The attributes of modules that a forward has changed.

    Raises:
        BackendError: Buffers or parameters are among them.
    """
    moving = {
        key
        for key in before.keys() | after.keys()
        if key not in before or key not in after or not alike(before[key], after[key])
    }
    for module, name in sorted(moving, key=lambda key: key[1]):
        if name in ("_buffers", "_parameters"):
            raise BackendError(
                f"the forward of the model changes the {name.strip('_')} of a "
                f"{type(module).__name__}, which a call that is left out would "
                "not; put the model into eval mode, or run variants in full"
            )
    return moving
