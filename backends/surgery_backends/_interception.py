"""Interception: the one function mode, and its removal where nobody else can.

It is on while a module with taps runs, and hands over each torch function that is
called; nothing is intercepted elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.overrides
from torch.overrides import TorchFunctionMode

from surgery.anatomy import function_name
from surgery_backends._calls import Call, run_recognised
from surgery_backends._generated import called_by_graph
from surgery_backends._running import THREAD, TRACED, Hooks, running


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
        stack = running() or TRACED
        top = stack[-1] if stack else None
        tracing = torch.compiler.is_compiling()
        tracked = () if tracing else THREAD.tracked
        if not tracing and isinstance(top, Hooks) and top.have_run():
            stack.pop()
            top = stack[-1]
            for call in tracked:
                call.tracker.open(())
        own = top if isinstance(top, Call) else None
        if not tracked and (own is None or function_name(func) not in own.taps):
            return func(*args, **kwargs)
        if not tracing and called_by_graph():
            return func(*args, **kwargs)
        if own is not None:
            return own.run(tracked, func, args, kwargs)
        return run_recognised(tracked, (), func, args, kwargs)


MODE = Interception()


def drop_dead() -> None:
    """Forget calls that ended untold, and with the last of them the function mode.

    Hooks are not told of an interrupt, nor of an exception while torch.export traces.
    """
    tracing = torch.compiler.is_compiling()
    for stack in (TRACED,) if tracing else (THREAD.stack, TRACED):
        for position, call in enumerate(stack):
            if isinstance(call, Call) and call.has_ended():
                del stack[position:]
                if call.brings_mode:
                    _take_mode_away(call.beneath)
                break
    if not tracing:
        THREAD.tracked[:] = [c for c in THREAD.tracked if c in THREAD.stack]


def intercepting() -> bool:
    return any(
        isinstance(mode, Interception)
        for mode in torch.overrides._get_current_function_mode_stack()
    )


def _take_mode_away(beneath: Sequence[TorchFunctionMode]) -> None:
    above: list[TorchFunctionMode] = []
    if intercepting():
        while not isinstance(mode := torch.overrides._pop_mode(), Interception):
            above.append(mode)
        for mode in reversed(above):
            torch.overrides._push_mode(mode)
    elif torch.overrides._get_current_function_mode() in beneath:
        # The end of a mode around ours took ours away, being on top, for itself.
        torch.overrides._pop_mode()
