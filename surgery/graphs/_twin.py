"""Twins: copies of a module to try things on, which share its parameters."""

from __future__ import annotations

import copy
from collections import OrderedDict
from types import MethodType
from typing import Any, Final

from torch import nn

_OURS: Final = frozenset({"surgery", "surgery_backends"})


def twin(module: nn.Module, *, hooked: bool = False) -> nn.Module:
    """A copy with the same parameters, own buffers and caches, and no hooks.

    With `hooked` it has the forward hooks of others: those that a model has put into
    itself are part of it (transformers' collect hidden states for its own code), while
    an operation in effect is not. Whatever its forward leaves in Python attributes or
    buffers stays in the copy.
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
        if hooked:
            _hook(part, made, memo)
    return copied


def _hook(part: nn.Module, made: nn.Module, memo: dict[int, Any]) -> None:
    """Give a copied module the forward hooks that others have put on the module."""
    for table in ("_forward_pre_hooks", "_forward_hooks"):
        given, hooks = vars(part)[table], vars(made)[table]
        hooks.update({k: _moved(h, memo) for k, h in given.items() if not is_ours(h)})
        for mark in ("_with_kwargs", "_always_called"):
            if table + mark in vars(part):
                marked = vars(part)[table + mark]
                kept = {k: v for k, v in marked.items() if k in hooks}
                vars(made)[table + mark].update(kept)


def is_ours(hook: Any) -> bool:
    """Whether a hook is of an operation in effect, and no part of the model."""
    owner = getattr(hook, "__self__", hook)
    # Of a function its own module, of an object that of its class.
    return str(getattr(owner, "__module__", "")).partition(".")[0] in _OURS


def _moved(hook: Any, memo: dict[int, Any]) -> Any:
    """A method of a module that was copied becomes the copy's."""
    owner = getattr(hook, "__self__", None)
    if isinstance(owner, nn.Module) and id(owner) in memo:
        return MethodType(hook.__func__, memo[id(owner)])
    return hook
