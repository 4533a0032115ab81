"""Code that runs a second time, in backward, or has a backward of its own.

What a module's own code does in there would be operated on in forward only.
"""

from __future__ import annotations

from collections.abc import Iterable
from types import CodeType

import torch
import torch.utils.checkpoint


def runs_twice(codes: Iterable[CodeType], *, grad_was_on: bool) -> str:
    """What among running code is such, in words; empty if nothing is.

    Args:
        codes: What is running between a module's forward and its function's call.
        grad_was_on: Whether gradients were recorded when the module was called.
    """
    if torch.is_grad_enabled():
        return "activation checkpointing" if _CHECKPOINT in codes else ""
    if not grad_was_on:
        return ""
    # Autograd runs the forward of a custom function without recording gradients.
    custom = {code: name for code, name in _custom_forwards()}
    return next((custom[code] for code in codes if code in custom), "")


def _custom_forwards() -> Iterable[tuple[CodeType, str]]:
    waiting = [torch.autograd.Function]
    while waiting:
        for kind in waiting.pop().__subclasses__():
            waiting.append(kind)
            code = getattr(getattr(kind, "forward", None), "__code__", None)
            if isinstance(code, CodeType):
                yield code, f"the autograd.Function {kind.__name__}"


_checkpoint = torch.utils.checkpoint.checkpoint
_CHECKPOINT: CodeType = getattr(_checkpoint, "__wrapped__", _checkpoint).__code__
