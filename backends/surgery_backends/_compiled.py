"""Telling compiled code that a module has changed.

`torch.compile` guards no hook tables (by default, for speed), so that a model compiled
before a hook was added runs on without it, silently. It does guard that a module has no
`forward` of its own; giving it one that does the same makes compiled callers look
again, and taking it away lets them use what they had compiled before.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from torch import nn

_MARKED: WeakKeyDictionary[nn.Module, int] = WeakKeyDictionary()


class _SameForward:
    """A module's own forward, as an attribute of the instance."""

    def __init__(self, module: nn.Module, shadowed: Callable[..., Any] | None) -> None:
        self.module = module
        self.shadowed = shadowed

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self.shadowed is not None:
            return self.shadowed(*args, **kwargs)
        return type(self.module).forward(self.module, *args, **kwargs)


def seen_by_compiled_code(module: nn.Module) -> Callable[[], None]:
    """Mark `module` as changed, if anything was compiled in this process.

    Returns:
        What takes the mark away.
    """
    if not _anything_compiled():
        return _nothing
    _MARKED[module] = _MARKED.get(module, 0) + 1
    if _MARKED[module] == 1:
        shadowed = module.__dict__.get("forward")
        module.__dict__["forward"] = _SameForward(module, shadowed)

    def unmark() -> None:
        _MARKED[module] -= 1
        if _MARKED[module] == 0:
            del _MARKED[module]
            mark: _SameForward = module.__dict__.pop("forward")
            if mark.shadowed is not None:
                module.__dict__["forward"] = mark.shadowed

    return unmark


def _anything_compiled() -> bool:
    utils = sys.modules.get("torch._dynamo.utils")
    return utils is not None and utils.counters["frames"]["total"] > 0


def _nothing() -> None:
    return None
