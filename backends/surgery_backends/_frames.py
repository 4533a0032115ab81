"""Frames: whose own code is running, on each thread.

A frame sits in the hook tables of a module. When the module is called, it goes onto
the thread's stack; when that call ends, also by an exception, it comes off. The first
frame with taps brings the function mode with it, and takes it away again: nothing is
intercepted outside of the modules that are operated on.
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from typing import Any, cast

import torch
import torch.overrides
from torch import nn

from surgery.anatomy import mapped
from surgery_backends._calls import Call
from surgery_backends._compiled import pause_compiler, resume_compiler
from surgery_backends._interception import MODE, drop_dead, intercepting
from surgery_backends._lazy import LazyTap
from surgery_backends._running import HOOKS, THREAD, Hooks, outside, running
from surgery_backends._taps import SiteTap


class Frame:
    """The hooks of one module; shared by all taps in it and around it.

    It sits around the hooks of others, which are nobody's own code: `begin` before and
    `open` after their pre-hooks, `close` before and `end` after their forward hooks.
    A class and not closures, so that models with it pickle and deep-copy.

    Attributes:
        users: How many attachments need it.
        taps: What is to happen in the module's own code, in order of attachment.
        lazies: What is to happen in the module, once it is recognised.
    """

    def __init__(self) -> None:
        self.users = 0
        self.taps: tuple[SiteTap, ...] = ()
        self.lazies: tuple[LazyTap, ...] = ()

    @property
    def key(self) -> str:
        """Stands for the module's path, which depends on the root and on copies."""
        return str(id(self))

    def hook(self, module: nn.Module) -> None:
        """Add the hooks to the module."""
        module.register_forward_pre_hook(self.begin, prepend=True, with_kwargs=True)
        module.register_forward_pre_hook(self.open, with_kwargs=True)
        module.register_forward_hook(self.close, prepend=True)
        module.register_forward_hook(self.end, always_call=True)
        _settle(module)

    def unhook(self, module: nn.Module) -> None:
        """Take them away, if no attachment needs them and no call is under way."""
        if self.users or any(_frame(entry) is self for entry in running()):
            return
        tables = [
            cast("OrderedDict[int, Any]", table)
            for name, table in vars(module).items()
            if name.startswith("_forward_") and isinstance(table, OrderedDict)
        ]
        # By place and not by handle: a handle would not be copied with the model.
        ids = {
            key
            for table in tables
            for key, hook in table.items()
            if getattr(hook, "__self__", None) is self
        }
        for table in tables:
            for key in ids & table.keys():
                del table[key]

    def go_around(self, module: nn.Module) -> None:
        """Put the hooks around those that others have added since."""
        before, after = module._forward_pre_hooks, module._forward_hooks
        _move(before, self.begin, last=False)
        _move(before, self.open, last=True)
        _move(after, self.close, last=False)
        _move(after, self.end, last=True)
        _settle(module)

    def begin(
        self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        """A call of the module begins."""
        if not (running() or self.taps or self.lazies):
            return
        if torch.compiler.is_compiling():
            self._begin(module, args, kwargs)
            return
        # What follows is not seen by code that is compiled apart from these hooks.
        paused = pause_compiler()
        call = None
        try:
            call = self._begin(module, args, kwargs)
        finally:
            if call is None:
                resume_compiler(paused)
            else:
                call.compiler = paused

    def _begin(
        self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Call | None:
        stack = running()
        tracing = torch.compiler.is_compiling()
        taps = [tap for tap in self.taps if tap.takes_part()]
        if tracing:
            taps += _known(stack, self)
        lazies = [lazy for lazy in self.lazies if lazy.takes_part()]
        if not (taps or lazies or stack):
            return None
        call = self._begin_call(taps, lazies) if taps or lazies else None
        if call is None:
            stack.append(self)
        if not tracing:
            for tracked in THREAD.tracked:
                with outside():
                    tracked.tracker.enter(module, self.key, args, kwargs)
                    tracked.tracker.close()
        stack.append(HOOKS)
        return call

    def _begin_call(self, taps: list[SiteTap], lazies: list[LazyTap]) -> Call:
        stack = running()
        tracing = torch.compiler.is_compiling()
        place = None
        if not torch.compiler.is_dynamo_compiling():
            place = sys._getframe(3)
            drop_dead()
        call = Call(self, taps, lazies, place, tracing=tracing)
        stack.append(call)
        if call.recognition is not None:
            THREAD.tracked.append(call)
        if not intercepting():
            call.brings_mode = True
            if place is not None:
                call.beneath = torch.overrides._get_current_function_mode_stack()
            MODE.__enter__()  # type: ignore[no-untyped-call]
        return call

    def open(
        self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        """The pre-hooks have run, and the module's own code begins."""
        stack = running()
        if not stack or stack[-1] is not HOOKS or _frame(stack[-2]) is not self:
            return
        stack.pop()
        call = stack[-1]
        if isinstance(call, Call) and call.wants_inputs:
            # Copies: the module may change its inputs in place.
            with outside():
                call.inputs = mapped(args, torch.clone), mapped(kwargs, torch.clone)
        if torch.compiler.is_compiling():
            return
        if late := self._late(module):
            stack.append(Hooks(late, sys._getframe(1)))
        for tracked in THREAD.tracked:
            with outside():
                tracked.tracker.open(args, kwargs)
                if late:
                    tracked.tracker.close()

    def _late(self, module: nn.Module) -> list[object]:
        """Pre-hooks that others have added since; this once they run after ours."""
        before: list[object] = list(module._forward_pre_hooks.values())
        first = next(iter(module._forward_hooks.values()))
        last = next(reversed(module._forward_hooks.values()))
        late = before[before.index(self.open) + 1 :] if before[-1] != self.open else []
        if late or first != self.close or last != self.end:
            self.go_around(module)
        return late

    def close(self, module: nn.Module, args: tuple[Any, ...], output: object) -> None:
        """The module's own code has run, and its forward hooks begin."""
        stack = running()
        if stack and isinstance(stack[-1], Hooks) and stack[-1].late:
            stack.pop()
        if stack and _frame(stack[-1]) is self:
            stack.append(HOOKS)
            if not torch.compiler.is_compiling():
                for call in THREAD.tracked:
                    call.tracker.close()

    def end(self, module: nn.Module, args: tuple[Any, ...], output: object) -> None:
        """The call ends, or has failed, perhaps before it began."""
        stack = running()
        if not stack:
            return
        in_hooks = isinstance(stack[-1], Hooks)
        under = stack[-2] if in_hooks else stack[-1]
        if _frame(under) is not self:
            return
        del stack[-2 if in_hooks else -1 :]
        call = under if isinstance(under, Call) else None
        if call is not None and call.brings_mode:
            MODE.__exit__(None, None, None)  # type: ignore[no-untyped-call]
        if torch.compiler.is_compiling():
            return
        if call is not None:
            resume_compiler(call.compiler)
        for tracked in THREAD.tracked:
            with outside():
                tracked.tracker.leave(output)
        if not self.users:  # it was restored meanwhile
            self.unhook(module)
        if call is not None and call.recognition is not None:
            THREAD.tracked[:] = [c for c in THREAD.tracked if c is not call]
            if output is not None:
                call.recognition.finish()


def frame_of(module: nn.Module) -> Frame | None:
    """The frame that the module has, perhaps as a copy of one that had it."""
    for hook in module._forward_pre_hooks.values():
        owner = getattr(hook, "__self__", None)
        if isinstance(owner, Frame):
            return owner
    return None


def _frame(entry: object) -> object:
    return entry.owner if isinstance(entry, Call) else entry


def _known(stack: list[object], frame: Frame) -> list[SiteTap]:
    """What modules around this one found in it when they last ran."""
    return [
        tap
        for call in stack
        if isinstance(call, Call)
        for owner, tap in call.known
        if owner is frame
    ]


def _move(table: dict[int, Any], hook: object, *, last: bool) -> None:
    ordered = cast("OrderedDict[int, Any]", table)
    for key, other in ordered.items():
        if other == hook:
            ordered.move_to_end(key, last=last)
            return


def _settle(module: nn.Module) -> None:
    """Put the hooks in the tables anew, in their order.

    Older tracers of torch.compile look at the order in which a table was filled, not
    at that in which it is gone through.
    """
    before: dict[int, Any] = module._forward_pre_hooks
    after: dict[int, Any] = module._forward_hooks
    for table in (before, after):
        items = list(table.items())
        table.clear()
        table.update(items)
