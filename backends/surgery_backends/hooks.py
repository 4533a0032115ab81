"""The hooks backend: modules and model inputs, by forward hooks.

Hooks run under autograd, checkpointing, DataParallel, autocast and `torch.compile`;
what they cannot see is refused: TorchScript modules, and modules whose `forward` is
called without `__call__` never fire, which proof of effect tells.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from surgery.anatomy import (
    Component,
    canonical,
    input_fields,
    is_scripted,
    mapped,
    may_be_iterated,
)
from surgery.backend import AbstractBackend, Action
from surgery.errors import BackendError, TargetError
from surgery.ops import Clock
from surgery_backends._compiled import seen_by_compiled_code
from surgery_backends._slices import edit_slice

_NO_INPUTS: tuple[tuple[Any, ...], dict[str, Any]] = ((), {})


@final
class HooksBackend(AbstractBackend):
    """Modules and model inputs, by forward hooks."""

    name: ClassVar[str] = "hooks"

    def covers(self, component: Component) -> bool:
        return component.kind in ("module", "input")

    def attach(
        self, model: nn.Module, component: Component, action: Action
    ) -> Callable[[], None]:
        module = model.get_submodule(component.path)
        if is_scripted(module):
            raise BackendError(
                f"{component} is a TorchScript module, which takes no Python hooks; "
                "operate on the module before torch.jit.script, or on its parameters"
            )
        undo: list[Callable[[], None]] = []
        if component.kind == "input":
            tap = InputTap(action, component)
            handle = module.register_forward_pre_hook(tap, with_kwargs=True)
            undo.append(handle.remove)
        else:
            undo += _tap_module(module, component, action)
        undo.append(seen_by_compiled_code(model))

        def detach() -> None:
            while undo:
                undo.pop()()

        return detach


class ModuleTap:
    """Forward pre-hook and hook of one module: hands its output to the action.

    A class and not a closure, so that models with it pickle and deep-copy.
    """

    def __init__(
        self, action: Action, call: int | None = None, unless: tuple[Span, ...] = ()
    ) -> None:
        self.action = action
        self.call = call
        self.unless = unless

    def before(
        self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        # Copies: the module may change its inputs in place.
        self.action.clock.enter(id(self), (_copied(args), _copied(kwargs)))

    def after(
        self,
        module: nn.Module,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        output: object,
    ) -> object:
        clock = self.action.clock
        inputs = clock.leave(id(self)) if self.action.wants_inputs else _NO_INPUTS
        if any(clock.inside(id(span)) for span in self.unless):
            return None
        index = clock.tick(id(self))
        if self.call is not None and index != self.call:
            return None
        return self.action(output, inputs, index)


class InputTap:
    """Forward pre-hook of the model: hands what goes in to the action."""

    def __init__(self, action: Action, component: Component) -> None:
        self.action = action
        self.component = component

    def __call__(
        self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        component = self.component
        seen = 0

        def edit(tensor: Tensor) -> Tensor:
            nonlocal seen
            seen += 1
            if component.slice is not None:
                if seen > 1:
                    return tensor
                return edit_slice(self.action, tensor, component)
            edited = self.action(tensor, _NO_INPUTS, seen - 1)
            return edited if isinstance(edited, Tensor) else tensor

        if component.part is None:
            return mapped(args, edit), mapped(kwargs, edit)
        return self._edit_field(module, args, kwargs, edit)

    def _edit_field(
        self,
        module: nn.Module,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        edit: Callable[[Tensor], Tensor],
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        name = self.component.part
        if name in kwargs:
            return args, {**kwargs, name: mapped(kwargs[name], edit)}
        positional = list(input_fields(module, args, {}))
        if name not in positional:
            given = ", ".join([*positional, *kwargs]) or "nothing"
            raise TargetError(
                f"the model was called without input {name!r}; it was given {given}"
            )
        place = positional.index(name)
        return (*args[:place], mapped(args[place], edit), *args[place + 1 :]), kwargs


class Span:
    """Tells whether a container's own call is under way."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def begin(
        self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        self.clock.enter(id(self))

    def end(
        self,
        module: nn.Module,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        output: object,
    ) -> None:
        self.clock.leave(id(self))


def _tap_module(
    module: nn.Module, component: Component, action: Action
) -> list[Callable[[], None]]:
    if component.facts is None and component.call is None and may_be_iterated(module):
        return _tap_container(module, component, action)
    return _tap(module, action, component.call)


def _tap(
    module: nn.Module,
    action: Action,
    call: int | None = None,
    unless: tuple[Span, ...] = (),
) -> list[Callable[[], None]]:
    tap = ModuleTap(action, call, unless)
    handles: list[RemovableHandle] = []
    if action.wants_inputs:
        handles.append(module.register_forward_pre_hook(tap.before, with_kwargs=True))
    handles.append(module.register_forward_hook(tap.after, with_kwargs=True))
    return [*(handle.remove for handle in handles), seen_by_compiled_code(module)]


def _tap_container(
    container: nn.Module,
    component: Component,
    action: Action,
    around: tuple[Span, ...] = (),
) -> list[Callable[[], None]]:
    """A Sequential may be called, or iterated over and never called.

    Without a recorded forward only the next forward tells: where the container's own
    call is not under way, its children stand for it.
    """
    span = Span(action.clock)
    handles = [
        container.register_forward_pre_hook(span.begin, with_kwargs=True),
        container.register_forward_hook(span.end, with_kwargs=True),
    ]
    undo = [handle.remove for handle in handles]
    undo += _tap(container, action, unless=around)
    for name, child in container.named_children():
        path = f"{component.path}.{name}"
        part = Component(canonical(path), "module", path)
        if may_be_iterated(child):
            inner = (*around, span)
            undo += _tap_container(child, part, action.for_child(part), inner)
        else:
            undo += _tap(child, action.for_child(part), unless=(*around, span))
    return undo


def _copied(value: Any) -> Any:
    return mapped(value, torch.clone)
