"""Tracker: follows the live data of a running model and tells what each call is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

from surgery.anatomy._flow import Flow, Flows, Nodes
from surgery.anatomy._following import Step, carries, flat, flow_name
from surgery.anatomy._frame import Frame
from surgery.anatomy._functions import (
    JOINS,
    LISTS,
    Operands,
    function_name,
    gives_tensor,
    is_join,
    operands,
)
from surgery.anatomy._gates import find_gate
from surgery.anatomy._head_cuts import ATTENTION, cuts_of, is_weighted, opaque_cuts
from surgery.anatomy._residual import Sides, find_sides, modules_of, parameters_of
from surgery.anatomy._sighting import Gate, HeadCut, Residual, Sighting
from surgery.anatomy._structure import tensors


@dataclass(frozen=True, slots=True)
class _Pending:
    """A call between `before` and `after`."""

    step: Step
    frame: Frame
    weighted: bool
    sighting: Sighting | None


class Tracker:
    """Follows live data through one forward.

    Feed it with hooks (`enter`, `leave`) on the outermost module and every module
    inside it, and with a `TorchFunctionMode` (`before`, `after`) around every call of a
    torch function. It holds no tensor alive. A new call of an outermost module begins
    anew. Not thread-safe: one per thread.
    """

    def __init__(self) -> None:
        self._frame: Frame | None = None
        self._calls: dict[str, int] = {}
        self._flows = Flows()
        self._nodes = Nodes()
        self._pending: _Pending | None = None
        self._lost = False

    @property
    def frame(self) -> Frame | None:
        """The innermost running call, whose own code runs."""
        return self._frame

    def is_live(self, x: Tensor) -> bool:
        """Whether data of the outermost module's inputs is in a tensor."""
        return self._flows.of(x).live

    def enter(
        self,
        module: nn.Module,
        path: str,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        """A module's call begins; the outermost one's inputs are the live sources."""
        given = tensors((args, dict(kwargs or {})))
        if self._frame is None:
            self._calls = {}
            self._flows.clear()
            self._nodes = Nodes()
        call = self._calls.get(path, 0)
        self._calls[path] = call + 1
        ids, first = frozenset(map(id, given)), len(self._nodes.frames)
        frame = Frame(module, path, call, self._frame, ids, first)
        if self._frame is None:
            self._lost = False
            for x in _sources(given, (*args, *(kwargs or {}).values())):
                if not self._flows.of(x).live:
                    node = self._nodes.add(frame, 0)
                    self._nodes.sources |= 1 << node
                    self._flows.note(x, Flow(1 << node, node, node))
        self._frame = frame

    def open(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any] | None = None
    ) -> None:
        """The pre-hooks of the innermost call have run; these are its inputs now."""
        if self._frame is not None:
            self._frame.own = True
            self._frame.given |= frozenset(map(id, tensors((args, dict(kwargs or {})))))

    def close(self) -> None:
        """Hooks of the innermost call run: data flows, but that is nobody's code."""
        if self._frame is not None:
            self._frame.own = False

    def leave(self, output: object) -> None:
        """The innermost running call ended; with `None` after an exception."""
        frame = self._frame
        if frame is None:
            return
        for x in tensors(output):
            node = self._flows.of(x).node
            if node >= 0 and id(x) in frame.given:
                self._nodes.passed.setdefault(node, []).append(frame)
        self._frame = frame.parent
        self._pending = None

    def before(
        self,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any] | None = None,
    ) -> Sighting | None:
        """What the call about to run is; `None`: nothing that can be named.

        Call `after` as soon as it ran, with nothing in between. Neither raises: from
        what cannot be followed on, nothing is decided.
        """
        self._pending = None
        frame, name = self._frame, flow_name(func)
        if frame is None or name is None:
            return None
        try:
            sighting = self._before(frame, name, func, args, kwargs)
        except Exception:  # a tensor that is not like others: the call is not ours
            self._lost = True
            return self._unknown(frame, name, func, args, kwargs)
        if self._lost and sighting is not None and name in JOINS:
            return replace(sighting, undecided=True)
        return sighting

    def _unknown(
        self,
        frame: Frame,
        name: str,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any] | None,
    ) -> Sighting | None:
        """The sighting of a call of which nothing but its name is known."""
        named = frame.own and function_name(func) is not None
        if not named or (name in JOINS and not is_join(operands(name, args, kwargs))):
            return None
        index = frame.counts.get(name, 0)
        frame.counts[name] = index + 1
        return Sighting(frame.path, name, index, frame.call, undecided=True)

    def _before(
        self,
        frame: Frame,
        name: str,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any] | None,
    ) -> Sighting | None:
        step = Step(self._flows, name, func, args, kwargs)
        weighted = is_weighted(name, step.flows)
        sighting = None
        if frame.own and function_name(func) is not None:
            given = operands(name, args, kwargs)
            if name not in JOINS or is_join(given):
                sighting = self._sight(step, frame, given, weighted)
        self._pending = _Pending(step, frame, weighted, sighting)
        return sighting

    def after(
        self,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any] | None,
        output: object,
    ) -> None:
        """It ran: notes where its data went. `args` as handed to `before`."""
        pending, self._pending = self._pending, None
        if pending is None:
            return
        sighting, frame = pending.sighting, pending.frame
        if sighting is not None and gives_tensor(output):
            frame.counts[sighting.function] = sighting.index + 1
            frame.residuals += sighting.residual is not None
            frame.gates += sighting.gate is not None
        try:
            pending.step.follow(output, self._nodes, frame, pending.weighted)
        except Exception:
            self._lost = True

    def _sight(
        self, step: Step, frame: Frame, given: Operands, weighted: bool
    ) -> Sighting:
        name = step.name
        residual = gate = None
        undecided = False
        flows: list[Flow] = []
        if name in JOINS or name in LISTS:
            flows = [self._flows.of(x) for x in flat(given)]
        if name in JOINS:
            a, b, x, y = flows[0], flows[1], given[0], given[1]
            assert isinstance(x, Tensor) and isinstance(y, Tensor)
            undecided = a.live and b.live and not a.ancestors & b.ancestors
            if name == "mul":
                within = self._within(a, frame), self._within(b, frame)
                gate = find_gate(x, y, *within, self._nodes, frame)
            elif a.live and b.live:
                sides = find_sides(a, b, self._nodes, frame)
                residual = None if sides is None else self._residual(sides, a, b, frame)
        heads: tuple[HeadCut, ...] = ()
        if name == ATTENTION:
            heads = opaque_cuts(frame, step.args, step.kwargs)
        elif weighted and any(flow.tag is not None for flow in step.flows):
            by_id = dict(zip(map(id, step.tensors), step.flows, strict=True))
            heads = cuts_of(name, given, by_id)
        return Sighting(
            frame.path,
            name,
            frame.counts.get(name, 0),
            frame.call,
            tuple(flow.live for flow in flows),
            residual,
            None if gate is None else Gate(frame.gates, gate),
            undecided,
            heads,
        )

    def _within(self, flow: Flow, frame: Frame) -> Flow:
        """What is known of it in the call: what came in activated is no gate's sign."""
        own = (flow.ancestors & self._nodes.activations) >> frame.first
        return flow if own or not flow.activated else replace(flow, activated=False)

    def _residual(self, sides: Sides, a: Flow, b: Flow, frame: Frame) -> Residual:
        own = (a.ancestors & ~b.ancestors, b.ancestors & ~a.ancestors)
        skip, branch = sides.skip, 1 - sides.skip
        return Residual(
            frame.residuals,
            skip,
            branch,
            sides.projected,
            modules_of(own[skip], self._nodes, frame) if sides.projected else (),
            modules_of(own[branch], self._nodes, frame),
            parameters_of(own[skip], self._nodes, frame) if sides.projected else (),
            parameters_of(own[branch], self._nodes, frame),
        )


def _sources(given: list[Tensor], values: tuple[Any, ...]) -> list[Tensor]:
    """The tensors that bring data in, also those that an object of its own holds.

    Flags are data where nothing else is: beside other data they are masks.
    """
    found = list(given)
    for value in values:
        if hasattr(value, "__dict__") and not isinstance(value, Tensor | nn.Module):
            with suppress(Exception):  # an odd object, as one that holds itself
                found += tensors(vars(value))
    return [x for x in found if carries(x)] or [
        x for x in found if not isinstance(x, nn.Parameter)
    ]
