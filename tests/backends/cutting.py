"""Helpers of the tests of the scoped backend: components by hand, and their edits."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from surgery.anatomy import Component, Place, Site
from surgery.anatomy._component import Kind
from surgery.backend import get_backend
from surgery.ops import Clock, Edit, as_operation
from surgery.ops._base import AbstractOutputOperation


def part(
    kind: Kind,
    path: str,
    function: str,
    index: int | None = 0,
    operand: int | None = None,
    *,
    projected: bool = False,
    call: int | None = None,
    site_path: str | None = None,
    axis: int | None = None,
    pieces: tuple[tuple[int, int], ...] = (),
) -> Component:
    """A part whose place is known."""
    site = Site(
        path if site_path is None else site_path,
        function,
        index,
        operand=operand,
        call=call,
        axis=axis,
        pieces=pieces,
    )
    name = f"{path}:{kind}#{index}"
    place = Place((site,), projected=projected)
    return Component(
        name, kind, path, call=call, index=index, operand=operand, place=place
    )


def install(
    model: nn.Module, component: Component, mode: Any = "zero", dial: float = 1.0
) -> tuple[Edit, Callable[[], None]]:
    """An edit in effect, and what undoes it."""
    clock = Clock()
    stop = clock.watch(model)
    operation = as_operation(mode)
    assert isinstance(operation, AbstractOutputOperation)
    edit = Edit(component, operation, clock, dial=dial)
    detach = get_backend("scoped", component).attach(model, component, edit)

    def undo() -> None:
        detach()
        stop()

    return edit, undo


@contextmanager
def cut(
    model: nn.Module, component: Component, mode: Any = "zero", dial: float = 1.0
) -> Generator[Edit]:
    """An edit in effect in a block; checks that nothing is left of it."""
    edit, undo = install(model, component, mode, dial)
    try:
        yield edit
    finally:
        undo()
        assert_clean(model)


def assert_clean(model: nn.Module) -> None:
    """No hook, no attribute, no function mode is left."""
    assert not torch.overrides._get_current_function_mode_stack()
    for module in model.modules():
        tables = {k: v for k, v in vars(module).items() if k.startswith("_forward")}
        assert not any(tables.values()), (module, tables)
        assert "forward" not in vars(module)
