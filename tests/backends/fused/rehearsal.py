"""A CUDA graph without a GPU: calls recorded once, then made again in the same memory.

While it records, nothing may look at a value on the host, give a shape that depends on
values, draw random numbers or leave the device: what would break a recording, or what a
recording would not repeat.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

ATEN: Any = torch.ops.aten
# Tensors go to the host by these without a call that a dispatch mode sees.
_TO_HOST = {
    *(Tensor.cpu, Tensor.numpy, Tensor.tolist, Tensor.item, Tensor.__bool__),
    *(Tensor.__int__, Tensor.__float__, Tensor.__index__, Tensor.__array__),
    *(torch.equal, Tensor.equal, torch.nonzero, Tensor.nonzero, Tensor.data_ptr),
}


class Looked(AssertionError):
    """Something looked at a value."""


class _Functions(TorchFunctionMode):
    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if func in _TO_HOST:
            raise Looked(f"{func.__name__} brings values to the host")
        return func(*args, **(kwargs or {}))


class _Calls(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.made: list[tuple[Any, Any, Any, Any]] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        _refuse(func, args, kwargs)
        out = func(*args, **kwargs)
        self.made.append((func, args, kwargs, out))
        return out


def _refuse(func: Any, args: Any, kwargs: Any) -> None:
    name = str(func)
    masked = any(
        x.dtype in (torch.bool, torch.uint8)
        for indices in args[1:2]
        if name.startswith(("aten.index.Tensor", "aten.index_put"))
        for x in tree_leaves(indices)
        if isinstance(x, Tensor)
    )
    shapeless = (
        torch.Tag.dynamic_output_shape in func.tags
        and not name.startswith("aten.index.Tensor")
    ) or masked
    if torch.Tag.data_dependent_output in func.tags or "is_nonzero" in name:
        raise Looked(f"{name} brings a value to the host")
    if shapeless:
        raise Looked(f"{name} gives a shape that depends on values")
    if torch.Tag.nondeterministic_seeded in func.tags and "attention" not in name:
        raise Looked(f"{name} draws random numbers")
    if "device" in kwargs and kwargs["device"] not in (None, torch.device("cpu")):
        raise Looked(f"{name} leaves the device")


@contextmanager
def unseen() -> Generator[list[tuple[Any, Any, Any, Any]]]:
    """Refuse in this block what cannot be recorded, and record the rest."""
    with _Calls() as calls, _Functions():
        yield calls.made


def rehearse(body: Callable[[], None]) -> Callable[[], None]:
    """A recorder (see `Recorder`) that stands for CUDA graphs."""
    body()
    with unseen() as calls:
        body()

    @torch.no_grad()
    def again() -> None:
        for func, args, kwargs, held in calls:
            new = func(*args, **kwargs)
            for old, fresh in zip(tree_leaves(held), tree_leaves(new), strict=True):
                if isinstance(old, Tensor) and old.data_ptr() != fresh.data_ptr():
                    old.copy_(fresh)

    return again
