"""Frames: whose own code is running, on each thread.

A frame sits in the hook tables of a module. When the module is called, it goes onto
the thread's stack; when that call ends, also by an exception, it comes off. The first
frame with taps brings the function mode with it, and takes it away again: nothing is
intercepted outside of the modules that are operated on.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.overrides
from torch import nn
from torch.overrides import TorchFunctionMode

from surgery.anatomy import function_name, mapped
from surgery_backends._calls import Call, run_recognised
from surgery_backends._compiled import pause_compiler, resume_compiler
from surgery_backends._generated import called_by_graph
from surgery_backends._lazy import LazyTap
from surgery_backends._taps import SiteTap


class Frame:
    """The hooks of one module; shared by all taps in it and around it.

    A class and not closures, so that models with it pickle and deep-copy.

    Attributes:
        path: The module's path in the model.
        users: How many attachments need it.
        taps: What is to happen in the module's own code, in order of attachment.
        lazies: What is to happen in the module, once it is recognised.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.users = 0
        self.taps: tuple[SiteTap, ...] = ()
        self.lazies: tuple[LazyTap, ...] = ()

    def begin(
        self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        """A call of the module begins."""
        stack = running()
        tracing = torch.compiler.is_compiling()
        taps = [tap for tap in self.taps if tap.takes_part()]
        if tracing:
            taps += _known(stack, self.path)
        lazies = [lazy for lazy in self.lazies if lazy.takes_part()]
        if taps or lazies:
            self._begin_call(module, args, kwargs, taps, lazies)
        elif stack:
            stack.append(self)
            if not tracing:
                _enter(module, self.path, args, kwargs)

    def _begin_call(
        self,
        module: nn.Module,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        taps: list[SiteTap],
        lazies: list[LazyTap],
    ) -> None:
        stack = running()
        tracing = torch.compiler.is_compiling()
        place = None
        if not torch.compiler.is_dynamo_compiling():
            place = sys._getframe(2)
            drop_dead()
        call = Call(self, self.path, taps, lazies, place, tracing=tracing)
        wanting = [tap.tap.wants_owner for tap in taps]
        wanting += [lazy.tap.wants_owner for lazy in lazies]
        if any(wanting):
            # Copies: the module may change its inputs in place.
            with outside():
                call.inputs = mapped(args, torch.clone), mapped(kwargs, torch.clone)
        stack.append(call)
        if not tracing:
            # Hooks that ran outside of compiled code would not be seen inside of it.
            call.compiler = pause_compiler()
        if call.recognition is not None:
            _THREAD.tracked.append(call)
        if not tracing:
            _enter(module, self.path, args, kwargs)
        if not _intercepting():
            call.brings_mode = True
            if place is not None:
                call.beneath = torch.overrides._get_current_function_mode_stack()
            _MODE.__enter__()  # type: ignore[no-untyped-call]

    def end(self, module: nn.Module, args: tuple[Any, ...], output: object) -> None:
        """The call ends, or has failed, perhaps before it began."""
        stack = running()
        top = stack[-1] if stack else None
        call = top if isinstance(top, Call) and top.owner is self else None
        if call is None and top is not self:
            return
        stack.pop()
        if call is not None and call.brings_mode:
            _MODE.__exit__(None, None, None)  # type: ignore[no-untyped-call]
        if not torch.compiler.is_compiling():
            if call is not None:
                resume_compiler(call.compiler)
            _leave(output)
        if call is not None and call.recognition is not None:
            _THREAD.tracked[:] = [c for c in _THREAD.tracked if c is not call]
            if output is not None:
                call.recognition.finish()


class Outside:
    """What runs in this block is nobody's own code: an action, a copy of inputs."""

    def __enter__(self) -> None:
        if stack := running():
            stack.append(self)

    def __exit__(self, *error: object) -> None:
        stack = running()
        if stack and stack[-1] is self:
            stack.pop()


class Interception(TorchFunctionMode):
    """Hands functions that the innermost running module calls to its taps."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        stack = running() or _TRACED
        top = stack[-1] if stack else None
        tracing = torch.compiler.is_compiling()
        tracked = () if tracing else _THREAD.tracked
        if isinstance(top, Call):
            if not tracked and function_name(func) not in top.taps:
                return func(*args, **kwargs)
        elif not tracked or not isinstance(top, Frame):
            return func(*args, **kwargs)
        if not tracing and called_by_graph():
            return func(*args, **kwargs)
        if isinstance(top, Call):
            return top.run(tracked, func, args, kwargs)
        return run_recognised(tracked, (), func, args, kwargs)


Entry = Frame | Call | Outside


class _Thread(threading.local):
    def __init__(self) -> None:
        self.stack: list[Entry] = []
        self.tracked: list[Call] = []


_THREAD = _Thread()
_TRACED: list[Entry] = []  # the tracer knows no thread-local storage
_MODE = Interception()


def outside() -> Outside:
    """A block for what an action does while a module runs."""
    return Outside()


def running() -> list[Entry]:
    """The calls under way, from the outermost module with taps inwards."""
    return _TRACED if torch.compiler.is_compiling() else _THREAD.stack


def drop_dead() -> None:
    """Forget calls that ended untold, and with the last of them the function mode.

    Hooks are not told of an interrupt, nor of an exception while torch.export traces.
    """
    tracing = torch.compiler.is_compiling()
    for stack in (_TRACED,) if tracing else (_THREAD.stack, _TRACED):
        for position, call in enumerate(stack):
            if isinstance(call, Call) and call.has_ended():
                del stack[position:]
                if call.brings_mode:
                    _take_mode_away(call.beneath)
                break
    if not tracing:
        _THREAD.tracked[:] = [c for c in _THREAD.tracked if c in _THREAD.stack]


def _known(stack: list[Entry], path: str) -> list[SiteTap]:
    """What modules around this one found in it when they last ran."""
    return [
        tap
        for call in stack
        if isinstance(call, Call)
        for tap in call.known
        if tap.site.path == path
    ]


def _enter(
    module: nn.Module, path: str, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    for call in _THREAD.tracked:
        assert call.recognition is not None
        with outside():
            call.recognition.tracker.enter(module, path, args, kwargs)


def _leave(output: object) -> None:
    for call in _THREAD.tracked:
        assert call.recognition is not None
        with outside():
            call.recognition.tracker.leave(output)


def _intercepting() -> bool:
    return any(
        isinstance(mode, Interception)
        for mode in torch.overrides._get_current_function_mode_stack()
    )


def _take_mode_away(beneath: Sequence[TorchFunctionMode]) -> None:
    above: list[TorchFunctionMode] = []
    if _intercepting():
        while not isinstance(mode := torch.overrides._pop_mode(), Interception):
            above.append(mode)
        for mode in reversed(above):
            torch.overrides._push_mode(mode)
    elif torch.overrides._get_current_function_mode() in beneath:
        # The end of a mode around ours took ours away, being on top, for itself.
        torch.overrides._pop_mode()
