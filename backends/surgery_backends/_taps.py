"""Taps: an action at places in modules' own code, and what happens when one is met."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from typing import Any, NamedTuple

import torch
from torch import Tensor

from surgery.anatomy import Component, Site, mapped
from surgery.backend import Action
from surgery.errors import OperationError
from surgery.ops import Edit, Identity, Inputs
from surgery_backends._mha import MULTI_HEAD, attend
from surgery_backends._operands import NO_INPUTS as NO_INPUTS
from surgery_backends._operands import (
    Arguments,
    operand_of,
    part_of,
    unaliased,
    with_new_operand,
    with_part,
    with_target,
    written,
)
from surgery_backends._running import outside

_SERIAL = count()


class Tap:
    """An action at one component, wherever in the code that is.

    Attributes:
        wants_owner: Whether it may need what went into the owner.
        serial: Tells which of two was attached first.
    """

    def __init__(self, action: Action, component: Component) -> None:
        self.serial = next(_SERIAL)
        self.action = action
        self.component = component
        place = component.place
        self.wants_owner = (
            action.wants_inputs
            and component.kind in ("skip", "branch")
            and (place is None or place.projected)
        )

    def __call__(self, value: object, inputs: Inputs) -> object:
        index = self.action.clock.tick(id(self))
        with outside():
            return self.action(value, inputs, index)

    def inputs(self, met: Met) -> Inputs:
        """What the action is handed as inputs."""
        if not self.action.wants_inputs:
            return NO_INPUTS
        kind = self.component.kind
        if kind == "function":
            return met.call.arguments
        if kind in ("skip", "branch") and met.projected:
            return met.owner
        if kind == "branch":
            other = Site(
                met.site.path, met.site.function, operand=1 - (met.site.operand or 0)
            )
            return (operand_of(other, met.call.arguments, self.component),), {}
        if kind == "skip":
            self._refuse_identity()
        return NO_INPUTS

    def _refuse_identity(self) -> None:
        if isinstance(self.action, Edit) and isinstance(
            self.action.operation, Identity
        ):
            raise OperationError(
                f"mode='identity' makes no sense on {self.component}: this skip is "
                "the block's input itself; on it these do: zero, mean, resample, "
                "noise, constant, callable"
            )


class SiteTap:
    """A tap at one of its sites.

    Attributes:
        projected: Whether a skip, or that beside a branch, is computed from the input.
    """

    def __init__(self, tap: Tap, site: Site, projected: bool) -> None:
        component = tap.component
        self.tap = tap
        self.site = site
        self.projected = projected
        own = component.call if site.path == component.path else None
        self.call = own if site.call is None else site.call

    def takes_part(self) -> bool:
        """Whether it acts in the call of its module that begins; counts calls."""
        if self.call is None:
            return True
        clock = self.tap.action.clock
        if not clock.under_way:
            raise OperationError(
                f"{self.tap.component} ran outside of a forward of the model (in "
                "another method, or again under activation checkpointing), where "
                "calls cannot be counted; call the model itself, as in model(x), or "
                "target all calls of the module"
            )
        return clock.tick(id(self)) == self.call


class Called(NamedTuple):
    """One call of a function, with its arguments as they were before anything acted."""

    func: Callable[..., Any]
    arguments: Arguments


class Met(NamedTuple):
    """One tap meeting one call of a function."""

    tap: Tap
    site: Site
    projected: bool
    owner: Inputs
    call: Called

    def replace(self, value: Tensor) -> Tensor:
        """`value` with what the action makes of it, or of the site's part of it."""
        part = part_of(value, self.site)
        new = self.tap(part, self.tap.inputs(self))
        if new is part or not isinstance(new, Tensor):
            return value
        return with_part(value, self.site, new)


class Wanted(NamedTuple):
    """What is to happen at one call of a function."""

    tap: Tap
    site: Site
    projected: bool
    owner: Inputs


def run_cut(
    func: Callable[..., Any], arguments: Arguments, wanted: Sequence[Wanted]
) -> Any:
    """Call the function with actions on its operands and on what comes out."""
    changes = written(func, arguments)
    # Copies: by the time an action looks, the function may have changed its inputs.
    kept = changes is not None and any(w.tap.action.wants_inputs for w in wanted)
    call = Called(func, mapped(arguments, torch.clone) if kept else arguments)
    in_order = sorted(wanted, key=lambda w: w.tap.serial)
    met = [Met(*w, call) for w in in_order]
    heads = [m for m in met if m.site.function == MULTI_HEAD and m.site.pieces]
    operands = [m for m in met if m.site.operand is not None]
    if operands and changes is not None:
        arguments = unaliased(operands[0].site, arguments, changes)
    for m in operands:
        arguments = _with_operand_cut(m, arguments, changes)
    results = [m for m in met if m.site.operand is None and m not in heads]
    if heads:
        output = attend(func, arguments, lambda value: _in_turn(heads, value))
    elif results and changes is not None:
        return _written_cut(func, arguments, changes, results)
    else:
        output = func(*arguments[0], **arguments[1])
    for m in results:
        output = _result_cut(m, output)
    return output


def _written_cut(
    func: Callable[..., Any], arguments: Arguments, changes: Tensor, met: Sequence[Met]
) -> Tensor:
    """Replace what comes out of a function that works in place."""
    # It works on a copy: what it keeps for backward must not change in place.
    args, kwargs = with_target(arguments, changes, changes.clone())
    output: Tensor = func(*args, **kwargs)
    for m in met:
        output = m.replace(output)
    return changes.copy_(output)


def _with_operand_cut(
    met: Met, arguments: Arguments, changes: Tensor | None
) -> Arguments:
    operand = operand_of(met.site, arguments, met.tap.component)
    if operand is not changes:
        new = met.replace(operand)
        if new is operand:
            return arguments
        return with_new_operand(met.site, arguments, new)
    # A copy: what the action keeps for backward must not change in place.
    before = operand.clone()
    new = met.replace(before)
    if new is not before:
        operand.copy_(new)
    return arguments


def _result_cut(met: Met, output: object) -> object:
    if isinstance(output, Tensor):
        return met.replace(output)
    return met.tap(output, met.tap.inputs(met))


def _in_turn(met: Sequence[Met], value: Tensor) -> Tensor:
    for m in met:
        value = m.replace(value)
    return value
