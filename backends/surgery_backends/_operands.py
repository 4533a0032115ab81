"""What a tap reads of a function's call, and what it puts in its place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor

from surgery.anatomy import Component, Site, is_in_place, operands, with_operand
from surgery.errors import TargetError
from surgery.ops import Inputs

Arguments = tuple[tuple[Any, ...], dict[str, Any]]
NO_INPUTS: Inputs = ((), {})


def operand_of(site: Site, arguments: Arguments, component: Component) -> Tensor:
    """The operand that a site means.

    Raises:
        TargetError: The call has no such operand, or it is no tensor.
    """
    given = operands(site.function, *arguments)
    position = site.operand or 0
    found = given[position] if position < len(given) else None
    if not isinstance(found, Tensor):
        tensors = [f"arg{n}" for n, x in enumerate(given) if isinstance(x, Tensor)]
        raise TargetError(
            f"'{component}': this call of {site.function} has no tensor in place "
            f"{position}; its tensors are {', '.join(tensors) or 'none'}"
        )
    return found


def with_new_operand(site: Site, arguments: Arguments, new: Tensor) -> Arguments:
    """The call's arguments with `new` in the operand's place."""
    return with_operand(site.function, *arguments, site.operand or 0, new)


def written(func: Callable[..., Any], arguments: Arguments) -> Tensor | None:
    """The tensor that this call changes, if it works in place."""
    args, kwargs = arguments
    if kwargs.get("out") is not None:
        return cast("Tensor", kwargs["out"])
    if is_in_place(func) or kwargs.get("inplace") is True:
        return cast("Tensor", args[0] if args else kwargs["input"])
    return None


def unaliased(site: Site, arguments: Arguments, changes: Tensor) -> Arguments:
    """The call's arguments, with copies of what shares the memory that it changes.

    In `y *= y` each operand has a value of its own, whatever is written into the other.
    """
    read = 0 if arguments[1].get("out") is not None else 1
    for position, operand in enumerate(operands(site.function, *arguments)):
        if position >= read and isinstance(operand, Tensor):
            if _is_alias(operand, changes):
                new = operand.clone()
                arguments = with_operand(site.function, *arguments, position, new)
    return arguments


def with_target(arguments: Arguments, old: Tensor, new: Tensor) -> Arguments:
    """The call's arguments, so that it changes `new` where it would change `old`."""
    args, kwargs = arguments
    if kwargs.get("out") is old:
        return args, {**kwargs, "out": new}
    if args:
        return (new, *args[1:]), kwargs
    return args, {**kwargs, "input": new}


def part_of(tensor: Tensor, site: Site) -> Tensor:
    """What a site means of a tensor: all of it, or pieces of one axis."""
    if site.axis is None:
        return tensor
    if len(site.pieces) == 1:
        first, last = next(iter(site.pieces))
        return tensor.narrow(site.axis, first, last - first + 1)
    return tensor.index_select(site.axis, _index(tensor, site))


def with_part(tensor: Tensor, site: Site, part: Tensor) -> Tensor:
    """`tensor` with other values where the site's pieces are."""
    if site.axis is None:
        return part
    if len(site.pieces) > 1:
        return tensor.index_copy(site.axis, _index(tensor, site), part)
    first, last = next(iter(site.pieces))
    return with_range(tensor, site.axis, first, last, part)


def with_range(tensor: Tensor, axis: int, first: int, last: int, new: Tensor) -> Tensor:
    """`tensor` with `new` in a range of an axis."""
    before = tensor.narrow(axis, 0, first)
    after = tensor.narrow(axis, last + 1, tensor.shape[axis] - last - 1)
    return torch.cat([before, new, after], axis)


def _is_alias(one: Tensor, two: Tensor) -> bool:
    if one is two or torch.compiler.is_compiling():
        return one is two  # the tracer knows no memory
    shared: bool = torch._C._is_alias_of(one, two)  # type: ignore  # no public way
    return shared


def _index(tensor: Tensor, site: Site) -> Tensor:
    numbers = [n for first, last in site.pieces for n in range(first, last + 1)]
    return torch.tensor(numbers, device=tensor.device)
