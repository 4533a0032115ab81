"""Outputs of calls: which can be remembered, and how they are handed out again."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from surgery.anatomy import mapped, tensors

_CONSTANT = (int, float, complex, bool, str, bytes, type(None))
_CONSTANTS = (*_CONSTANT, torch.dtype, torch.device, torch.Size)


def can_be_kept(output: Any) -> bool:
    """Whether an output is nothing but plain tensors and constants, in containers."""
    if isinstance(output, Tensor):
        return (
            type(output) in (Tensor, nn.Parameter)
            and output.layout is torch.strided
            and not (output.requires_grad or output.is_inference() or output.is_nested)
        )
    if isinstance(output, _CONSTANTS):
        return True
    items: list[Any]
    if isinstance(output, Mapping):
        items = list(output.values())
    elif isinstance(output, (tuple, list)):
        items = cast("list[Any]", output)
    elif dataclasses.is_dataclass(output) and not isinstance(output, type):
        items = list(vars(output).values())
    else:
        return False
    return all(can_be_kept(item) for item in items)


def can_be_cloned(output: Any, args: Any) -> bool:
    """Whether clones may stand for its tensors in code that changes them in place.

    Not where that change is seen elsewhere too: in what went into the call, or in
    another of the tensors; nor where a clone is laid out otherwise.
    """
    found = list({id(t): t for t in tensors(output)}.values())
    homes = {storage(t) for t in found}
    return (
        len(homes) == len(found)
        and not homes & {storage(t) for t in tensors(args) if _is_plain(t)}
        and all(torch.empty_like(t).stride() == t.stride() for t in found)
    )


def handed(output: Any, give: Callable[[Tensor], Tensor]) -> Any:
    """An output in containers of its own, with `give` of each tensor, called once."""
    given: dict[int, Tensor] = {}

    def once(tensor: Tensor) -> Tensor:
        if id(tensor) not in given:
            given[id(tensor)] = give(tensor)
        return given[id(tensor)]

    return _rebuilt(output, once)


def own(output: Any) -> Any:
    """An output that shares no memory with what is remembered."""
    return handed(output, lambda tensor: tensor.detach().clone())


def storage(tensor: Tensor) -> int:
    """Tells memory apart, while it is in use."""
    return int(tensor.untyped_storage()._cdata)


def _is_plain(tensor: Tensor) -> bool:
    return tensor.layout is torch.strided and not tensor.is_nested


def _rebuilt(value: Any, give: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(value, Tensor):
        return give(value)
    if type(value) is list:
        return [_rebuilt(item, give) for item in cast("Any", value)]
    if type(value) is tuple:
        return tuple(_rebuilt(item, give) for item in cast("Any", value))
    if type(value) is dict:
        pairs = cast("Any", value)
        return {key: _rebuilt(item, give) for key, item in pairs.items()}
    return mapped(value, give)
