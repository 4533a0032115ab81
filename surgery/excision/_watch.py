"""What an example run shows of the modules that are to go: calls, and who reads them.

A module can be swapped for another only if nothing but its own code reads its
attributes: a parent that asks for `conv.weight` or `fc.out_features` would not find
them.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from surgery.anatomy import mapped
from surgery.excision._example import Example, undisturbed

# What any module has; torch itself reads these around every call.
_MACHINERY = frozenset(dir(nn.Module())) - {"training"}


@dataclass(frozen=True)
class Call:
    """One call of a module: what went in and came out, without the values."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    output: object


@dataclass
class Watched:
    """What was seen of one module.

    Attributes:
        calls: Its calls, in order.
        read: Attributes that code other than its own read.
        asks_mode: Whether its own code read `training`.
        values: What its first call was given, with values, for modules that are traced.
    """

    calls: list[Call] = field(default_factory=list[Call])
    read: set[str] = field(default_factory=set[str])
    asks_mode: bool = False
    values: tuple[tuple[Any, ...], dict[str, Any]] | None = None


def watch(
    model: nn.Module, paths: Mapping[str, bool], example: Example
) -> dict[str, Watched]:
    """Run the example and tell what the modules at `paths` were seen to do.

    Args:
        model: Is as before afterwards.
        paths: Which modules; true for those whose inputs are kept with their values.
        example: What to run.
    """
    seen = {path: Watched() for path in paths}
    with ExitStack() as stack:
        for path, keep in paths.items():
            module = model.get_submodule(path)
            stack.enter_context(_watching(module, seen[path], keep))
        stack.enter_context(undisturbed(model))
        args, kwargs = mapped((example.args, example.kwargs), torch.clone)
        model(*args, **kwargs)
    return seen


@contextmanager
def _watching(module: nn.Module, seen: Watched, keep: bool) -> Generator[None]:
    running = 0
    given: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
    cls: Any = type(module)

    class Reads(cls):  # type: ignore[misc]
        def __getattribute__(self, name: str) -> Any:
            if self is module and not name.startswith("__"):
                if running and name == "training":
                    seen.asks_mode = True
                elif not running and name not in _MACHINERY and name != "training":
                    seen.read.add(name)
            return super().__getattribute__(name)

    def before(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        nonlocal running
        running += 1
        given.append(mapped((args, kwargs), _meta))
        if keep and seen.values is None:
            seen.values = mapped((args, kwargs), torch.clone)

    def after(_: nn.Module, args: Any, output: object) -> None:
        nonlocal running
        running -= 1
        seen.calls.append(Call(*given.pop(), mapped(output, _meta)))

    handles = [
        module.register_forward_pre_hook(before, with_kwargs=True),
        module.register_forward_hook(after, always_call=True),
    ]
    module.__class__ = Reads
    try:
        yield
    finally:
        module.__class__ = cls
        for handle in handles:
            handle.remove()


@contextmanager
def writes_after(modules: Mapping[str, nn.Module]) -> Generator[set[str]]:
    """Which of these modules' outputs are written into later, in the block's forward.

    They are modules that hand on their input: what is written into their output is
    written into what others still read.
    """
    kept: list[tuple[str, Tensor, int]] = []
    written: set[str] = set()
    handles: list[Any] = []
    for path, module in modules.items():

        def note(_: nn.Module, args: Any, output: object, path: str = path) -> None:
            if isinstance(output, Tensor):
                kept.append((path, output, output._version))

        handles.append(module.register_forward_hook(note))
    try:
        yield written
    finally:
        for handle in handles:
            handle.remove()
        written |= {path for path, x, version in kept if x._version != version}


def _meta(x: Tensor) -> Tensor:
    return torch.empty(x.shape, dtype=x.dtype, device="meta")
