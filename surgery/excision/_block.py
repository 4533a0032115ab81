"""A block whose own code was rewritten: the same object, another way through it."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch
from torch import fx, nn

from surgery.errors import ShapeMismatchError

_MARK = "_rewritten_by_surgery"


@dataclass(frozen=True)
class _Import:
    """A module that the code uses, by name: modules do not pickle."""

    name: str


@dataclass(frozen=True)
class _Code:
    """A block's new code: what its class is made of anew where it is unpickled.

    Attributes:
        base: The class that the block had.
        source: Python source of a function `forward`.
        names: What that source uses, by name.
    """

    base: type[nn.Module]
    source: str
    names: dict[str, Any]


def give_code(block: nn.Module, graph: fx.Graph) -> None:
    """Give a block new code, in place; it stays an instance of its class.

    Everything else of its class stays: methods, properties, `train`, extra state, what
    its `__call__` does. Its new class is a subclass made for it alone. An
    `fx.GraphModule` would lose all of that, and a `forward` of the instance's own
    would not go along into replicas of the block.
    """
    code = graph.python_code("self")
    names = {
        name: _Import(value.__name__) if isinstance(value, ModuleType) else value
        for name, value in code.globals.items()
    }
    own: _Code | None = getattr(block, _MARK, None)
    base = type(block) if own is None else own.base
    cls = _class_of(_Code(base, code.src, names))
    block.__dict__.pop("forward", None)
    block.__class__ = cls


def _class_of(code: _Code) -> type[nn.Module]:
    base: Any = code.base
    space: dict[str, Any] = {
        name: importlib.import_module(value.name)
        if isinstance(value, _Import)
        else value
        for name, value in code.names.items()
    }
    exec(code.source, space)

    class Rewritten(base):  # type: ignore[misc]
        # Here and not later: a base class may wrap the forwards of its subclasses.
        forward = space["forward"]

        def __reduce_ex__(self, protocol: Any) -> Any:
            # Its class has no name to be imported by.
            make, args, *rest = super().__reduce_ex__(protocol)
            if args and args[0] is type(self):
                return (_empty, (code,), *rest)
            return make, args, *rest

        def extra_repr(self) -> str:
            return ", ".join(filter(None, (super().extra_repr(), "rewritten")))

    made: Any = Rewritten
    setattr(made, _MARK, code)
    if not hasattr(base, "code"):
        made.code = code.source
    for name in ("__name__", "__qualname__", "__module__", "__doc__"):
        setattr(made, name, getattr(base, name))
    return made  # type: ignore[no-any-return]


def _empty(code: _Code) -> nn.Module:
    """A block of this code, to be filled with its state."""
    cls = _class_of(code)
    return cls.__new__(cls)


def expect(given: object, value: object, name: str, block: str) -> None:
    """Holds a rewritten block to the arguments with which it was traced.

    Raises:
        ShapeMismatchError: Another value was given.
    """
    same = given is value
    if not same and not isinstance(given, torch.Tensor) and value is not None:
        same = type(given) is type(value) and given == value
    if not same:
        what = type(given).__name__ if isinstance(given, torch.Tensor) else repr(given)
        raise ShapeMismatchError(
            f"{block} was rewritten for {name}={value!r}, and is now called with "
            f"{what}; excise with inputs= and kwargs= that make the same calls"
        )
