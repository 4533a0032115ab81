"""The tensors that a component owns."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn

from surgery.anatomy import Component
from surgery.errors import OperationError


def owned_parameters(model: nn.Module, component: Component) -> dict[str, Tensor]:
    """The component's parameters by their name in the model; each tensor once.

    Raises:
        OperationError: It owns none.
    """
    prefix = f"{component.path}." if component.path else ""
    owner = model.get_submodule(component.path)
    found: dict[str, Tensor] = {
        prefix + name: tensor
        for name, tensor in owner.named_parameters()
        if component.kind != "parameter" or name == component.part
    }
    if not found:
        raise OperationError(
            f"{component} ({type(owner).__name__}) has no parameters, so that a "
            "parameter operation would do nothing; use an output mode such as "
            "mode='zero', or choose a component with parameters"
        )
    return found


def owned_tensors(model: nn.Module, component: Component) -> dict[str, Tensor]:
    """The component's parameters, and for a module its buffers too."""
    found = owned_parameters(model, component)
    if component.kind == "parameter":
        return found
    prefix = f"{component.path}." if component.path else ""
    owner = model.get_submodule(component.path)
    return found | {prefix + name: b for name, b in owner.named_buffers()}


def ancestors(model: nn.Module, path: str) -> Iterator[tuple[str, nn.Module]]:
    """The modules from the model down to `path`, each with its prefix of names."""
    yield "", model
    parts = path.split(".") if path else []
    for depth in range(1, len(parts) + 1):
        above = ".".join(parts[:depth])
        yield f"{above}.", model.get_submodule(above)
