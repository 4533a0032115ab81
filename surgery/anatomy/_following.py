"""Following: how data goes through one call of a function."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from surgery.anatomy._flow import UNKNOWN, Flow, Flows, HeadTag, Nodes
from surgery.anatomy._frame import Frame
from surgery.anatomy._function_kinds import (
    ACTIVATING,
    ATTENDING,
    CASTING,
    FIRST_ONLY,
    KEEPING,
    MIXING,
    MOVING,
    NORMALISED,
    NORMALISING,
    OVERWRITING,
    PRODUCTS,
    REARRANGING,
    SCALING,
    SELECTING,
    SHAPE_ONLY,
    SOFTENING,
    VIEWING,
)
from surgery.anatomy._functions import function_name, is_in_place
from surgery.anatomy._head_tags import lies_by_head, moved, same_heads, tag_of
from surgery.anatomy._structure import tensors

_ONE_PART: Final = frozenset({"getitem", "select", "narrow"})
_PROPERTIES: Final = frozenset({"T", "mT", "H", "mH", "data", "real", "imag"})


def flow_name(func: Callable[..., Any]) -> str | None:
    """The function's name, also of a property that gives the tensor's values."""
    if getattr(func, "__name__", None) == "__get__":
        name = getattr(getattr(func, "__self__", None), "__name__", None)
        return name if name in _PROPERTIES else None
    return function_name(func)


def flat(value: object) -> Iterator[Tensor]:
    """The tensors among arguments, as deep as torch functions take them."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from flat(item)


def used(
    name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any] | None
) -> list[Tensor]:
    """The tensors of a call whose values, not only shapes, go into its result."""
    if name in SHAPE_ONLY:
        return []
    found = list(flat(args))
    if kwargs:
        found += flat([x for key, x in kwargs.items() if key != "out"])
    return found[:1] if name in FIRST_ONLY else found


def version(x: Tensor) -> int:
    return -1 if is_lazy(x) or x.is_inference() else x._version


def carries(x: Tensor) -> bool:
    """Whether a tensor can hold live data: masks and parameters do not."""
    return x.dtype != torch.bool and not isinstance(x, nn.Parameter)


