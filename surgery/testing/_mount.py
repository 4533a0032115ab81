"""One operation placed by a backend at one component of a model."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn

from surgery.anatomy import Component
from surgery.backend import AbstractBackend
from surgery.ops import (
    AbstractOutputOperation,
    Call,
    Clock,
    Constant,
    Edit,
    Firing,
    Identity,
    Mean,
    Noise,
    Observer,
    Replacement,
    Resample,
    Zero,
)


@final
class Mounted:
    """An edit in effect, until `remove`."""

    def __init__(
        self,
        backend: AbstractBackend,
        model: nn.Module,
        component: Component,
        operation: AbstractOutputOperation,
        dial: float = 1.0,
        data: Iterable[dict[str, Tensor]] = (),
    ) -> None:
        clock = Clock()
        self.edit = Edit(component, operation, clock, dial=dial)
        if operation.statistic(component, 0) is not None and (data := list(data)):
            self._observe(backend, model, data)
        with ExitStack() as stack:
            stack.callback(clock.watch(model))
            stack.callback(backend.attach(model, component, self.edit))
            self._undo = stack.pop_all()  # not undone at the end of this block

    def remove(self) -> None:
        """Take it away."""
        self._undo.close()

    def _observe(
        self, backend: AbstractBackend, model: nn.Module, data: list[dict[str, Tensor]]
    ) -> None:
        observer = Observer(self.edit, 0)
        clock = self.edit.clock
        with ExitStack() as stack, torch.no_grad():
            stack.callback(clock.watch(model))
            stack.callback(backend.attach(model, observer.component, observer))
            for batch in data:
                model(**batch)
        observer.finish()
        clock.restart()


@final
@dataclass(frozen=True)
class WatchedNoise(AbstractOutputOperation):
    """Noise that tells what it added, so that the same can be added by hand."""

    added: list[Tensor] = field(default_factory=list[Tensor])
    mode: ClassVar[str] = "noise"
    random: ClassVar[bool] = True

    def apply(self, output: Tensor, firing: Firing) -> Replacement:
        per_sample = tuple(range(1, output.ndim))
        self.added.append(Noise(0.3).draw(output, firing.seed, per_sample).detach())
        return Replacement(output + self.added[-1])


def stretched(output: Tensor, inputs: tuple[Any, ...]) -> Tensor:
    """The function of mode `callable`: depends on output and on all inputs."""
    means = [x.mean() for x in inputs if isinstance(x, Tensor)]
    return 1.5 * output + sum(means, start=output.new_zeros(()))


OPERATIONS: dict[str, Callable[[], AbstractOutputOperation]] = {
    "zero": Zero,
    "identity": Identity,
    "mean": Mean,
    "resample": Resample,
    "noise": WatchedNoise,
    "constant": lambda: Constant(0.7),
    "callable": lambda: Call(stretched),
}
"""What stands for each output mode of the table."""
