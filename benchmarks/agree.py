"""Whether two ways gave the same: bit for bit, or as near as stacking may come."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

OFF = 1e-5
"""How far logits may be from others, of the sample's largest."""


def compare(expected: Sequence[Tensor], given: Sequence[Tensor]) -> str:
    """How logits agree: `bitwise`, `1e-06` (the largest difference) or `no: ...`.

    Args:
        expected: Logits of several variants, samples first.
        given: The same from another way.
    """
    if len(expected) != len(given):
        return f"no: {len(given)} outputs of {len(expected)}"
    if all(map(torch.equal, expected, given)):
        return "bitwise"
    worst, flips = 0.0, 0
    for a, b in zip(expected, given, strict=True):
        off, flipped = differences(a, b)
        worst, flips = max(worst, off), flips + flipped
    if worst > OFF or flips:
        return f"no: {worst:.0e}, {flips} classes"
    return f"{worst:.0e}"


def differences(expected: Tensor, given: Tensor) -> tuple[float, int]:
    """The largest difference of a sample's largest value; classes that must not differ.

    Classes may differ where the top two lie within twice the allowed difference.
    """
    if expected.shape != given.shape or expected.dtype != given.dtype:
        return float("inf"), 0
    if not expected.numel():
        return 0.0, 0
    a, b = (x.detach().double() for x in (expected, given))
    a, b = (x.reshape(len(x), -1) if x.ndim else x.reshape(1, 1) for x in (a, b))
    same = (a == b) | (a.isnan() & b.isnan())
    scale = a.abs().nan_to_num(0, 0, 0).amax(1, keepdim=True)
    gap = (a - b).abs().masked_fill(same, 0).nan_to_num(float("inf"), float("inf"))
    off = float((gap / scale.clamp_min(1e-30)).max())
    return off, _flips(a, b, scale) if expected.ndim == 2 else 0


def _flips(a: Tensor, b: Tensor, scale: Tensor) -> int:
    if a.shape[1] < 2:
        return 0
    top = a.topk(2, dim=1).values
    clear = (top[:, 0] - top[:, 1]) > 2 * OFF * scale[:, 0]
    return int(((a.argmax(1) != b.argmax(1)) & clear).sum())
