"""Freezing: no gradients and no moving statistics, counted so that it nests."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar
from weakref import WeakKeyDictionary

from torch import Tensor, nn
from torch.nn.modules.batchnorm import (
    _NormBase,  # pyright: ignore[reportPrivateUsage]  # the base of all running norms
)
from torch.utils.weak import WeakTensorKeyDictionary

from surgery.anatomy import Component
from surgery.errors import OperationError
from surgery.ops._writable import require_values

_T = TypeVar("_T")


@dataclass
class _Frozen:
    """A frozen parameter: how often, and what it was like before."""

    count: int
    requires_grad: bool
    grad: Tensor | None


_TENSORS: WeakTensorKeyDictionary = WeakTensorKeyDictionary()
_NORMS: WeakKeyDictionary[nn.Module, int] = WeakKeyDictionary()


class _HeldInEval:
    """Stands in for `module.train`: remembers what was asked, keeps eval mode."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.asked = module.training
        self.shadowed: Callable[[bool], nn.Module] | None
        self.shadowed = module.__dict__.get("train")

    def __call__(self, mode: bool = True) -> nn.Module:
        if self.shadowed is None:
            type(self.module).train(self.module, mode)
        else:
            self.shadowed(mode)
        self.asked = mode
        self.module.training = False
        return self.module


def freeze_component(
    model: nn.Module, component: Component
) -> tuple[Callable[[], None], int, bool]:
    """Freeze a module, a parameter, or all that computes a branch or a skip.

    That is its modules, and the parameters that code beside these uses directly.

    Returns:
        How to thaw it, how many tensors and norms were frozen, and whether any of them
        was not frozen before.
    """
    owners = [model.get_submodule(path) for path in _computed_by(component)]
    named = [
        (name, parameter)
        for owner in owners
        for name, parameter in owner.named_parameters()
        if component.kind != "parameter" or name == component.part
    ]
    if component.kind in ("skip", "branch") and component.place is not None:
        direct = component.place.parameters
        named += [(name, _parameter(model, name)) for name in direct]
    for name, parameter in named:
        require_values(name, parameter, component)
    parameters = _once(parameter for _, parameter in named)
    norms: list[nn.Module] = []
    if component.kind != "parameter":
        norms = _once(m for o in owners for m in o.modules() if _keeps_statistics(m))
    if not parameters and not norms:
        classes = ", ".join(type(owner).__name__ for owner in owners)
        raise OperationError(
            f"{component} ({classes}) has neither parameters nor running "
            "statistics: there is nothing to freeze"
        )
    changed = any(p.requires_grad for p in parameters) or any(m.training for m in norms)
    for parameter in parameters:
        _hold_tensor(parameter)
    for norm in norms:
        _hold_norm(norm)

    def undo() -> None:
        for parameter in parameters:
            _release_tensor(parameter)
        for norm in norms:
            _release_norm(norm)

    return undo, len(parameters) + len(norms), changed


def _computed_by(component: Component) -> tuple[str, ...]:
    """Paths of the modules that give a component its values."""
    if component.kind not in ("skip", "branch"):
        return (component.path,)
    return component.place.modules if component.place else ()


def _parameter(model: nn.Module, name: str) -> nn.Parameter:
    # A scripted module has no `get_parameter`.
    path, _, last = name.rpartition(".")
    parameter: nn.Parameter = getattr(model.get_submodule(path), last)
    return parameter


def _once(items: Iterable[_T]) -> list[_T]:
    """Each object once; tensors compare by their values, so not by equality."""
    return list({id(item): item for item in items}.values())


def _keeps_statistics(module: nn.Module) -> bool:
    names = (name for name, _ in module.named_buffers(recurse=False))
    return isinstance(module, _NormBase) or any(
        name.startswith("running_") for name in names
    )


def _hold_tensor(parameter: nn.Parameter) -> None:
    state: _Frozen | None = _TENSORS.get(parameter)
    if state is None:
        state = _Frozen(0, parameter.requires_grad, parameter.grad)
        _TENSORS[parameter] = state
    state.count += 1
    parameter.requires_grad_(False)
    # An optimizer steps on (and decays) every parameter that has a gradient.
    parameter.grad = None


def _release_tensor(parameter: nn.Parameter) -> None:
    state: _Frozen = _TENSORS[parameter]
    state.count -= 1
    if state.count == 0:
        del _TENSORS[parameter]
        # What the user turned on meanwhile stays on.
        parameter.requires_grad_(state.requires_grad or parameter.requires_grad)
        if parameter.grad is None and state.grad is not None:
            parameter.grad = state.grad.to(parameter)


def _hold_norm(norm: nn.Module) -> None:
    _NORMS[norm] = _NORMS.get(norm, 0) + 1
    if _NORMS[norm] == 1:
        # In the instance's dict, not as a submodule: state_dict keys stay as they are.
        norm.__dict__["train"] = _HeldInEval(norm)
        norm.training = False


def _release_norm(norm: nn.Module) -> None:
    _NORMS[norm] -= 1
    if _NORMS[norm] == 0:
        del _NORMS[norm]
        held: _HeldInEval = norm.__dict__.pop("train")
        if held.shadowed is not None:  # a copy of a frozen model stays frozen
            norm.__dict__["train"] = held.shadowed
        norm.training = held.asked


def is_frozen(part: Tensor | nn.Module) -> bool:
    """Whether a parameter or a norm is held frozen at present."""
    return part in (_TENSORS if isinstance(part, Tensor) else _NORMS)
