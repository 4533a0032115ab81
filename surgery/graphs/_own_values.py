"""Values in a trace: what traced ones stand for, and what code may know of others."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, fx, nn

from surgery.anatomy._structure import mapped
from surgery.graphs._traced import is_traced

PLAIN = (type(None), bool, int, float, complex, str, bytes, type(...))
"""Types of values that Python code may compare and compute with."""
CONSTANT = (*PLAIN, torch.dtype, torch.device, torch.layout, torch.memory_format)
"""Types whose values are written into the graph as they are."""


def values(value: Any) -> Any:
    """`value` with what traced values were in the example run."""
    if is_traced(value):
        return value._value
    if type(value) in (tuple, list):
        return type(value)(values(x) for x in value)
    if type(value) is torch.Size:
        return value
    if type(value) is dict:
        return {key: values(x) for key, x in value.items()}
    if type(value) is slice:
        return slice(values(value.start), values(value.stop), values(value.step))
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        make: Any = type(value)
        return make(*(values(x) for x in value))
    return mapped(value, values) if isinstance(value, Mapping) else value


def rebuilt(value: Any, items: Iterable[Any]) -> Any:
    """A sequence of the same type with other items."""
    return type(value)(items)


def nodes_of(value: Any) -> list[fx.Node]:
    if is_traced(value):
        return [value._node]
    if isinstance(value, (tuple, list)):
        return [n for x in cast("Sequence[Any]", value) for n in nodes_of(x)]
    if type(value) is dict:
        return [n for x in value.values() for n in nodes_of(x)]
    if type(value) is slice:
        return nodes_of((value.start, value.stop, value.step))
    return []


def any_traced(value: Any) -> bool:
    return bool(nodes_of(value))


_SYMBOLS = {
    **{"gt": ">", "lt": "<", "ge": ">=", "le": "<=", "eq": "==", "ne": "!="},
    **{"add": "+", "sub": "-", "mul": "*", "floordiv": "//", "truediv": "/"},
    "mod": "%",
}


def spelled(value: Any) -> str:
    """What a node computes, as a reader of the code would write it."""
    if not isinstance(value, fx.Node):
        return repr(value)
    args = [spelled(x) for x in value.args[:2]]
    name = getattr(value.target, "__name__", str(value.target))
    if value.target is getattr:
        return f"{args[0]}.{value.args[1]}"
    if value.target is operator.getitem:
        return f"{args[0]}[{args[1]}]"
    if value.op == "call_function" and name in _SYMBOLS and len(args) == 2:
        return f"({args[0]} {_SYMBOLS[name]} {args[1]})"
    if value.op in ("placeholder", "get_attr"):
        return name.lstrip("*")
    return f"{name}(...)" if value.op != "call_method" else f"{args[0]}.{name}(...)"


def plain_attributes(module: nn.Module) -> list[tuple[str, str, object]]:
    """What the code would have to assign to modules to change."""
    found: list[tuple[str, str, object]] = []
    for path, part in module.named_modules():
        for name, value in (*vars(part).items(), *part._buffers.items()):
            if isinstance(value, (*PLAIN, Tensor)):
                value = values(value)  # the same tensor, after a change in place
                plain = isinstance(value, PLAIN)
                found.append((path, name, value if plain else id(value)))
    return found


def called(target: Any, args: tuple[Any, ...]) -> Any:
    """The torch function that a node calls; None if a recording would note none."""
    if isinstance(target, str):
        if not isinstance(args[0], Tensor):
            return None
        return getattr(torch.Tensor, target, None)
    if getattr(target, "__module__", "") == "_operator":
        if not any(isinstance(x, Tensor) for x in args):
            return None
        return getattr(torch.Tensor, f"__{target.__name__.strip('_')}__", None)
    return None if target in (getattr, len) else target
