"""Cuts: which nodes of a graph make one stretch, and in which order stretches come.

Nodes that differ in the same variants are either all computed for a variant or none of
them is: as one call, what is computed stays the least that can be.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from heapq import heapify, heappop, heappush
from operator import getitem

from torch import fx

from surgery_backends.fused._marked import MarkedGraph, is_number
from surgery_backends.fused._marks import MARK
from surgery_backends.fused._reuse import is_view
from surgery_backends.fused._sizes import operands, treats_samples_alike

_SHORT = 2
"""Stretches of fewer calls that compute something are left as they are."""


class Cuts:
    """Which stretch each node belongs to.

    Stretches go by the variants in which nodes differ, and by how many calls that stay
    by themselves are before them. Both only grow along a path, so no path leaves a
    stretch and comes back to it.

    Args:
        marked: The graph.
        differs: In which variants each node differs, as bits.

    Attributes:
        fixed: What is computed of weights alone: it goes with whatever takes it.
        stretches: Nodes that make one call, in the order of the graph; some are one
            node that stays by itself. Those that others need come first.
    """

    def __init__(self, marked: MarkedGraph, differs: Mapping[fx.Node, int]) -> None:
        self._marked = marked
        self._differs = differs
        self.fixed: set[fx.Node] = set()
        self.stretches = list(self._ordered(self._found()))

    def _found(self) -> list[list[fx.Node]]:
        marked, differs = self._marked, self._differs
        still = {n for n in marked.held if not differs[n]} | set(marked.constants)
        apart: set[fx.Node] = set()
        levels: dict[fx.Node, int] = {}
        found: dict[tuple[int, int, fx.Node | None], list[fx.Node]] = {}
        for node in marked.nodes:
            if is_number(node):
                continue
            taken = node.all_input_nodes
            if taken and all(n in still or n in self.fixed for n in taken):
                self.fixed.add(node)
                continue
            before = (levels.get(n, 0) + (n in apart) for n in operands(node))
            levels[node] = max(before, default=0)
            if self._stays(node, apart):
                apart.add(node)
            key = differs[node], levels[node], node if node in apart else None
            found.setdefault(key, []).append(node)
        return [part for nodes in found.values() for part in _unless_short(nodes)]

    def _stays(self, node: fx.Node, apart: set[fx.Node]) -> bool:
        """Whether a call must be by itself: operations, and what mixes samples."""
        if node.target is MARK:
            return True
        if node.target is getitem:
            return node.all_input_nodes[0] in apart
        mixes = self._marked.any_batch and not treats_samples_alike(node)
        return bool(self._differs[node]) and mixes

    def _ordered(self, found: Sequence[list[fx.Node]]) -> Iterator[list[fx.Node]]:
        """Those that others need first; else in the order of the graph."""
        places = {node: i for i, node in enumerate(self._marked.nodes)}
        owner = {node: i for i, nodes in enumerate(found) for node in nodes}
        needs = [
            {owner[n] for node in nodes for n in operands(node) if n in owner} - {i}
            for i, nodes in enumerate(found)
        ]
        feeds: dict[int, list[int]] = {}
        for i, others in enumerate(needs):
            for other in others:
                feeds.setdefault(other, []).append(i)
        ready = [
            (places[found[i][0]], i) for i, others in enumerate(needs) if not others
        ]
        heapify(ready)
        while ready:
            _, i = heappop(ready)
            yield found[i]
            for other in feeds.get(i, ()):
                needs[other].discard(i)
                if not needs[other]:
                    heappush(ready, (places[found[other][0]], other))


def _unless_short(nodes: list[fx.Node]) -> list[list[fx.Node]]:
    """A stretch, or its nodes each by itself where one call gains nothing."""
    work = [n for n in nodes if n.target is not getitem and not is_view(n.target)]
    return [nodes] if len(work) >= _SHORT else [[node] for node in nodes]
