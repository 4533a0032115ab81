"""Fresh parameters: how a layer is initialised, found without knowing its class.

A copy of the model is emptied (parameters of the component set to NaN) and then filled
by the ways that PyTorch code initialises itself. What is still NaN at the end was
reached by none, and is an error rather than a guess.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping, Set
from typing import Any

import torch
from torch import Tensor, nn

from surgery._random import derive, seeded
from surgery.anatomy import Component
from surgery.errors import OperationError
from surgery.ops._owned import ancestors
from surgery.ops._registry import rebuilt_by_timm


def fresh_tensors(
    model: nn.Module,
    component: Component,
    names: Set[str],
    seed: int,
    factory: Callable[[], nn.Module] | None,
) -> tuple[Mapping[str, Tensor], str]:
    """Freshly initialised tensors of `component` by their name, and how they came.

    Args:
        model: The model; not changed.
        component: The module or parameter to draw anew.
        names: Which of the model's parameters and buffers are wanted.
        seed: Seed of the draw; the global generators stay as they were.
        factory: Builds a whole fresh model, or `None` to find another way.
    """
    with seeded(derive(seed, "reinit")), torch.no_grad():
        if factory is not None:
            return _named(factory(), names), "from the factory"
        present = _named(model, names)
        rebuilt = rebuilt_by_timm(model, component.path, present)
        if rebuilt is not None:
            return rebuilt, "as timm builds the model"
        fresh, scheme = _filled_copy(model, component, names)
        return _named(fresh, names), scheme


def _named(model: nn.Module, names: Set[str]) -> dict[str, Tensor]:
    tensors = _parameters(model) | dict(model.named_buffers(remove_duplicate=False))
    return {name: tensors[name].detach() for name in names if name in tensors}


def _filled_copy(
    model: nn.Module, component: Component, names: Set[str]
) -> tuple[nn.Module, str]:
    try:
        fresh = copy.deepcopy(model)
    except Exception as error:  # any module may refuse, in any way
        raise OperationError(
            f"{component} could not be drawn anew: {type(model).__name__} cannot be "
            f"copied ({type(error).__name__}: {error}); use "
            "surgery.ops.Reinit(factory=make_model)"
        ) from error
    if any(p.dtype in (torch.float16, torch.bfloat16) for p in fresh.parameters()):
        fresh = fresh.float()  # not every initialiser knows half precision
    part = fresh.get_submodule(component.path)
    wanted = [p for name, p in _parameters(fresh).items() if name in names]
    for parameter in wanted:
        if parameter.is_floating_point():
            parameter.fill_(torch.nan)
    modules = list(part.modules())
    if component.kind == "parameter":
        modules = [part]
    for module in reversed(modules):  # children first, as when they were built
        _reset(module)
    scheme = _apply_scheme_of_model(fresh, component.path, modules)
    for module in modules:
        if _is_empty(module, wanted):
            _rebuild(module)
    empty = [n for n, p in _parameters(fresh).items() if n in names and _has_nan(p)]
    if empty:
        raise OperationError(
            f"no way was found to initialise {', '.join(empty[:5])} of {component}: "
            "the module has no reset_parameters() and its model no init scheme that "
            "reaches it; use surgery.ops.Reinit(factory=make_model), or "
            "surgery.ops.Rewind(state_dict) with the weights of step 0"
        )
    return fresh, scheme or "by reset_parameters(), the layers' default"


def _reset(module: nn.Module) -> None:
    for name in ("reset_parameters", "_reset_parameters"):
        method = getattr(module, name, None)
        if callable(method) and _required_arguments(method) == 0:
            method()
            return


def _apply_scheme_of_model(root: nn.Module, path: str, modules: list[nn.Module]) -> str:
    """Let the outermost module that initialises its children do so; says how."""
    above = [module for _, module in ancestors(root, path)]
    for depth, ancestor in enumerate(above):
        per_module = getattr(ancestor, "_init_weights", None)
        if callable(per_module) and _required_arguments(per_module) == 1:
            # Children first, as `Module.apply`; those above may treat some parameters
            # inside in a way of their own (residual projections of GPT-2).
            around = [m for m in reversed(above[depth:]) if m not in modules]
            for module in (*reversed(modules), *around):
                per_module(module)
            return f"by {type(ancestor).__name__}._init_weights()"
        whole = getattr(ancestor, "init_weights", None)
        if callable(whole) and _required_arguments(whole) == 0:
            whole()
            return f"by {type(ancestor).__name__}.init_weights()"
    return ""


def _parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    # A tied parameter under each of its names: the component may own any of them.
    return dict(model.named_parameters(remove_duplicate=False))


def _rebuild(module: nn.Module) -> None:
    """Build a module of the same class from the arguments that it kept as attributes.

    Taken only where the class asks for nothing that cannot be found and the tensors
    come out with the same names and shapes.
    """
    arguments: dict[str, Any] = {}
    for name, parameter in inspect.signature(type(module)).parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            return
        if hasattr(module, name):
            arguments[name] = getattr(module, name)
        elif parameter.default is parameter.empty:
            return
    try:
        built = type(module)(**arguments)
    except Exception:
        return  # its arguments are not what its attributes hold: no way, said above
    theirs = dict(built.named_parameters(recurse=False))
    mine = dict(module.named_parameters(recurse=False))
    if {n: p.shape for n, p in theirs.items()} == {n: p.shape for n, p in mine.items()}:
        for name, tensor in mine.items():
            tensor.copy_(theirs[name])


def _required_arguments(function: Callable[..., object]) -> int | None:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return None
    return sum(
        p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
        for p in parameters
    )


def _is_empty(module: nn.Module, wanted: list[nn.Parameter]) -> bool:
    own = {id(p) for p in module.parameters(recurse=False)}
    return any(id(p) in own and _has_nan(p) for p in wanted)


def _has_nan(parameter: Tensor) -> bool:
    return parameter.is_floating_point() and bool(parameter.isnan().any())
