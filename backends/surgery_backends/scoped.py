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

from collections import OrderedDict
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, ClassVar, cast, final

from torch import nn

from surgery.anatomy import Component, Place, is_scripted
from surgery.backend import AbstractBackend, Action
from surgery.errors import BackendError
from surgery_backends._compiled import seen_by_compiled_code
from surgery_backends._frames import Frame, drop_dead
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
        with ExitStack() as stack:
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
        frame = _frames(stack, owner, site.path)
        site_tap = SiteTap(tap, site, place.projected)
        frame.taps += (site_tap,)
        stack.callback(_remove, frame, site_tap)
        stack.callback(seen_by_compiled_code(owner))


def _attach_lazily(stack: ExitStack, model: nn.Module, tap: Tap) -> None:
    """Where no forward was recorded, the owner's next one is watched."""
    path = tap.component.path
    owner = model.get_submodule(path)
    _refuse_scripted(owner, tap.component)
    frame = _frames(stack, owner, path)
    lazy = LazyTap(tap)
    frame.lazies += (lazy,)
    stack.callback(_remove_lazy, frame, lazy)
    stack.callback(seen_by_compiled_code(owner))


def _frames(stack: ExitStack, owner: nn.Module, path: str) -> Frame:
    """Frames on a module and on all inside it; gives the module's own."""
    for name, module in owner.named_modules():
        if is_scripted(module):  # what runs in it is not intercepted anyway
            continue
        frame = _frame_of(module)
        if frame is None:
            frame = Frame(".".join(part for part in (path, name) if part))
            module.register_forward_pre_hook(
                frame.begin, prepend=True, with_kwargs=True
            )
            module.register_forward_hook(frame.end, always_call=True)
        frame.users += 1
        stack.callback(_release, module, frame)
    found = _frame_of(owner)
    assert found is not None
    return found


def _frame_of(module: nn.Module) -> Frame | None:
    """The frame that the module has, perhaps as a copy of one that had it."""
    for hook in module._forward_pre_hooks.values():
        owner = getattr(hook, "__self__", None)
        if isinstance(owner, Frame):
            return owner
    return None


def _release(module: nn.Module, frame: Frame) -> None:
    frame.users -= 1
    if frame.users:
        return
    tables = [
        cast("OrderedDict[int, Any]", table)
        for name, table in vars(module).items()
        if name.startswith("_forward_") and isinstance(table, OrderedDict)
    ]
    # By place and not by handle: a handle would not be copied with the model.
    ids = {i for t in tables for i, h in t.items() if _belongs(h, frame)}
    for table in tables:
        for key in ids & table.keys():
            del table[key]


def _belongs(hook: object, frame: Frame) -> bool:
    return getattr(hook, "__self__", None) is frame


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
