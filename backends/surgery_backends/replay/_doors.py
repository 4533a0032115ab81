"""Doors: every call of a module goes by whoever watches it, or answers for it.

A door is the module's own `forward` for the time of a run. Hooks would not do: torch
runs some modules (attention, encoder layers) otherwise where there are any.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import nn

from surgery.anatomy import is_scripted


class Watcher(Protocol):
    """Who is asked at each door: it runs the call, or answers for it."""

    def pass_by(
        self,
        number: int,
        forward: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any: ...


class _Door:
    def __init__(self, number: int, forward: Callable[..., Any]) -> None:
        self.number = number
        self.forward = forward
        self.__wrapped__ = forward  # whoever asks for its signature is told that
        self.watcher: Watcher | None = None
        self.thread = 0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        watcher = self.watcher
        if (
            watcher is None
            or torch.compiler.is_compiling()
            or threading.get_ident() != self.thread
        ):
            return self.forward(*args, **kwargs)
        return watcher.pass_by(self.number, self.forward, args, kwargs)


def doors_of(model: nn.Module) -> list[nn.Module]:
    """The modules whose calls are seen: not those that compiled code runs."""
    hidden: set[nn.Module] = set()
    for module in model.modules():
        if module not in hidden and _is_opaque(module):
            hidden.update(module.modules())
    return [m for m in model.modules() if m not in hidden]


@contextmanager
def watched(modules: list[nn.Module], watcher: Watcher) -> Generator[None]:
    """Calls of these modules go by `watcher`, on this thread, while the block runs."""
    thread = threading.get_ident()
    placed: list[tuple[nn.Module, _Door, Any]] = []
    try:
        for number, module in enumerate(modules):
            door = _Door(number, module.forward)
            door.watcher, door.thread = watcher, thread
            placed.append((module, door, vars(module).get("forward")))
            vars(module)["forward"] = door
        yield
    finally:
        for module, door, before in reversed(placed):
            door.watcher = None
            if vars(module).get("forward") is not door:
                continue  # a later one, which is not ours to take away
            del vars(module)["forward"]
            if before is not None:
                vars(module)["forward"] = before


def has_hooks(module: nn.Module) -> bool:
    """Whether anything else is called when the module is."""
    everywhere = torch.nn.modules.module
    return bool(
        module._forward_hooks
        or module._forward_pre_hooks
        or everywhere._global_forward_hooks
        or everywhere._global_forward_pre_hooks
    )


def _is_opaque(module: nn.Module) -> bool:
    return (
        is_scripted(module)
        or hasattr(module, "_orig_mod")
        or getattr(module, "_compiled_call_impl", None) is not None
        or hasattr(module.forward, "_torchdynamo_orig_callable")
    )
