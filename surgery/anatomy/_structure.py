"""Structured values: the tensors inside tuples, lists, dicts and model outputs.

A component may return a tensor or any nest of containers around tensors. Its *main*
tensor is the first floating-point one in order of the containers (the first of any
type where none is floating): a block's hidden states, not its attention weights.
"""

from __future__ import annotations

import copy
import dataclasses
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

Path = tuple[Any, ...]
Nest = TypeVar("Nest")


def walk(value: object, path: Path = ()) -> Iterator[tuple[Path, Tensor]]:
    """Every tensor inside `value`, with the keys that lead to it."""
    if isinstance(value, Tensor):
        yield path, value
        return
    for key, item in _items(value):
        yield from walk(item, (*path, key))


def tensors(value: object) -> list[Tensor]:
    """Every tensor inside `value`, in order."""
    return [tensor for _, tensor in walk(value)]


def find_main(value: object) -> tuple[Path, Tensor] | None:
    """The main tensor of `value` with the keys that lead to it, if it has a tensor."""
    first: tuple[Path, Tensor] | None = None
    for found in walk(value):
        if found[1].is_floating_point() or found[1].is_complex():
            return found
        first = first or found
    return first


def main_tensor(value: object) -> Tensor | None:
    """The main tensor of `value`, if it has a tensor."""
    found = find_main(value)
    return None if found is None else found[1]


def replaced(value: object, path: Path, tensor: Tensor) -> object:
    """`value` rebuilt, container by container, with `tensor` at `path`.

    The containers on the way are new objects of the same types; everything beside
    the path is the same object as before.
    """
    if not path:
        return tensor
    key, rest = path[0], path[1:]
    items = dict(_items(value))
    return _with_item(value, key, replaced(items[key], rest, tensor))


def mapped(value: Nest, function: Callable[[Tensor], Tensor]) -> Nest:
    """`value` rebuilt with `function` applied to every tensor in it."""
    for path, tensor in list(walk(value)):
        value = cast("Nest", replaced(value, path, function(tensor)))
    return value


def close(expected: object, found: object, tolerance: float) -> bool:
    """Whether two values agree, tensor by tensor.

    Args:
        expected: What should be there.
        found: What is there.
        tolerance: How far they may be apart, as a part of the largest finite value of
            each expected tensor; with 0 they are the same bits. Types of lower
            precision may be 8 of their own steps apart.
    """
    ours, theirs = tensors(expected), tensors(found)
    return len(ours) == len(theirs) and all(
        _close(a, b, tolerance) for a, b in zip(ours, theirs, strict=True)
    )


def _close(a: Tensor, b: Tensor, tolerance: float) -> bool:
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    if not (tolerance and a.is_floating_point() and a.numel()):
        return torch.equal(a, b)
    finite = a[a.isfinite()]
    scale = float(finite.abs().max()) if finite.numel() else 0.0
    allowed = max(tolerance, 8 * torch.finfo(a.dtype).eps) * scale
    return torch.allclose(a, b, rtol=0, atol=allowed, equal_nan=True)


def _items(value: object) -> list[tuple[Any, object]]:
    if isinstance(value, Mapping):
        return list(cast("Mapping[Any, object]", value).items())
    if isinstance(value, (tuple, list)):
        return list(enumerate(cast("tuple[object, ...] | list[object]", value)))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [(f.name, getattr(value, f.name)) for f in dataclasses.fields(value)]
    return []


def _with_item(value: Any, key: Any, item: object) -> object:
    if isinstance(value, tuple):
        sequence = cast("tuple[object, ...]", value)
        values = [*sequence[:key], item, *sequence[key + 1 :]]
        make: Any = type(sequence)
        return make(*values) if hasattr(make, "_fields") else make(values)
    if isinstance(value, list):
        replaced_list = copy.copy(cast("list[object]", value))
        replaced_list[key] = item
        return replaced_list
    if dataclasses.is_dataclass(value) and not isinstance(value, Mapping):
        # Not `dataclasses.replace`, which refuses fields that `__init__` does not take.
        rebuilt = copy.copy(cast("Any", value))
        object.__setattr__(rebuilt, key, item)
        return rebuilt
    pairs = {**value, key: item}
    if type(value) in (dict, OrderedDict):
        return cast("Any", type(value))(pairs)
    if dataclasses.is_dataclass(value):  # a Hugging Face ModelOutput is both
        return cast("Any", type(value))(**pairs)
    changed = copy.copy(value)
    changed[key] = item
    return changed
