"""Telling compiled code that a module has changed.

`torch.compile` guards no hook tables (by default, for speed), so that a model compiled
before a hook was added runs on without it, silently. It does guard that a module has no
`forward` of its own; giving it one that does the same makes compiled callers look
again, and taking it away lets them use what they had compiled before.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import MethodType
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import nn


@dataclass
class _Mark:
    """How often a module is marked, and the `forward` of its own that it had.

    Attributes:
        count: How often.
        shadowed: The `forward` that it gets back.
        stood_for: The `forward` that the mark calls.
    """

    count: int
    shadowed: Callable[..., Any] | None
    stood_for: Callable[..., Any] | None

    def is_forward(self, value: object) -> bool:
        """Whether a module's `forward` is still the mark, and no later one."""
        if self.stood_for is not None:
            return isinstance(value, partial) and value.func is self.stood_for
        own = isinstance(value, MethodType) and value.__self__
        return isinstance(own, nn.Module) and value == MethodType(
            type(own).forward, own
        )


_REPLICATE = "_replicate_for_data_parallel"
_MARKED: WeakKeyDictionary[nn.Module, _Mark] = WeakKeyDictionary()


def seen_by_compiled_code(module: nn.Module) -> Callable[[], None]:
    """Mark `module` as changed, if anything was compiled in this process.

    Returns:
        What takes the mark away.
    """
    if not _anything_compiled():
        return _nothing
    if module not in _MARKED:
        shadowed: Callable[..., Any] | None = module.__dict__.get("forward")
        _MARKED[module] = _Mark(0, shadowed, shadowed)
        # Both have the signature and the code of what they stand for, as tracers ask.
        same = MethodType(type(module).forward, module)
        module.__dict__["forward"] = partial(shadowed) if shadowed else same
        module.__dict__[_REPLICATE] = partial(_unmarked_replica, module)
    _MARKED[module].count += 1

    def unmark() -> None:
        mark = _MARKED[module]
        mark.count -= 1
        if mark.count == 0:
            del _MARKED[module]
            replicate = module.__dict__.get(_REPLICATE)
            if isinstance(replicate, partial) and replicate.func is _unmarked_replica:
                del module.__dict__[_REPLICATE]
            if not mark.is_forward(module.__dict__.get("forward")):
                return  # a later one, which is not ours to take away
            del module.__dict__["forward"]
            if mark.shadowed is not None:
                module.__dict__["forward"] = mark.shadowed

    return unmark


def pause_compiler() -> Any:
    """Let what follows on this thread run as it is, and not be compiled.

    Returns:
        What `resume_compiler` takes.
    """
    if "torch._dynamo" not in sys.modules:
        return None
    return torch._C._dynamo.eval_frame.set_eval_frame(None)  # pyright: ignore


def not_compiled_alone(function: Any) -> None:
    """Let a function be compiled inside of what calls it only, not by itself.

    A hook that is compiled by itself believes that the whole model is.
    """
    frames: Any = torch._C._dynamo.eval_frame  # pyright: ignore
    skip, default = frames._FrameAction.SKIP, frames._FrameAction.DEFAULT
    strategy = frames._FrameExecStrategy(skip, default)
    frames.set_code_exec_strategy(function.__code__, strategy)


def resume_compiler(paused: Any) -> None:
    """Let what follows be compiled again, if it was before."""
    if paused is not None:
        torch._C._dynamo.eval_frame.set_eval_frame(paused)  # pyright: ignore


def _unmarked_replica(module: nn.Module) -> nn.Module:
    """DataParallel's replica, whose mark would run the original's parameters."""
    replica: nn.Module = getattr(type(module), _REPLICATE)(module)
    del replica.__dict__[_REPLICATE]
    mark = replica.__dict__.pop("forward")
    if isinstance(mark, partial):
        replica.__dict__["forward"] = mark.func
    return replica


def _anything_compiled() -> bool:
    utils = sys.modules.get("torch._dynamo.utils")
    if utils is None:
        return False
    counters = utils.counters  # frames are not counted under fullgraph=True
    return bool(counters["frames"]["total"] or counters["stats"]["unique_graphs"])


def _nothing() -> None:
    return None
