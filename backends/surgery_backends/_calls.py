"""Calls of modules with taps, under way: what is counted and cut in each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from types import FrameType
from typing import TYPE_CHECKING, Any

import torch
from torch.overrides import TorchFunctionMode

from surgery.anatomy import Tracker, function_name, operands
from surgery.anatomy._functions import JOINS, gives_tensor, is_join
from surgery.errors import BackendError
from surgery.ops import Inputs
from surgery_backends._lazy import LazyTap, Recognition
from surgery_backends._running import codes_up_to, running
from surgery_backends._taps import NO_INPUTS, SiteTap, Tap, Wanted, run_cut
from surgery_backends._twice import runs_twice

if TYPE_CHECKING:
    from surgery_backends._frames import Frame


class Call:
    """A call of a module with taps, under way.

    Attributes:
        owner: The frame of the module.
        inputs: What went into the module, if an action may want it.
        wants_inputs: Whether one may.
        brings_mode: Whether the function mode came with this call, and goes with it.
        beneath: The modes that were on then.
        compiler: What goes on compiling once the call has ended.
    """

    def __init__(
        self,
        owner: Frame,
        taps: Sequence[SiteTap],
        lazies: Sequence[LazyTap],
        place: FrameType | None,
        *,
        tracing: bool,
    ) -> None:
        self.owner = owner
        self.place = place
        self.inputs: Inputs = NO_INPUTS
        wanting = [t.tap.wants_owner for t in taps]
        self.wants_inputs = any(wanting) or any(t.tap.wants_owner for t in lazies)
        self.brings_mode = False
        self.beneath: Sequence[TorchFunctionMode] = ()
        self.compiler: Any = None
        self.with_grad = torch.is_grad_enabled()
        self.counts: dict[str, int] = {}
        self.taps: dict[str, list[SiteTap]] = {}
        self.recognition: Recognition | None = None
        self.known: list[tuple[object, SiteTap]] = []
        if not tracing and lazies:
            self.recognition = Recognition(owner.key, lazies)
        elif lazies:
            self.known = [found for lazy in lazies for found in lazy.known()]
        for tap in (*taps, *(tap for frame, tap in self.known if frame is owner)):
            self.taps.setdefault(tap.site.function, []).append(tap)

    @property
    def tracker(self) -> Tracker:
        """Follows the data of a call that looks for what is in it."""
        assert self.recognition is not None
        return self.recognition.tracker

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
        elif wanted:
            output = run_cut(func, (args, kwargs), wanted)
        else:
            output = func(*args, **kwargs)
        if counts and name:
            self.count(name, output)
        return output

    def wanted(self, name: str) -> list[Wanted]:
        """What is to happen at the next call of a function."""
        index = self.counts.get(name, 0)
        return self.met(
            t for t in self.taps[name] if t.site.index is None or t.site.index == index
        )

    def met(self, taps: Iterable[SiteTap]) -> list[Wanted]:
        """What taps of this call want, unless it runs no more."""
        return [
            Wanted(t.tap, t.site, t.projected, self.inputs)
            for t in taps
            if self.is_under_way(t.tap)
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

    def is_under_way(self, tap: Tap) -> bool:
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
                f"{tap.component} is reached inside of {what}, which is used in the "
                f"forward of {tap.component.path or 'the model'!r}: it would be "
                "operated on in forward, but not in backward. Run under "
                "torch.no_grad(), turn that off, or target the whole module"
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
    top = running()[-1]
    frame = top.owner if isinstance(top, Call) else top
    for call in tracked:
        assert call.recognition is not None
        sighting = call.tracker.before(func, args, kwargs)
        if sighting is not None:
            wanted += call.met(call.recognition.sites(sighting, frame))
    if wanted:
        output = run_cut(func, (args, kwargs), wanted)
    else:
        output = func(*args, **kwargs)
    for call in tracked:
        call.tracker.after(func, args, kwargs, output)
    return output


def _counts(name: str | None, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    if name is None:
        return False
    return name not in JOINS or is_join(operands(name, args, kwargs))
