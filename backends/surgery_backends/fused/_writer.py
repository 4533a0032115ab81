"""Writing a fused program: baseline and variants, node by node."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from operator import getitem
from typing import Any

from torch import fx

from surgery.ops import Edit
from surgery_backends.fused._act import Act
from surgery_backends.fused._marked import MarkedGraph, is_number, is_tensor, value_of
from surgery_backends.fused._marks import MARK
from surgery_backends.fused._reuse import is_view, places
from surgery_backends.fused._sizes import Sizes, operands, treats_samples_alike
from surgery_backends.fused._spread import ATEN, BASELINE, Several, Spread, joined
from surgery_backends.fused._tape import Slot, Tape

Lookup = Callable[[fx.Node], Any]


class Writer:
    """Writes the nodes of a fused program.

    Args:
        marked: The graph of the model.
        sizes: Its sizes, for the batch at hand.
        differs: In which variants each node differs, as bits.
        edits: By variant, the operations at each mark's number.
    """

    def __init__(
        self,
        marked: MarkedGraph,
        sizes: Sizes,
        differs: Mapping[fx.Node, int],
        edits: Sequence[Mapping[int, Sequence[Edit]]],
    ) -> None:
        self.tape = Tape()
        self.reusable: dict[int, tuple[int, ...]] = {}
        self.base: dict[fx.Node, Any] = {}
        self.calls: Counter[fx.Node] = Counter()
        self.sizes = sizes
        self._marked = marked
        self._differs = differs
        self._edits = edits
        self._stackable: dict[fx.Node, bool] = {}
        self._places: dict[fx.Node, tuple[int, ...]] = {}

    def baseline(self, node: fx.Node) -> None:
        """Write a node of the untouched model."""
        if is_number(node):
            return
        args: tuple[Any, ...] = node.args
        if node.target is MARK:
            return
        if _is_item(node) and args[0].target is MARK:
            self.base[node] = self.base[args[0].args[0][args[1]]]
        elif _is_item(node):
            self.base[node] = self._item(node, self.base[args[0]])
        else:
            self.base[node] = self._call(node, self.base.__getitem__, 1)

    def members(self, node: fx.Node, chunk: Sequence[int]) -> list[int]:
        """Those of the variants in which a node differs."""
        bits = self._differs[node]
        return [v for v in chunk if bits >> v & 1]

    def variants(
        self,
        node: fx.Node,
        chunk: Sequence[int],
        spreads: dict[fx.Node, Any],
        *,
        joined: bool = False,
    ) -> None:
        """Write a node for those of the variants in which it differs.

        Args:
            node: A node of the model's graph.
            chunk: The variants, in the order in which they begin to differ.
            spreads: What was written for them so far.
            joined: Whether the baseline is among them wherever one of them is.
        """
        members = self.members(node, chunk)
        if not members:
            return
        if joined:
            members.insert(0, BASELINE)
        if node.target is MARK:
            spreads[node] = self._mark(node, members, spreads)
        elif _is_item(node):
            args: tuple[Any, ...] = node.args
            spreads[node] = self._taken(node, spreads[args[0]], args[1])
        else:
            spreads[node] = self._spread(node, members, spreads)

    def _spread(
        self, node: fx.Node, members: Sequence[int], spreads: Mapping[fx.Node, Any]
    ) -> Any:
        """A call for all variants in which it differs, at once where that can be."""
        together, apart = self._grouped(node, members, spreads)
        each = {v: self._call(node, self.lookup(v, spreads), 1) for v in apart}
        stack = None
        if len(together) == 1:
            stack = self._call(node, self.lookup(together[0], spreads), 1)
        elif together:
            count = len(together)

            def lookup(operand: fx.Node) -> Any:
                return self._stacked(operand, together, spreads)

            stack = self._call(node, lookup, count)
        if is_tensor(node):
            return self._made(node, together, stack, each)
        return Several(tuple(together), stack, each)

    def _made(
        self,
        node: fx.Node,
        together: Sequence[int],
        stack: Slot | None,
        each: Mapping[int, Slot],
    ) -> Spread:
        axis = self.sizes.axis(node)
        if axis is None:
            if stack is not None:
                each = {**each, together[0]: stack}
            return Spread(each=each)
        return Spread(tuple(together), stack, each, axis, *self._extent(node))

    def _grouped(
        self, node: fx.Node, members: Sequence[int], spreads: Mapping[fx.Node, Any]
    ) -> tuple[list[int], list[int]]:
        """Which variants can be computed in one call, and which one by one."""
        if not self._stacks(node):
            return list(members[:1]), list(members[1:])
        apart: set[int] = set()
        for operand in operands(node):
            spread = spreads.get(operand)
            if isinstance(spread, Spread) and self.sizes.axis(operand) is None:
                apart |= {v for v in members if spread.has(v) and v != BASELINE}
        return [v for v in members if v not in apart], sorted(
            apart, key=list(members).index
        )

    def _stacks(self, node: fx.Node) -> bool:
        """Whether several variants can be computed in one call."""
        if node not in self._stackable:
            alike = self._marked.any_batch and treats_samples_alike(node)
            self._stackable[node] = alike
        return self._stackable[node]

    def lookup(self, variant: int, spreads: Mapping[fx.Node, Any]) -> Lookup:
        """Finds the values in one variant, among them the baseline's."""

        def lookup(operand: fx.Node) -> Any:
            spread = spreads.get(operand)
            if isinstance(spread, Spread):
                for member in (variant, BASELINE):
                    if spread.has(member):
                        return spread.one(self.tape, member)
            return self.base[operand]

        return lookup

    def _stacked(
        self, operand: fx.Node, variants: Sequence[int], spreads: Mapping[fx.Node, Any]
    ) -> Any:
        axis = self.sizes.axis(operand)
        base = partial(self.lookup(BASELINE, spreads), operand)
        if axis is None:  # the same for all samples
            return base()
        spread = spreads.get(operand)
        if isinstance(spread, Spread):
            return spread.stacked(self.tape, variants, base)
        size = self.sizes.nbytes(operand) * len(variants)
        return joined(self.tape, [self.base[operand]] * len(variants), axis, size)

    def _mark(
        self, node: fx.Node, members: Sequence[int], spreads: Mapping[fx.Node, Any]
    ) -> list[Spread | None]:
        args: tuple[Any, ...] = node.args
        outputs: list[fx.Node] = args[0]
        inputs: list[fx.Node] = args[1]
        mark = self._marked.marks[args[2]]
        size = sum(map(self.sizes.nbytes, outputs))
        new: dict[int, Slot] = {}
        for variant in members:
            edits = variant != BASELINE and self._edits[variant].get(args[2])
            if edits:
                lookup = self.lookup(variant, spreads)
                given = list(map(lookup, outputs)), list(map(lookup, inputs))
                new[variant] = self.tape.call(
                    Act(variant, mark, edits), given, None, size
                )
        found: list[Spread | None] = []
        for place, leaf in enumerate(outputs):
            items = {
                v: self.tape.call(getitem, (made, place)) for v, made in new.items()
            }
            old = spreads.get(leaf)
            found.append(self._replaced(leaf, old, members, items, spreads))
        return found

    def _replaced(
        self,
        leaf: fx.Node,
        old: Spread | None,
        members: Sequence[int],
        items: Mapping[int, Slot],
        spreads: Mapping[fx.Node, Any],
    ) -> Spread | None:
        """A leaf with the values that operations made of it in some variants."""
        held = old or Spread()
        members = [v for v in members if v in items or held.has(v) or v == BASELINE]
        if members in ([], [BASELINE]):
            return None
        axis = self.sizes.axis(leaf)
        each = {**held.each, **items}
        if axis is None or len(members) == 1:
            each |= {v: self.lookup(v, spreads)(leaf) for v in members if v not in each}
            if axis is None:
                return Spread(each=each)
            extent = self._extent(leaf)
            return Spread((members[0],), each[members[0]], {}, axis, *extent)
        extent = self._extent(leaf)
        mixed = Spread(held.members, held.stack, each, axis, *extent)
        base = partial(self.lookup(BASELINE, spreads), leaf)
        stack = mixed.stacked(self.tape, members, base)
        return Spread(tuple(members), stack, {}, axis, *extent)

    def _taken(self, node: fx.Node, source: Any, index: int) -> Any:
        if isinstance(source, list):
            return source[index]
        assert isinstance(source, Several)
        each = {v: self._item(node, made) for v, made in source.each.items()}
        stack = None if source.stack is None else self._item(node, source.stack)
        if not is_tensor(node):
            return Several(source.members, stack, each)
        return self._made(node, source.members, stack, each)

    def _item(self, node: fx.Node, source: Any) -> Any:
        args: tuple[Any, ...] = node.args
        if isinstance(source, list):
            found: list[Any] = source
            return found[args[1]]
        return self.tape.call(getitem, (source, args[1]))

    def _extent(self, node: fx.Node) -> tuple[int, int]:
        """Entries along the axis of samples, and bytes, of one variant."""
        return self.sizes.length(node), self.sizes.nbytes(node)

    def _call(self, node: fx.Node, lookup: Lookup, times: int) -> Slot:
        def argument(operand: fx.Node) -> Any:
            if is_number(operand):
                return self.sizes.number(value_of(operand), times)
            return lookup(operand)

        self.calls[node] += times
        args = _mapped(node.args, argument)
        kwargs = {key: _mapped(x, argument) for key, x in node.kwargs.items()}
        target: Any = node.target
        if target is ATEN.view.default:
            target = ATEN.reshape.default  # variants may be laid out otherwise
        size = 0 if is_view(node.target) else self.sizes.nbytes(node) * times
        slot = self.tape.call(target, args, kwargs, size)
        if node not in self._places:
            self._places[node] = places(node)
        if self._places[node]:
            self.reusable[slot.index] = self._places[node]
        return slot


def _mapped(value: Any, function: Lookup) -> Any:
    """Arguments of a node with something else in the place of nodes."""
    if isinstance(value, fx.Node):
        return function(value)
    if isinstance(value, (tuple, list)):
        return [_mapped(x, function) for x in value]
    if isinstance(value, slice):
        ends: tuple[Any, ...] = (value.start, value.stop, value.step)
        return slice(*(_mapped(x, function) for x in ends))
    return value


def _is_item(node: fx.Node) -> bool:
    return getattr(node.target, "__name__", "") == "getitem"
