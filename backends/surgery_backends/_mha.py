"""Heads inside `multi_head_attention_forward`, one function with the projection in it.

It is called without its output projection (the identity matrix, which is exact), so
that the heads come out side by side; they are edited, then projected as ever.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from surgery_backends._operands import Arguments

MULTI_HEAD = "multi_head_attention_forward"
_WEIGHT, _BIAS = 11, 12  # positions of the projection among its arguments


def attend(
    func: Callable[..., Any],
    arguments: Arguments,
    edit: Callable[[Tensor], Tensor],
) -> Any:
    """Call it with `edit` between the heads' outputs and the projection."""
    args, kwargs = arguments
    weight = args[_WEIGHT] if len(args) > _WEIGHT else kwargs["out_proj_weight"]
    bias = args[_BIAS] if len(args) > _BIAS else kwargs["out_proj_bias"]
    plain = torch.eye(weight.shape[1], dtype=weight.dtype, device=weight.device)
    if len(args) > _BIAS:
        args = (*args[:_WEIGHT], plain, None, *args[_BIAS + 1 :])
    else:
        kwargs = {**kwargs, "out_proj_bias": None}
        if len(args) > _WEIGHT:
            args = (*args[:_WEIGHT], plain)
        else:
            kwargs["out_proj_weight"] = plain
    heads, *rest = func(*args, **kwargs)
    return (F.linear(edit(heads), weight, bias), *rest)
