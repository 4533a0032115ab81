"""First means: the module itself is swapped for a small plain one."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from surgery.anatomy import find_fit, find_main
from surgery.anatomy._structure import walk
from surgery.errors import ShapeMismatchError
from surgery.excision._example import is_opaque
from surgery.excision._modules import (
    AbstractStandIn,
    Filled,
    Fitted,
    Held,
    Passed,
    Where,
    compact,
)
from surgery.excision._shapes import ShapeRule, find_rule
from surgery.excision._watch import Call, Watched
from surgery.ops import Constant, Edit, Identity, Mean, Zero


class Unfit(Exception):
    """Why a means does not serve; the next one is tried."""


def stand_in(
    module: nn.Module, seen: Watched, edit: Edit, device: torch.device | None
) -> nn.Module:
    """What may stand in the module's place.

    Args:
        module: The module that is to go.
        seen: What was seen of it.
        edit: The operation, with what it gathered from data.
        device: Where what it holds is to lie.

    Raises:
        Unfit: No plain module does the same.
    """
    component, operation = edit.component, edit.operation
    if edit.dial != 1:
        raise Unfit("at a dial below 1 it still runs")
    if not isinstance(operation, Zero | Identity | Constant | Mean):
        raise Unfit(f"{operation.mode} acts on what it computes")
    if component.call is not None and len(seen.calls) > 1:
        raise Unfit("its other calls stay")
    for call in seen.calls:
        for value in (*call.args, *call.kwargs.values()):
            if is_opaque(value):
                raise Unfit(f"it may fill the {type(value).__name__} that it is given")
    if seen.read:
        what = ", ".join(sorted(seen.read)[:3])
        raise Unfit(f"code outside of it reads its {what}")
    outputs = [_output(call) for call in seen.calls]
    name = component.name
    if isinstance(operation, Identity):
        return _passing(module, seen.calls, outputs, name)
    where, _ = _followed(seen.calls[0])
    rule = _rule(module, seen.calls, outputs, where)
    if isinstance(operation, Zero):
        return Filled(name, where, rule)
    if isinstance(operation, Constant) and not isinstance(operation.value, Tensor):
        return Filled(name, where, rule, operation.value)
    value = held_value(edit, outputs[0], len(seen.calls))
    return Held(name, where, rule, value).to(device)


def described(new: nn.Module) -> str:
    """What stands there, for a report."""
    return new.note if isinstance(new, AbstractStandIn) else "nn.Identity"


def held_value(edit: Edit, like: Tensor, calls: int = 1) -> Tensor:
    """The mean or the constant that the operation puts there, as small as it can be.

    Raises:
        Unfit: Each call has one of its own.
    """
    operation = edit.operation
    if isinstance(operation, Constant):
        value = torch.as_tensor(operation.value)
        return value.to(like.dtype).reshape(
            (1,) * (like.ndim - value.ndim) + value.shape
        )
    statistics = edit.statistics
    if calls > 1 or set(statistics) != {0}:
        raise Unfit("each of its calls has a mean of its own")
    # Laid out by the operation itself, on the CPU; where it will be used is not asked.
    pattern = torch.empty((), dtype=like.dtype).expand(like.shape)
    return compact(cast(Any, statistics[0]).expanded(pattern))


def replace_module(model: nn.Module, module: nn.Module, new: nn.Module) -> None:
    """Put `new` wherever `module` is registered."""
    new.train(module.training)
    for parent in model.modules():
        for name, child in parent._modules.items():
            if child is module:
                parent._modules[name] = new


def _output(call: Call) -> Tensor:
    if not isinstance(call.output, Tensor):
        raise Unfit(f"it returns a {type(call.output).__name__}, not one tensor")
    return call.output


def _followed(call: Call) -> tuple[Where, Tensor]:
    """The input that tells the output's shape: the main one."""
    found = find_main((call.args, call.kwargs))
    if found is None:
        raise Unfit("no tensor goes into it")
    return found[0][1:], found[1]


def _rule(
    module: nn.Module, calls: list[Call], outputs: list[Tensor], where: Where
) -> ShapeRule:
    first = calls[0]
    try:
        rule = find_rule(module, first.args, first.kwargs, outputs[0])
    except ShapeMismatchError as error:
        raise Unfit(str(error)) from error
    for call, out in zip(calls[1:], outputs[1:], strict=True):
        again, x = _followed(call)
        if again != where or not rule.gives(tuple(x.shape), tuple(out.shape)):
            raise Unfit("its calls have shapes that no one rule explains")
    return rule


def _passing(
    module: nn.Module, calls: list[Call], outputs: list[Tensor], name: str
) -> nn.Module:
    found: set[tuple[Where, str]] = set()
    for call, out in zip(calls, outputs, strict=True):
        given = list(walk((call.args, call.kwargs)))
        fit = find_fit([x for _, x in given], out)
        if fit is None:
            raise Unfit("no input fits in place of its output")
        found.add((given[fit.index][0][1:], fit.adapter))
    if len(found) > 1:
        raise Unfit("its calls need different adapters")
    (where, adapter), call = found.pop(), calls[0]
    if adapter != "yes":
        followed, _ = _followed(call)
        if followed != where:
            raise Unfit("the input that fits is not the one that its shape follows")
        return Fitted(name, where, _rule(module, calls, outputs, where), adapter)
    if where == (0,) and all(len(c.args) == 1 and not c.kwargs for c in calls):
        return nn.Identity()
    return Passed(name, where)
