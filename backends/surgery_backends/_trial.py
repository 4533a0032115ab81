"""Trials: what evaluators must know of a variant."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from torch import Tensor, nn

from surgery.anatomy import Component
from surgery.ops import Edit


class Trial(Protocol):
    """One set of components under one operation."""

    @property
    def components(self) -> Sequence[Component]:
        """What it operates on."""
        ...

    @property
    def edits(self) -> Sequence[Edit]:
        """Operations on outputs, in the order in which they act."""
        ...

    def tensors(self) -> Mapping[Tensor, Callable[[], Tensor]]:
        """What makes new values of the model's tensors that it changes."""
        ...

    def apply(self) -> Callable[[], None]:
        """Put it in effect; what is returned undoes it."""
        ...


@contextmanager
def clocked(
    model: nn.Module,
    trials: Sequence[Trial],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
) -> Generator[None]:
    """Have the operations of these trials see a forward of the model in this block."""
    clocks = {edit.clock for trial in trials for edit in trial.edits}
    given = tuple(args)
    for clock in clocks:
        clock.start(model, given, dict(kwargs))
    try:
        yield
    finally:
        for clock in clocks:
            clock.end(model, given, None)
