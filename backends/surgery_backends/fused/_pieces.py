"""A graph in pieces: every stretch one call of a function that can be compiled.

Every piece is there once, for the baseline and for all variants that come to it,
however many these are: compiling all of them costs what compiling the model costs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from operator import getitem
from typing import Any

from torch import fx, nn

from surgery_backends.fused._cuts import Cuts
from surgery_backends.fused._marked import (
    MarkedGraph,
    held_tensor,
    is_number,
    value_of,
)
from surgery_backends.fused._piece import Piece, Stretch


def in_pieces(
    model: nn.Module, marked: MarkedGraph, differs: Mapping[fx.Node, int]
) -> tuple[MarkedGraph, list[Piece]]:
    """The same graph, with one call for every stretch, and the pieces called.

    Args:
        model: Whose tensors the graph uses.
        marked: The graph.
        differs: In which variants each node differs, as bits.
    """
    writing = _Writing(model, marked, differs)
    return writing.graph(), writing.pieces


class _Writing:
    """Writes the graph in pieces."""

    def __init__(
        self, model: nn.Module, marked: MarkedGraph, differs: Mapping[fx.Node, int]
    ) -> None:
        self.pieces: list[Piece] = []
        self._marked = marked
        self._differs = differs
        self._cuts = Cuts(marked, differs)
        self._weights: dict[fx.Node, Any] = {
            **{node: held_tensor(model, path) for node, path in marked.held.items()},
            **marked.constants,
        }
        self._places = {node: i for i, node in enumerate(marked.nodes)}
        self._graph = fx.Graph()
        self._new: dict[fx.Node, fx.Node] = {}
        self._nodes: list[fx.Node] = []

    def graph(self) -> MarkedGraph:
        """Write everything."""
        marked = self._marked
        for node in (*marked.fields, *self._weights):
            self._copy(node)
        for nodes in self._cuts.stretches:
            if len(nodes) == 1:
                self._copy(nodes[0])
            else:
                self._piece(nodes)
        outputs = [self._of(x) if isinstance(x, fx.Node) else x for x in marked.outputs]
        return replace(
            marked,
            nodes=self._nodes,
            fields=[self._new[n] for n in marked.fields],
            held={self._new[n]: path for n, path in marked.held.items()},
            constants={self._new[n]: x for n, x in marked.constants.items()},
            outputs=outputs,
        )

    def _of(self, node: fx.Node) -> fx.Node:
        """What stands for a node of the old graph."""
        if node in self._new:
            return self._new[node]
        if not is_number(node):  # of weights alone
            return self._copy(node)
        made = self._graph.placeholder(node.name)  # its symbols say what it is
        made.meta = dict(node.meta)
        self._new[node] = made
        return made

    def _copy(self, node: fx.Node) -> fx.Node:
        for operand in node.all_input_nodes:
            self._of(operand)
        made = self._graph.node_copy(node, self._of)
        self._new[node] = made
        if node in self._places:
            self._nodes.append(made)
        return made

    def _piece(self, nodes: Sequence[fx.Node]) -> None:
        stretch = self._stretch(nodes)
        piece = Piece(stretch)
        self.pieces.append(piece)
        given = [self._of(n) for n in (*stretch.takes, *stretch.varied)]
        numbers = [self._of(n) for n in stretch.numbers]
        call = self._graph.call_function(piece, (given, numbers))
        call.meta["val"] = [value_of(n) for n in stretch.gives]
        self._nodes.append(call)
        for place, node in enumerate(stretch.gives):
            item = self._graph.call_function(getitem, (call, place))
            item.meta = dict(node.meta)
            self._new[node] = item
            self._nodes.append(item)

    def _stretch(self, nodes: Sequence[fx.Node]) -> Stretch:
        inside = set(nodes)
        taken: dict[fx.Node, None] = {}
        pending = list(nodes)
        while pending:
            for operand in pending.pop().all_input_nodes:
                if operand in self._cuts.fixed and operand not in inside:
                    inside.add(operand)
                    pending.append(operand)
                elif operand not in inside:
                    taken[operand] = None
        body = sorted(inside, key=self._places.__getitem__)
        weights = {n: self._weights[n] for n in taken if n in self._weights}
        return Stretch(
            body=body,
            takes=[n for n in taken if n not in weights and not is_number(n)],
            numbers=[n for n in taken if is_number(n)],
            weights=weights,
            varied=[n for n in weights if self._differs.get(n)],
            gives=[n for n in nodes if _leaves(n, inside)],
        )


def _leaves(node: fx.Node, inside: set[fx.Node]) -> bool:
    return any(user not in inside and not is_number(user) for user in node.users)
