"""The scoped backend: joins, functions and heads, by interception in their module.

While a module is called that is operated on, a function mode sees the torch functions
that it calls, and puts the action's result in the place of an operand or of what comes
out. Elsewhere nothing is intercepted. This holds under autograd, checkpointing around
modules, DataParallel, autocast, functional_call, vmap, `torch.compile` and
`torch.export`. It cannot see what runs inside TorchScript and custom C++ code; and
`torch.fx.symbolic_trace` does not see it: a trace of the model is one without the
operation.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import ClassVar, final

from torch import nn

from surgery.anatomy import Component, Place, is_scripted
from surgery.backend import AbstractBackend, Action
from surgery.errors import BackendError
from surgery_backends._compiled import (
    not_compiled_alone,
    pause_compiler,
    seen_by_compiled_code,
)
from surgery_backends._frames import Frame, frame_of
from surgery_backends._interception import drop_dead
from surgery_backends._lazy import LazyTap
from surgery_backends._taps import SiteTap, Tap

_KINDS = frozenset(
    ("skip", "branch", "add", "gate", "mul", "cat", "stack", "function", "head")
)


@final
class ScopedBackend(AbstractBackend):
    """Joins, functions and heads, by interception scoped to their module."""

    name: ClassVar[str] = "scoped"

    def covers(self, component: Component) -> bool:
        return component.kind in _KINDS

    def attach(
        self, model: nn.Module, component: Component, action: Action
    ) -> Callable[[], None]:
        tap = Tap(action, component)
        for hook in (Frame.begin, Frame.open, Frame.close, Frame.end, pause_compiler):
            not_compiled_alone(hook)
        with ExitStack() as stack:
            _add_frames(stack, model)
            if component.place is None:
                _attach_lazily(stack, model, tap)
            else:
                _attach_at_sites(stack, model, tap, component.place)
            stack.callback(seen_by_compiled_code(model))
            stack.callback(drop_dead)
            kept = stack.pop_all()  # not undone at the end of this block
        return kept.close


def _attach_at_sites(
    stack: ExitStack, model: nn.Module, tap: Tap, place: Place
) -> None:
    for site in place.sites:
        owner = model.get_submodule(site.path)
        _refuse_scripted(owner, tap.component)
        frame = _frame(owner)
        site_tap = SiteTap(tap, site, place.projected)
        frame.taps += (site_tap,)
        stack.callback(_remove, frame, site_tap)
        stack.callback(seen_by_compiled_code(owner))


def _attach_lazily(stack: ExitStack, model: nn.Module, tap: Tap) -> None:
    """Where no forward was recorded, the owner's next one is watched."""
    owner = model.get_submodule(tap.component.path)
    _refuse_scripted(owner, tap.component)
    frame = _frame(owner)
    lazy = LazyTap(tap)
    frame.lazies += (lazy,)
    stack.callback(_remove_lazy, frame, lazy)
    stack.callback(seen_by_compiled_code(owner))


def _add_frames(stack: ExitStack, model: nn.Module) -> None:
    """Frames on all modules: an owner may call one that lies elsewhere."""
    for module in model.modules():
        if is_scripted(module):  # what runs in it is not intercepted anyway
            continue
        frame = frame_of(module)
        if frame is None:
            frame = Frame()
            frame.hook(module)
        else:
            frame.go_around(module)
        frame.users += 1
        stack.callback(_release, module, frame)


def _frame(module: nn.Module) -> Frame:
    frame = frame_of(module)
    assert frame is not None  # as it is a module of the model
    return frame


def _release(module: nn.Module, frame: Frame) -> None:
    frame.users -= 1
    frame.unhook(module)


def _remove(frame: Frame, tap: SiteTap) -> None:
    frame.taps = tuple(t for t in frame.taps if t is not tap)


def _remove_lazy(frame: Frame, lazy: LazyTap) -> None:
    frame.lazies = tuple(other for other in frame.lazies if other is not lazy)


def _refuse_scripted(module: nn.Module, component: Component) -> None:
    if is_scripted(module):
        raise BackendError(
            f"{component} is in a TorchScript module, whose code no Python can "
            "intercept; operate on the module before torch.jit.script, or on its "
            "parameters"
        )