class Step:
    """One call of a function: what goes in, and where it goes.

    Made before the function runs, as it may change its operands.
    """

    def __init__(
        self,
        flows: Flows,
        name: str,
        func: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any] | None,
    ) -> None:
        self.name = name
        self.func = func
        self.args = args
        self.kwargs: Mapping[str, Any] = kwargs or {}
        self.tensors = used(name, args, kwargs)
        self.flows = [flows.of(x) for x in self.tensors]
        self.in_place = is_in_place(func)
        self.sizes = name in NORMALISING or (name == "pow" and _is_root(args, kwargs))
        if self.in_place and name in OVERWRITING:
            self.flows = [UNKNOWN for _ in self.flows]
        self.versions = {id(x): version(x) for x in self.tensors}
        self._known = flows

    def follow(
        self, output: object, nodes: Nodes, frame: Frame, weighted: bool
    ) -> None:
        """Note the flow of what came out, and of what was changed in place."""
        live = list({flow.node: flow for flow in self.flows if flow.live}.values())
        flags = any(
            flow.live and x.dtype == torch.bool
            for x, flow in zip(self.tensors, self.flows, strict=True)
        )
        results = list(flat(output))
        if self.in_place and self.args and isinstance(self.args[0], Tensor):
            results = [self.args[0], *(x for x in results if x is not self.args[0])]
        results += flat(self.kwargs.get("out"))
        if not live:
            self._without_data(results)
            return
        tags = self._tags(results, live, frame, weighted)
        for position, x in enumerate(results):
            same = id(x) in self.versions
            if same and not self._changed(x):
                continue
            if not carries(x) and not (flags and self.name in MOVING):
                self._known.note(x, UNKNOWN)
                continue
            tag = tags[position] if position < len(tags) else None
            flow = self._next(live, nodes, frame, weighted, tag, x)
            self._known.note(x, flow)
            if not same:
                continue
            if (base := x._base) is not None:
                self._into_base(base, flow, nodes, frame)
            elif x.is_inference():
                self._known.note_written(x, flow)

    def _changed(self, x: Tensor) -> bool:
        if self.in_place and self.args and x is self.args[0]:
            return True
        before = self.versions[id(x)]
        return self.name not in MOVING if before < 0 else version(x) != before

    def _without_data(self, results: Sequence[Tensor]) -> None:
        weight = any(flow.weight for flow in self.flows)
        made_of = self._parameters()
        view = self.name in VIEWING and bool(self.flows) and self.flows[0].parameter
        for x in results:
            if id(x) not in self.versions or self.in_place:
                made = Flow(weight=True, parameter=view, made_of=made_of)
                self._known.note(x, made if weight else UNKNOWN)

    def _parameters(self) -> frozenset[int]:
        return frozenset[int]().union(*(flow.made_of for flow in self.flows))

    def _next(
        self,
        live: Sequence[Flow],
        nodes: Nodes,
        frame: Frame,
        weighted: bool,
        tag: HeadTag | None,
        result: Tensor,
    ) -> Flow:
        name, first = self.name, live[0]
        alone = len(live) == 1
        node = nodes.add(frame, max(nodes.depths[x.node] for x in live) + weighted)
        ancestors = 1 << node
        for flow in live:
            ancestors |= flow.ancestors
        if name in MIXING or (not alone and _apart(live)):
            nodes.joins |= 1 << node
        if name in ACTIVATING:
            nodes.activations |= 1 << node
        origin = first.origin if alone and name in REARRANGING else node
        if name in SELECTING:
            nodes.parts[node] = first.node
            how = (self.args[1:], dict(self.kwargs))
            if name in _ONE_PART and not tensors(
                how
            ):  # taken twice, it is the same part
                chosen = (first.node, name, repr(how))
                origin = nodes.chosen.setdefault(chosen, node)
                ancestors |= 1 << origin
        if any(flow.weight for flow in self.flows):
            nodes.parametric |= 1 << node
            nodes.made_of[node] = self._parameters()
        passing = alone and (name in MOVING or name in SCALING)
        return Flow(
            ancestors,
            node,
            origin,
            activated=name in ACTIVATING or (passing and first.activated),
            normaliser=self.sizes or (passing and first.normaliser),
            normalised=frame
            if name in NORMALISED or (name in ("mul", "div") and self._normalises())
            else first.normalised
            if alone and name in MOVING
            else None,
            softened=name in SOFTENING
            or (alone and first.softened)
            or (name in ATTENDING and self._attending(result)),
            tag=tag,
        )

    def _normalises(self) -> bool:
        """Whether exactly one of a product's sides is the size of something."""
        return sum(flow.normaliser for flow in self.flows) == 1 and len(self.flows) == 2

    def _attending(self, result: Tensor) -> bool:
        """Whether the result is attention weights, changed in value only."""
        return any(
            flow.softened and x.shape == result.shape
            for x, flow in zip(self.tensors, self.flows, strict=True)
        )

    def _into_base(self, base: Tensor, flow: Flow, nodes: Nodes, frame: Frame) -> None:
        """A view was changed: so was the tensor that it is a view of."""
        if not carries(base):
            return
        node = nodes.add(frame, nodes.depths[flow.node])
        ancestors = self._known.of(base).ancestors | flow.ancestors | 1 << node
        self._known.note(base, Flow(ancestors, node, node))

    def _tags(
        self,
        results: Sequence[Tensor],
        live: Sequence[Flow],
        frame: Frame,
        weighted: bool,
    ) -> Sequence[HeadTag | None]:
        tagged = {
            id(x): flow.tag
            for x, flow in zip(self.tensors, self.flows, strict=True)
            if flow.tag is not None
        }
        if weighted or not results:
            return ()
        if self.name == "scaled_dot_product_attention":
            return (tag_of(results[0], frame, anywhere=False),)
        if self.name in PRODUCTS:
            core = len(live) > 1 and (bool(tagged) or any(x.softened for x in live))
            whole = self.name == "einsum"
            return (tag_of(results[0], frame, anywhere=whole),) if core else ()
        if not tagged:
            return ()
        first = next(iter(tagged.values()))
        if self.name in MOVING and self.name not in CASTING:
            return moved(tagged, self.func, self.args, self.kwargs)
        if self.name not in KEEPING or results[0].shape != first.guesses[0].shape:
            return ()
        return (first,) if self._stay(tagged, first, frame) else ()

    def _stay(
        self, tagged: Mapping[int, HeadTag], first: HeadTag, frame: Frame
    ) -> bool:
        """Whether what else goes in leaves the values those of the heads.

        A multiplier does. What is added must be the same heads', or lie head by head
        beside them while the owner still holds them apart.
        """
        for x, flow in zip(self.tensors, self.flows, strict=True):
            tag = tagged.get(id(x))
            if tag is not None:
                if not same_heads(tag, first):
                    return False
            elif flow.live and self.name not in ("mul", "div"):
                if frame.path != first.owner or not lies_by_head(x, first):
                    return False
        return True


def _is_root(args: tuple[Any, ...], kwargs: Mapping[str, Any] | None) -> bool:
    """Whether a power is a root, or divides."""
    exponent = args[1] if len(args) > 1 else (kwargs or {}).get("exponent")
    return isinstance(exponent, int | float) and exponent < 1


def _apart(live: Sequence[Flow]) -> bool:
    """Whether two of these were computed beside each other, not one from the other."""
    return any(
        not b.ancestors >> a.origin & 1 and not a.ancestors >> b.origin & 1
        for i, a in enumerate(live)
        for b in live[i + 1 :]
    )
