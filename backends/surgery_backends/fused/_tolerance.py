"""How far other kernels may take a result."""

from __future__ import annotations

from typing import Final

import torch

from surgery_backends.fused._marked import MarkedGraph
from surgery_backends.fused._sizes import tensors_of

_SINGLE: Final = 1e-5
_TF32: Final = 1e-3
_STEPS: Final = 4
"""So many times the rounding of a short type, where one is among the values."""


def tolerance(marked: MarkedGraph) -> float:
    """How far results may be from those of other kernels, of the largest value."""
    values = [x for node in marked.nodes for x in tensors_of(node)]
    types = {x.dtype for x in values if x.dtype.is_floating_point}
    shortest = max((torch.finfo(dtype).eps for dtype in types), default=0.0)
    if shortest > torch.finfo(torch.float32).eps:
        return _STEPS * shortest
    on_gpu = any(x.is_cuda for x in values)
    rough = torch.backends.cuda.matmul.allow_tf32 or torch.backends.cudnn.allow_tf32
    return _TF32 if on_gpu and rough else _SINGLE
