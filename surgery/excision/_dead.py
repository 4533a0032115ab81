"""Dead code: what an edit of a graph left without a reader."""

from __future__ import annotations

import operator
from collections.abc import Sequence

from torch import fx

from surgery.excision._evaluate import Values


def remove_dead(graph: fx.Graph, freed: Sequence[fx.Node], values: Values) -> None:
    """Erase `freed` where nobody reads them, then what only they read, and so on.

    A node that writes into memory goes only if nobody that stays reads that memory, and
    one that may fill a cache does not go.
    """
    waiting = [node for node in freed if node.graph is graph]
    while waiting:
        node = waiting.pop()
        if node._erased or node.op in ("placeholder", "output"):
            continue
        # Parts of a tuple that were unpacked and never read.
        unread = [u for u in node.users if u.target is operator.getitem and not u.users]
        if len(unread) < len(node.users) or not _may_go(node, values):
            continue
        for part in unread:
            graph.erase_node(part)
        waiting += node.all_input_nodes
        graph.erase_node(node)


def _may_go(node: fx.Node, values: Values) -> bool:
    if node in values.opaque:
        return False
    written = values.writes.get(node, set())
    if not written:
        return True
    sharing = [
        other
        for other, memory in values.memory.items()
        if memory & written and not other._erased
    ]
    outside = ("placeholder", "get_attr", "output")
    return all(
        other.op not in outside and all(user in sharing for user in other.users)
        for other in sharing
    )
