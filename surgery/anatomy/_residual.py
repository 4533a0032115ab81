"""Residual adds: which operand of an add is the skip, and which the branch.

An add of live data is *identity* where one operand, the skip, went into the other, and
modules or parameters took part in that. It is *projected* where both were computed from
the same data and one is a projection of it: linear, or a single layer, and no deeper
than the other. Anything else (branches that are alike, data that came apart from the
start, arithmetic) has no skip side.
"""

from __future__ import annotations

from dataclasses import dataclass

from surgery.anatomy._flow import Flow, Nodes, bits
from surgery.anatomy._frame import Frame


@dataclass(frozen=True, slots=True)
class Sides:
    """Which operand is which: positions 0 or 1."""

    skip: int
    projected: bool


def find_sides(a: Flow, b: Flow, nodes: Nodes, owner: Frame) -> Sides | None:
    """Which of two live operands is the skip; `None` if neither surely is."""
    if a.origin == b.origin:  # the same values twice
        return None
    for skip, (x, y) in enumerate(((a, b), (b, a))):
        if y.ancestors >> x.origin & 1:
            made = y.ancestors & ~x.ancestors
            learned = made & nodes.parametric or modules_of(made, nodes, owner)
            return Sides(skip, projected=False) if learned else None
    common = a.ancestors & b.ancestors
    return _projected(a, b, common, nodes, owner) if common else None


def _projected(
    a: Flow, b: Flow, common: int, nodes: Nodes, owner: Frame
) -> Sides | None:
    fork = nodes.depths[common.bit_length() - 1]
    own = [flow.ancestors & ~common for flow in (a, b)]
    if all(_starts_with_a_part(side, common, nodes) for side in own):
        return None  # different parts of the same data: neither is the other's input
    depths = [nodes.depths[flow.node] - fork for flow in (a, b)]
    fitting = [
        side
        for side in (0, 1)
        if depths[1 - side] >= max(2, depths[side])
        and not own[side] & nodes.joins
        and (depths[side] <= 1 or not own[side] & nodes.activations)
    ]
    if len(fitting) == 2:  # both are linear: the one with fewer layers, then modules
        if depths[0] != depths[1]:
            return Sides(int(depths[1] < depths[0]), projected=True)
        counts = [len(modules_of(side, nodes, owner)) for side in own]
        fitting = [side for side in (0, 1) if 2 * counts[side] <= counts[1 - side]]
    return Sides(fitting[0], projected=True) if len(fitting) == 1 else None


def _starts_with_a_part(side: int, common: int, nodes: Nodes) -> bool:
    parts = (nodes.parts[node] for node in bits(side) if node in nodes.parts)
    return any(common >> whole & 1 for whole in parts)


def modules_of(nodes_of_side: int, nodes: Nodes, owner: Frame) -> tuple[str, ...]:
    """The outermost modules inside `owner` that computed these nodes, in order."""
    paths: dict[str, None] = {}
    for node in bits(nodes_of_side):
        for frame in (nodes.frames[node], *nodes.passed.get(node, ())):
            called = owner.child_towards(frame)
            if called is not None:
                paths[called.path] = None
    return tuple(paths)


def parameters_of(nodes_of_side: int, nodes: Nodes, owner: Frame) -> tuple[int, ...]:
    """Identities of the parameters that code inside `owner` used for these nodes."""
    found: dict[int, None] = {}
    for node in bits(nodes_of_side & nodes.parametric):
        frame = nodes.frames[node]
        if frame is owner or owner.child_towards(frame) is not None:
            found |= dict.fromkeys(sorted(nodes.made_of[node]))
    return tuple(found)
