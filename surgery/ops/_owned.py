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


def real_parameters(model: nn.Module, component: Component) -> dict[str, Tensor]:
    """Those of the component's parameters that are of floating point.

    Raises:
        OperationError: It owns none.
    """
    owned = owned_parameters(model, component)
    found = {name: t for name, t in owned.items() if t.is_floating_point()}
    if not found:
        kinds = ", ".join(sorted({str(t.dtype) for t in owned.values()}))
        raise OperationError(
            f"{component} has no floating-point parameters ({kinds}), so that there is "
            "nothing to change gradually; choose another component, or an output mode "
            "such as mode='zero'"
        )
    return found


def weights(model: nn.Module, component: Component) -> dict[str, Tensor]:
    """Its parameters of two and more axes; where it has none such, all of them.

    Biases and the scales of norms are few, and are left alone beside weights.
    """
    found = real_parameters(model, component)
    large = {name: tensor for name, tensor in found.items() if tensor.ndim > 1}
    return large or found


def tied_to(model: nn.Module, component: Component, tensor: Tensor) -> tuple[str, ...]:
    """The names of a tensor outside of the component: what changes with it."""
    prefix = f"{component.path}." if component.path else ""
    return tuple(
        name
        for name, other in model.named_parameters(remove_duplicate=False)
        if other is tensor
        and (
            name != prefix + str(component.part)
            if component.kind == "parameter"
            else not name.startswith(prefix)
        )
    )


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
