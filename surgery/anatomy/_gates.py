"""Gates: which operand of a multiplication is the multiplier."""

from __future__ import annotations

from torch import Size, Tensor

from surgery.anatomy._flow import Flow, Nodes, bits
from surgery.anatomy._frame import Frame


def find_gate(
    x: Tensor, y: Tensor, a: Flow, b: Flow, nodes: Nodes, frame: Frame
) -> int | None:
    """Position of the multiplier: the operand that surely has the smaller role.

    It is a parameter beside data (layer scale); or data that is repeated to the other's
    shape (squeeze-excite) and does not normalise it; or the only one of two that last
    passed a nonlinearity (gated MLP). The weight of a norm is none, nor a factor of an
    activation that is written out, as in `x * sigmoid(x)`.
    """
    if a.live != b.live:
        const = 1 if a.live else 0
        data, beside = (a, b) if const else (b, a)
        return const if beside.parameter and data.normalised is not frame else None
    if not a.live or a.node == b.node:
        return None
    small = _repeated(x.shape, y.shape)
    if small is not None:
        return None if (b if small else a).normaliser else small
    if x.shape == y.shape and a.activated != b.activated:
        if _one_function(a, b, nodes):
            return None
        return 0 if a.activated else 1
    return None


def _one_function(a: Flow, b: Flow, nodes: Nodes) -> bool:
    """Whether both are functions of all of the same data, with no weights between."""
    common, own = a.ancestors & b.ancestors, a.ancestors ^ b.ancestors
    if not common or own & (nodes.parametric | nodes.sources):
        return False
    parts = (nodes.parts[node] for node in bits(own) if node in nodes.parts)
    return not any(common >> whole & 1 for whole in parts)


def _repeated(first: Size, second: Size) -> int | None:
    """Which shape is repeated to give the other, if one is."""
    if first == second:
        return None
    for small, (shape, other) in enumerate(((first, second), (second, first))):
        if len(shape) <= len(other) and all(
            size in (1, wanted)
            for size, wanted in zip(reversed(shape), reversed(other), strict=False)
        ):
            return small
    return None
