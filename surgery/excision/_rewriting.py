"""A block while it is rewritten: its graph, and questions about its nodes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, fx, nn

from surgery.excision._evaluate import Values
from surgery.excision._shapes import Follow, ShapeRule
from surgery.excision._watch import Watched
from surgery.graphs import OwnCode


@dataclass
class Rewriting:
    """One block on its way: its graph, what is known of it, what was added to it."""

    block: nn.Module
    path: str
    own: OwnCode
    values: Values
    projected: frozenset[tuple[str, int]]
    seen: Watched
    added: dict[str, nn.Module] = field(default_factory=dict[str, nn.Module])

    @property
    def graph(self) -> fx.Graph:
        return self.own.graph

    @property
    def given(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """What the block was given in the example."""
        return self.seen.values or ((), {})

    def add(self, module: nn.Module) -> str:
        """Give the block another module, once it is finished; returns its name."""
        name = f"excised{len(self.added)}"
        while hasattr(self.block, name):
            name += "_"
        self.added[name] = module
        return name


def rule_like(work: Rewriting, node: fx.Node) -> ShapeRule:
    """The rule of what has the shape of a node."""
    x = work.values.tensor[node]
    axes = tuple(Follow(i) for i in range(x.ndim))
    return ShapeRule(tuple(x.shape), axes, frozenset(range(x.ndim)))


def fits_result(work: Rewriting, others: list[fx.Node], node: fx.Node) -> bool:
    """Whether the one other operand has the result's shape and type."""
    known = work.values.tensor
    return (
        len(others) == 1
        and others[0] in known
        and node in known
        and same_type(known[others[0]], known[node])
    )


def same_type(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors have one shape and type."""
    return a.shape == b.shape and a.dtype == b.dtype


def seen_after(work: Rewriting, x: fx.Node, node: fx.Node) -> bool:
    """Whether anybody but `node` reads the memory of `x` after it."""
    position = {n: i for i, n in enumerate(work.graph.nodes)}
    for other in work.values.sharing(x):
        if other not in position or position[other] >= position[node]:
            continue
        if other.op in ("placeholder", "get_attr"):
            return True
        if any(position[user] > position[node] for user in other.users):
            return True
    return False


def replace_node(work: Rewriting, node: fx.Node, new: fx.Node) -> None:
    """Let all who read `node` read `new`."""
    node.replace_all_uses_with(new)
    work.graph.erase_node(node)


def noted(work: Rewriting, node: fx.Node, like: fx.Node) -> fx.Node:
    """A new node, with what is known of it from one that it is like."""
    if node not in work.values.tensor and like in work.values.tensor:
        work.values.tensor[node] = work.values.tensor[like]
    work.values.memory.setdefault(node, {-1 - len(work.values.memory)})
    return node
