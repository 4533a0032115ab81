"""Calls of modules with taps, under way: what is counted and cut in each."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from types import CodeType, FrameType
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from surgery.anatomy import function_name, operands
from surgery.anatomy._functions import JOINS, gives_tensor, is_join
from surgery.errors import BackendError
from surgery.ops import Inputs
from surgery_backends._lazy import LazyTap, Recognition
from surgery_backends._taps import NO_INPUTS, SiteTap, Wanted, run_cut
from surgery_backends._twice import runs_twice


class Call:
    """A call of a module with taps, under way.

    Attributes:
        owner: The frame of the module.
        inputs: What went into the module, if an action may want it.
        brings_mode: Whether the function mode came with this call, and goes with it.
        beneath: The modes that were on then.
        compiler: What goes on compiling once the call has ended.
    """

    def __init__(
        self,
        owner: object,
        path: str,
        taps: Sequence[SiteTap],
        lazies: Sequence[LazyTap],
        place: FrameType | None,
        *,
        tracing: bool,
    ) -> None:
        self.owner = owner
        self.path = path
        self.place = place
        self.inputs: Inputs = NO_INPUTS
        self.brings_mode = False
        self.beneath: Sequence[TorchFunctionMode] = ()
        self.compiler: Any = None
        self.with_grad = torch.is_grad_enabled()
        self.counts: dict[str, int] = {}
        self.taps: dict[str, list[SiteTap]] = {}
        self.recognition: Recognition | None = None
        self.known: list[SiteTap] = []
        if not tracing and lazies:
            self.recognition = Recognition(path, lazies)
        elif lazies:
            self.known = [tap for lazy in lazies for tap in lazy.known()]
        for tap in (*taps, *self.known):
            if tap.site.path == path or tap in taps:
                self.taps.setdefault(tap.site.function, []).append(tap)

    def run(
        self,
        tracked: Sequence[Call],
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        """Run a function of the module's own code: count it, cut what taps mean.

        Args:
            tracked: Calls of owners, perhaps this one, that look for what is in them.
            func: The function, with its arguments.
            args: Its positional arguments.
            kwargs: Its keyword arguments.
        """
        name = function_name(func)
        counts = name in self.taps and _counts(name, args, kwargs)
        wanted = self.wanted(name) if counts and name else []
        if tracked:
            output = run_recognised(tracked, wanted, func, args, kwargs)
        elif wanted and self.is_under_way(wanted[0]):
            output = run_cut(func, (args, kwargs), wanted)
        else:
            output = func(*args, **kwargs)
        if counts and name:
            self.count(name, output)
        return output

    def wanted(self, name: str) -> list[Wanted]:
        """What is to happen at the next call of a function."""
        index = self.counts.get(name, 0)
        return [
            Wanted(t.tap, t.site, t.projected, self.inputs)
            for t in self.taps[name]
            if t.site.index is None or t.site.index == index
        ]

    def count(self, name: str, output: object) -> None:
        """One call of a function has run."""
        if gives_tensor(output):  # as the recorder counts
            self.counts[name] = self.counts.get(name, 0) + 1

    def has_ended(self) -> bool:
        """Whether the module runs no more."""
        if self.place is not None:
            return codes_up_to(self.place) is None
        if torch.compiler.is_compiling():
            return False
        names = {code.co_name for code in codes_up_to(None) or ()}
        return "compile_wrapper" not in names  # torch.compile's, around what it made

    def is_under_way(self, wanted: Wanted) -> bool:
        """Whether the module still runs, and runs here.

        Raises:
            BackendError: What it does here, backward does again or otherwise.
        """
        if self.place is None:  # compiled code
            return True
        codes = codes_up_to(self.place)
        if codes is None:
            return False
        what = runs_twice(codes, grad_was_on=self.with_grad)
        if what:
            raise BackendError(
                f"{wanted.tap.component} is reached inside of {what}, which is used "
                f"in the forward of {self.path or 'the model'!r}: it would be operated "
                "on in forward, but not in backward. Run under torch.no_grad(), turn "
                "that off, or target the whole module"
            )
        return True


def run_recognised(
    tracked: Sequence[Call],
    wanted: Sequence[Wanted],
    func: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    """Run a function while owners look for what is in them."""
    wanted = list(wanted)
    for call in tracked:
        assert call.recognition is not None
        sighting = call.recognition.tracker.before(func, args, kwargs)
        if sighting is not None:
            for tap in call.recognition.sites(sighting):
                wanted.append(Wanted(tap.tap, tap.site, tap.projected, call.inputs))
    innermost = tracked[-1]
    if wanted and innermost.is_under_way(wanted[-1]):
        output = run_cut(func, (args, kwargs), wanted)
    else:
        output = func(*args, **kwargs)
    for call in tracked:
        assert call.recognition is not None
        call.recognition.tracker.after(func, args, kwargs, output)
    return output


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


def _counts(name: str | None, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    if name is None:
        return False
    return name not in JOINS or is_join(operands(name, args, kwargs))
