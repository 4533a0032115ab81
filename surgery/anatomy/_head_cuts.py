"""Head cuts: where attention heads enter a weight operation, and on which channels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from torch import Tensor

from surgery.anatomy._flow import Flow
from surgery.anatomy._frame import Frame
from surgery.anatomy._function_kinds import PRODUCTS, WEIGHTED
from surgery.anatomy._functions import Operands
from surgery.anatomy._head_tags import pieces_of
from surgery.anatomy._sighting import HeadCut

ATTENTION: Final = "multi_head_attention_forward"
_DIMENSIONS: Final = {"1d": 1, "2d": 2, "3d": 3}


def is_weighted(name: str, flows: Sequence[Flow]) -> bool:
    """Whether a function is a weight layer on operands of these flows."""
    if name in WEIGHTED:
        return True
    return name in PRODUCTS and any(flow.weight for flow in flows)


def cuts_of(
    name: str, given: Operands, flows: Mapping[int, Flow]
) -> tuple[HeadCut, ...]:
    """The heads that enter a weight layer, by the tags of its operands."""
    return tuple(
        HeadCut(tag.owner, piece.head, position, piece.axis, piece.pieces)
        for position, operand in enumerate(given)
        if isinstance(operand, Tensor) and (tag := flows[id(operand)].tag) is not None
        for piece in pieces_of(tag, _axes(name, position, operand))
    )


def opaque_cuts(
    frame: Frame, args: tuple[Any, ...], kwargs: Mapping[str, Any] | None
) -> tuple[HeadCut, ...]:
    """The heads inside `multi_head_attention_forward`, which says itself how many."""
    given = kwargs or {}
    size = args[3] if len(args) > 3 else given.get("embed_dim_to_check")
    heads = args[4] if len(args) > 4 else given.get("num_heads")
    if not isinstance(size, int) or not isinstance(heads, int) or heads < 1:
        return ()
    wide = size // heads
    return tuple(
        HeadCut(frame.path, head, None, -1, ((head * wide, (head + 1) * wide - 1),))
        for head in range(heads)
    )


def _axes(name: str, position: int, operand: Tensor) -> tuple[int, ...]:
    """The axes of an operand that a weight layer may sum over."""
    if name.startswith("conv"):
        return (-1 - _DIMENSIONS.get(name[-2:], 0),)
    if name in ("einsum", "tensordot"):
        return tuple(range(-1, -operand.ndim - 1, -1))
    if name in ("linear", "matmul", "mm", "bmm", "mv"):
        return (-1,) if position == 0 else (-2,)
    if name in ("addmm", "addbmm", "baddbmm"):
        return (-1,) if position == 1 else (-2,)
    return ()
