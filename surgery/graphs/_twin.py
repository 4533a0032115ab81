"""Twins: copies of a module to try things on, which share its parameters."""

from __future__ import annotations

import copy
from collections import OrderedDict
from typing import Any

from torch import nn


def twin(module: nn.Module) -> nn.Module:
    """A copy with the same parameters, own buffers and caches, and no hooks.

    Whatever its forward leaves in Python attributes or buffers stays in the copy.
    A `forward` of an instance's own that says what it stands for (`shadowed`) is left
    out.
    """
    memo: dict[int, Any] = {id(p): p for p in module.parameters()}
    for part in module.modules():
        for name, value in vars(part).items():
            if "_hooks" in name and isinstance(value, dict):
                memo[id(value)] = OrderedDict[Any, Any]()
        own: Any = vars(part).get("forward")
        if hasattr(own, "shadowed"):
            memo[id(own)] = None
    copied = copy.deepcopy(module, memo)
    for part, made in zip(module.modules(), copied.modules(), strict=True):
        own = vars(part).get("forward")
        if hasattr(own, "shadowed"):
            del made.__dict__["forward"]
            if own.shadowed is not None:
                made.__dict__["forward"] = copy.deepcopy(own.shadowed, memo)
    return copied
