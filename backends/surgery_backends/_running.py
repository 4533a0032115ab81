"""What runs on each thread: calls of modules, their hooks, and what is outside of all.

The stack goes from the outermost module with taps inwards. What is on top tells whose
code runs: a frame's or a call's own, `HOOKS` of the module beneath, or an `Outside`.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable
from functools import partial
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Any, Final, final

import torch

if TYPE_CHECKING:
    from surgery_backends._calls import Call


@final
class Hooks:
    """On top of a module's call: its hooks run, which are nobody's own code.

    Attributes:
        late: Those that run after ours, this once, as they were added just now.
        place: What calls them.
    """

    def __init__(
        self, late: Iterable[object] = (), place: FrameType | None = None
    ) -> None:
        self.late = frozenset(map(_code, late))
        self.place = place

    def have_run(self) -> bool:
        """Whether what runs now is none of the late ones."""
        codes = codes_up_to(self.place) if self.late else None
        return bool(codes and codes[-1] not in self.late)


@final
class Outside:
    """What runs in this block is no part of any module: an action, a copy of inputs.

    Data is not followed in it either.
    """

    def __init__(self) -> None:
        self._tracked: list[Call] = []

    def __enter__(self) -> None:
        if stack := running():
            stack.append(self)
            if not torch.compiler.is_compiling():
                self._tracked, THREAD.tracked = THREAD.tracked, []

    def __exit__(self, *error: object) -> None:
        stack = running()
        if stack and stack[-1] is self:
            stack.pop()
            if not torch.compiler.is_compiling():
                THREAD.tracked = self._tracked


class _Thread(threading.local):
    def __init__(self) -> None:
        self.stack: list[object] = []
        self.tracked: list[Call] = []


def _code(hook: Any) -> object:
    while isinstance(hook, partial):
        hook = hook.func
    function = getattr(hook, "__func__", hook)
    if not hasattr(function, "__code__"):
        function = type(hook).__call__
    return getattr(function, "__code__", None)


HOOKS: Final = Hooks()
THREAD: Final = _Thread()
TRACED: Final[list[object]] = []  # the tracer knows no thread-local storage


def outside() -> Outside:
    """A block for what an action does while a module runs."""
    return Outside()


def codes_up_to(place: FrameType | None) -> list[CodeType] | None:
    """What is running, outwards to `place`; `None` if that has ended."""
    codes: list[CodeType] = []
    frame: FrameType | None = sys._getframe(1)
    while frame is not place:
        if frame is None:
            return None
        codes.append(frame.f_code)
        frame = frame.f_back
    return codes


def running() -> list[object]:
    """The calls under way, from the outermost module with taps inwards."""
    return TRACED if torch.compiler.is_compiling() else THREAD.stack
