"""Looks: whether Python values and random generators are as they were before."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Mapping
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

_PRIMITIVE = (int, float, complex, bool, str, bytes, type(None))
_LEAVES = (nn.Module, type, FunctionType, MethodType, BuiltinFunctionType, ModuleType)
_MOST = 20_000
_STANDARD = frozenset(vars(nn.Module())) - {"_parameters", "_buffers", "training"}

Look = list[tuple[object, int]]
"""What a value holds: its leaves, and of tensors the version that they were at."""


def look(value: object, seen: set[int] | None = None) -> Look:
    """What `value` holds now, through containers and objects."""
    leaves: Look = []
    _walk(value, leaves, set() if seen is None else seen)
    return leaves


def alike(one: Look, other: Look) -> bool:
    """Whether nothing has been put in, taken out, replaced or changed in place."""
    if len(one) != len(other) or len(one) >= _MOST:
        return False
    return all(
        v == w and (a is b or (type(a) is type(b) and _equal(a, b)))
        for (a, v), (b, w) in zip(one, other, strict=True)
    )


def attributes(module: nn.Module, key: str) -> Look:
    """What an attribute of a module holds now."""
    return look(vars(module).get(key))


def state(model: nn.Module) -> dict[tuple[nn.Module, str], Look]:
    """What the attributes of all modules hold now, each object once."""
    seen: set[int] = set()
    return {
        (module, key): look(value, seen)
        for module in model.modules()
        for key, value in vars(module).items()
        if key not in _STANDARD and key != "forward"
    }


def random_state() -> list[Any]:
    """The global generators of torch, numpy and Python, as values to compare."""
    states: list[Any] = [torch.default_generator.get_state()]
    if torch.cuda.is_initialized():
        states += torch.cuda.get_rng_state_all()
    kept = [bytes(s.numpy()) for s in states]
    kind, keys, *rest = cast("tuple[Any, ...]", np.random.get_state())
    return [kept, random.getstate(), kind, keys.tobytes(), rest]


def _equal(one: object, other: object) -> bool:
    return isinstance(one, _PRIMITIVE) and one == other


def _walk(value: Any, leaves: Look, seen: set[int]) -> None:
    if len(leaves) >= _MOST:
        return
    if isinstance(value, Tensor):
        leaves.append((value, -1 if value.is_inference() else value._version))
    elif isinstance(value, (*_PRIMITIVE, *_LEAVES)):
        leaves.append((value, 0))
    elif id(value) in seen:
        return
    else:
        seen.add(id(value))
        inside: list[Any] = []
        if isinstance(value, Mapping):
            inside = [x for pair in value.items() for x in pair]
        elif isinstance(value, (list, tuple, set, frozenset, deque)):
            inside = list(cast("list[Any]", value))
        inside += list(getattr(value, "__dict__", {}).values())
        leaves.append((type(value), len(inside)))
        if not inside:
            leaves.append((value, 0))
        for item in inside:
            _walk(item, leaves, seen)
