"""Gates: which operand of a multiplication is the multiplier."""

from __future__ import annotations

from torch import Size, Tensor

from surgery.anatomy._flow import Flow


def find_gate(x: Tensor, y: Tensor, a: Flow, b: Flow) -> int | None:
    """Position of the multiplier: the operand that surely has the smaller role.

    It is a parameter beside data (layer scale); or data that is repeated to the other's
    shape (squeeze-excite) and does not normalise it; or the only one of two that last
    passed a nonlinearity (gated MLP).
    """
    if a.live != b.live:
        const = 1 if a.live else 0
        return const if (b if const else a).parameter else None
    if not a.live or a.node == b.node:
        return None
    small = _repeated(x.shape, y.shape)
    if small is not None:
        return None if (b if small else a).normaliser else small
    if x.shape == y.shape and a.activated != b.activated:
        return 0 if a.activated else 1
    return None


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
