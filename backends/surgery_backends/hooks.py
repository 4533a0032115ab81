"""The hooks backend: modules, their channels and model inputs, by forward hooks.

Hooks run under autograd, checkpointing, DataParallel, autocast and `torch.compile`;
what they cannot see is refused: TorchScript modules, and modules whose `forward` is
called without `__call__` never fire, which proof of effect tells.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, ClassVar, TypeGuard, final

import torch
from torch import Tensor, nn

from surgery.anatomy import (
    Component,
    canonical,
    input_fields,
    is_scripted,
    mapped,
    may_be_iterated,
    tensors,
)
from surgery.backend import AbstractBackend, Action
from surgery.errors import BackendError, OperationError, TargetError
from surgery.ops import Clock
from surgery_backends._compiled import seen_by_compiled_code
from surgery_backends._operands import NO_INPUTS
from surgery_backends._running import outside
from surgery_backends._slices import edit_channels, edit_slice


@final
class HooksBackend(AbstractBackend):
    """Modules, ranges of their channels, and model inputs, by forward hooks."""

    name: ClassVar[str] = "hooks"

    def covers(self, component: Component) -> bool:
        return component.kind in ("module", "channel", "input")

    def attach(
        self, model: nn.Module, component: Component, action: Action
    ) -> Callable[[], None]:
        module = model.get_submodule(component.path)
        _refuse_scripted(module, component)
        with ExitStack() as stack:
            if component.kind == "input":
                tap = InputTap(action, component)
                handle = module.register_forward_pre_hook(tap, with_kwargs=True)
                stack.callback(handle.remove)
            else:
                _tap_module(stack, module, component, action)
            stack.callback(seen_by_compiled_code(model))
            kept = stack.pop_all()  # not undone at the end of this block
        return kept.close


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
        with outside():
            inputs = _copied(args), _copied(kwargs)
        self.action.clock.enter(id(self), inputs)

    def after(
        self,
        module: nn.Module,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        output: object,
    ) -> object:
        clock = self.action.clock
        inputs = clock.entered(id(self)) if self.action.wants_inputs else NO_INPUTS
        if any(clock.inside(id(span)) for span in self.unless):
            return None
        index = clock.tick(id(self))
        if self.call is not None:
            self._require_forward()
            if index != self.call:
                return None
        component = self.action.component
        with outside():
            if component.kind == "channel":
                new = edit_channels(self.action, module, output, component, index)
            else:
                new = self.action(output, inputs, index)
            if _given_back(output, (args, kwargs), module, component):
                return _written(output, new)
            return new

    def done(self, module: nn.Module, args: tuple[Any, ...], output: object) -> None:
        self.action.clock.leave(id(self))

    def _require_forward(self) -> None:
        if not self.action.clock.under_way:
            raise OperationError(
                f"{self.action.component} ran outside of a forward of the model (in "
                "another method, or again under activation checkpointing), where "
                "calls cannot be counted; call the model itself, as in model(x), or "
                "target all calls of the module"
            )


class InputTap:
    """Forward pre-hook of the model: hands what goes in to the action."""

    def __init__(self, action: Action, component: Component) -> None:
        self.action = action
        self.component = component

    def __call__(
        self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        with outside():
            return self._edited(module, args, kwargs)

    def _edited(
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
            edited = self.action(tensor, NO_INPUTS, seen - 1)
            return edited if isinstance(edited, Tensor) else tensor

        name, part = component.part, component.slice
        if name is None and part is None:
            return mapped(args, edit), mapped(kwargs, edit)
        if name is None and part is not None:
            name = part.of
        if name is None:
            fields = input_fields(module, args, kwargs)
            name = next((field for field in fields if tensors(fields[field])), None)
        if name is None:  # no tensor went in
            return args, kwargs
        return self._edit_field(name, module, args, kwargs, edit)

    def _edit_field(
        self,
        name: str,
        module: nn.Module,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        edit: Callable[[Tensor], Tensor],
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
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

    def end(self, module: nn.Module, args: tuple[Any, ...], output: object) -> None:
        self.clock.leave(id(self))


def _tap_module(
    stack: ExitStack,
    module: nn.Module,
    component: Component,
    action: Action,
    unless: tuple[Span, ...] = (),
) -> None:
    _refuse_scripted(module, component)
    whole = component.kind == "module" and component.call is None
    if whole and component.facts is None and may_be_iterated(module):
        _tap_container(stack, module, component, action, unless)
    else:
        _tap(stack, module, action, component.call, unless)


def _tap(
    stack: ExitStack,
    module: nn.Module,
    action: Action,
    call: int | None,
    unless: tuple[Span, ...],
) -> None:
    tap = ModuleTap(action, call, unless)
    if action.wants_inputs:
        before = module.register_forward_pre_hook(tap.before, with_kwargs=True)
        stack.callback(before.remove)
    after = module.register_forward_hook(tap.after, with_kwargs=True)
    stack.callback(after.remove)
    if action.wants_inputs:
        # Also after an exception.
        done = module.register_forward_hook(tap.done, always_call=True)
        stack.callback(done.remove)
    stack.callback(seen_by_compiled_code(module))


def _tap_container(
    stack: ExitStack,
    container: nn.Module,
    component: Component,
    action: Action,
    around: tuple[Span, ...],
) -> None:
    """A Sequential may be called, or iterated over and never called.

    Without a recorded forward only the next forward tells: where the container's own
    call is not under way, its children stand for it.
    """
    span = Span(action.clock)
    begin = container.register_forward_pre_hook(span.begin, with_kwargs=True)
    stack.callback(begin.remove)
    end = container.register_forward_hook(span.end, always_call=True)
    stack.callback(end.remove)
    _tap(stack, container, action, None, around)
    for name, child in container.named_children():
        path = f"{component.path}.{name}"
        part = Component(canonical(path), "module", path)
        _tap_module(stack, child, part, action.for_child(part), (*around, span))


def _given_back(
    output: object, given: object, module: nn.Module, component: Component
) -> TypeGuard[Tensor]:
    """Whether a module returns a tensor that it was given and has changed.

    What called it may go on with that tensor and ignore what is returned.
    """
    noted = component.facts is not None and "in place" in component.facts.note
    if not noted and getattr(module, "inplace", False) is not True:
        return False
    return isinstance(output, Tensor) and any(x is output for x in tensors(given))


def _written(output: Tensor, new: object) -> object:
    """`new`, in the memory of the output."""
    if not isinstance(new, Tensor) or new.shape != output.shape or new is output:
        return new
    if torch.is_grad_enabled() and output.requires_grad:
        return new  # the module keeps its output for backward
    return output.copy_(new)


def _refuse_scripted(module: nn.Module, component: Component) -> None:
    if is_scripted(module):
        raise BackendError(
            f"{component} is a TorchScript module, which takes no Python hooks; "
            "operate on the module before torch.jit.script, or on its parameters"
        )


def _copied(value: Any) -> Any:
    return mapped(value, torch.clone)
