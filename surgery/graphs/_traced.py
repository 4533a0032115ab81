"""Traced: values on their way through a forward, which note what is done to them.

Unlike a proxy of torch.fx they know what they are in the example run, so that code may
ask for their type, unpack them and branch on sizes: what a branch relied on is written
into the graph as a requirement.
"""

from __future__ import annotations

import dis
import operator
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx

if TYPE_CHECKING:
    from surgery.graphs._own_tracer import OwnTracer


class TracedTensor(Tensor):
    """A tensor: torch functions get to the tracer, which is a torch function mode."""

    _tracer: OwnTracer
    _node: fx.Node
    _value: Tensor

    @classmethod
    def __torch_function__(
        cls,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        # Left in a global, say, or used where the tracer does not look.
        raise TypeError(f"a traced value outlived its trace ({func.__name__})")

    def __bool__(self) -> bool:
        self._tracer.refuse(_ON_DATA)

    def __int__(self) -> int:
        self._tracer.refuse(_ON_DATA)

    def __float__(self) -> float:
        self._tracer.refuse(_ON_DATA)

    def __index__(self) -> int:
        self._tracer.refuse(_ON_DATA)

    def item(self) -> Any:
        self._tracer.refuse(_ON_DATA)

    def tolist(self) -> Any:
        self._tracer.refuse(_ON_DATA)

    def numpy(self, *, force: bool = False) -> Any:
        self._tracer.refuse(_ON_DATA)

    def __contains__(self, item: Any) -> bool:
        self._tracer.refuse(_ON_DATA)

    def __hash__(self) -> int:
        return id(self)

    def __repr__(self, **_: Any) -> Any:  # type: ignore[override]
        return f"Traced({self._node})"

    def __len__(self) -> int:
        return int(self._tracer.required(len, self))

    def __iter__(self) -> Iterator[Any]:
        unpacked = _is_unpacked(sys._getframe(1))
        length = len(self._value) if unpacked else len(self)
        return iter([self[i] for i in range(length)])


class Traced:
    """Any other value, as a size or what a module returns."""

    def __init__(self, tracer: OwnTracer, node: fx.Node, value: Any) -> None:
        self.__dict__.update(_tracer=tracer, _node=node, _value=value)

    @property
    def __class__(self) -> Any:  # pyright: ignore
        return type(self._value)  # code asks isinstance(x, tuple)

    @__class__.setter
    def __class__(self, value: Any) -> None:
        raise TypeError("the type of a traced value is fixed")

    @classmethod
    def __torch_function__(
        cls,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        raise TypeError(f"a traced value outlived its trace ({func.__name__})")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)  # protocols that a value does not follow
        tracer: OwnTracer = self._tracer
        if callable(getattr(self._value, name)):
            return partial(tracer.method, name, self)
        return tracer.function(getattr, self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        self._tracer.refuse(f"sets an attribute ({name}) of a value")

    def __setitem__(self, key: Any, value: Any) -> None:
        self._tracer.function(operator.setitem, self, key, value)

    def __bool__(self) -> bool:
        return bool(self._tracer.required(bool, self))

    def __index__(self) -> int:
        return int(self._tracer.required(operator.index, self))

    def __int__(self) -> int:
        return int(self._tracer.required(int, self))

    def __float__(self) -> float:
        return float(self._tracer.required(float, self))

    def __hash__(self) -> int:
        return hash(self._tracer.required(None, self))

    def __str__(self) -> str:
        return str(self._tracer.required(None, self))

    def __repr__(self) -> str:
        return f"Traced({self._node})"

    def __format__(self, spec: str) -> str:
        return format(self._tracer.required(None, self), spec)

    def __contains__(self, item: Any) -> bool:
        return bool(self._tracer.function(operator.contains, self, item))

    def __len__(self) -> int:
        if isinstance(self._value, torch.Size):  # dimensions do not change in number
            return len(self._value)
        return int(self._tracer.required(len, self))

    def __iter__(self) -> Iterator[Any]:
        unpacked = _is_unpacked(sys._getframe(1))
        length = len(self._value) if unpacked else len(self)
        if isinstance(self._value, dict):
            return iter(list(self._value))
        itself: Any = self
        return iter([itself[i] for i in range(length)])


_ON_DATA = "branches on the data in a tensor"


def as_traced(tracer: OwnTracer, node: fx.Node, value: Any) -> Any:
    """A value that notes what is done to it."""
    if not isinstance(value, Tensor):
        return Traced(tracer, node, value)
    with torch._C.DisableTorchFunction():
        made: Any = Tensor._make_subclass(TracedTensor, value.detach())
    made._tracer, made._node, made._value = tracer, node, value
    return made


def is_traced(value: object) -> bool:
    return type(value) is Traced or type(value) is TracedTensor


def _is_unpacked(frame: Any) -> bool:
    for instruction in dis.get_instructions(frame.f_code):
        if instruction.offset == frame.f_lasti:
            return instruction.opname == "UNPACK_SEQUENCE"
    return False


def _define_operators() -> None:
    def unary(func: Callable[..., Any]) -> Callable[..., Any]:
        def method(self: Any) -> Any:
            return self._tracer.function(func, self)

        return method

    def binary(func: Callable[..., Any]) -> Callable[..., Any]:
        def method(self: Any, other: Any) -> Any:
            return self._tracer.function(func, self, other)

        return method

    def reflected(func: Callable[..., Any]) -> Callable[..., Any]:
        def method(self: Any, other: Any) -> Any:
            return self._tracer.function(func, other, self)

        return method

    def by_name(name: str) -> Callable[..., Any]:
        def method(self: Any, *args: Any, **kwargs: Any) -> Any:
            return self._tracer.method(name, self, *args, **kwargs)

        return method

    # Torch's own parsers do not take traced sizes one by one.
    for name in _OF_SIZES:
        setattr(TracedTensor, name, by_name(name))
    for name in ("neg", "pos", "invert", "abs"):
        setattr(Traced, f"__{name}__", unary(getattr(operator, name)))
    for name in ("eq", "ne", "lt", "le", "gt", "ge", "getitem"):
        setattr(Traced, f"__{name}__", binary(getattr(operator, name)))
    for name in (
        *("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul"),
        *("and", "or", "xor", "lshift", "rshift"),
    ):
        func = getattr(operator, f"{name}_" if name in ("and", "or") else name)
        setattr(Traced, f"__{name}__", binary(func))
        setattr(Traced, f"__r{name}__", reflected(func))
        in_place = getattr(operator, f"i{name}")
        setattr(Traced, f"__i{name}__", binary(in_place))


_OF_SIZES = (
    *("view", "reshape", "expand", "repeat", "permute", "tile", "flatten", "split"),
    *("new_zeros", "new_ones", "new_empty", "new_full", "unflatten", "narrow"),
)

_define_operators()
