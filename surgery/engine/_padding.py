"""Padding: a last, smaller batch filled up to the size of the others."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def padded(parts: Sequence[Tensor], size: int, full: int) -> list[list[Tensor]]:
    """A batch filled up twice, with copies of its first sample and of its last.

    If samples do not see each other, those of the batch give the same both times.

    Args:
        parts: The batch's tensors.
        size: Its samples, at least two.
        full: How many it shall have.
    """
    return [
        [_filled_up(part, size, full, source) for part in parts]
        for source in (0, size - 1)
    ]


def _filled_up(part: Tensor, size: int, full: int, source: int) -> Tensor:
    if not part.ndim or len(part) != size:
        return part
    rest = part[source : source + 1].expand(full - size, *part.shape[1:])
    return torch.cat([part, rest])
