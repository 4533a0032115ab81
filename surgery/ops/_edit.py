"""Edits: an operation at one component, as a callable that any backend may place.

Edits live in hook tables, so they are copied and pickled with the model. They hold no
reference to it.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from surgery._random import derive
from surgery.anatomy import Component, find_main, replaced, tensors
from surgery.errors import OperationError
from surgery.ops._base import (
    AbstractOutputOperation,
    AbstractStatistic,
    Firing,
)
from surgery.ops._overlay import dialled
from surgery.ops._proof import Proof, Tally

Inputs = tuple[tuple[Any, ...], Mapping[str, Any]]


class Clock:
    """When we are: which forward of the model, which call of a component within it.

    Its `start` is a forward pre-hook of the model. Threads (DataParallel's replicas
    too) count their own calls.
    """

    def __init__(self) -> None:
        self.forwards = Tally()
        self.fixed: int | None = None
        self._local = threading.local()
        self._traced: dict[int, int] = {}

    def start(
        self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        """A forward of the model begins."""
        self.forwards.add()
        self._calls().clear()
        if not torch.compiler.is_compiling():
            first = next((x for x in tensors((args, kwargs)) if x.ndim), None)
            self._local.batch_size = None if first is None else first.shape[0]

    def tick(self, key: int) -> int:
        """The index of this call within the running forward."""
        calls = self._calls()
        index = calls.get(key, 0)
        calls[key] = index + 1
        return index

    @property
    def batch_size(self) -> int | None:
        """Samples in the running forward, if it began at the model."""
        return getattr(self._local, "batch_size", None)

    def now(self) -> int:
        """A number for the running forward; the same for every variant of a sweep."""
        return int(self.forwards) if self.fixed is None else self.fixed

    def _calls(self) -> dict[int, int]:
        if torch.compiler.is_compiling():  # the tracer knows no thread-local storage
            return self._traced
        calls: dict[int, int] | None = getattr(self._local, "calls", None)
        if calls is None:
            calls = self._local.calls = {}
        return calls

    def restart(self) -> None:
        """Count forwards from the beginning."""
        self.forwards = Tally()

    def enter(self, key: int) -> None:
        """A container's own call begins."""
        self._calls()[-key] = self._calls().get(-key, 0) + 1

    def leave(self, key: int) -> None:
        """A container's own call ends."""
        self._calls()[-key] -= 1

    def inside(self, key: int) -> bool:
        """Whether a container's own call is under way."""
        return self._calls().get(-key, 0) > 0

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_local": None}  # calls under way do not travel

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._local = threading.local()


class Edit:
    """An output operation at one component: called with output and inputs, in place.

    Attributes:
        component: Where it acts.
        wants_inputs: Whether a backend must hand it the inputs as they were before the
            component ran.
    """

    def __init__(
        self,
        component: Component,
        operation: AbstractOutputOperation,
        clock: Clock,
        *,
        dial: float = 1.0,
        seed: int = 0,
        place: int = 0,
        strict: bool = False,
    ) -> None:
        self.component = component
        self.operation = operation
        self.clock = clock
        self.dial = dial
        self.seed = seed
        self.place = place
        self.strict = strict
        self.wants_inputs = operation.wants_inputs
        self.statistics: dict[int, AbstractStatistic] = {}
        self._proof = Proof()
        self._children: dict[str, Edit] = {}

    @property
    def fired(self) -> int:
        """How often it was called, here or at the children it stands for."""
        return int(self._proof.count) + sum(e.fired for e in self._children.values())

    @property
    def changed(self) -> bool | None:
        """Whether what it replaced differed; `None` if only compiled code knows."""
        known = [self._proof.changed, *(e.changed for e in self._children.values())]
        return True if True in known else None if None in known else False

    @property
    def note(self) -> str:
        """What a user must know of how it acted."""
        notes = [self._proof.note, *(e.note for e in self._children.values())]
        return "; ".join(dict.fromkeys(note for note in notes if note))

    def for_child(self, component: Component) -> Edit:
        """The same edit at a child of its component, with statistics of its own."""
        if component.name not in self._children:
            self._children[component.name] = Edit(
                component,
                self.operation,
                self.clock,
                dial=self.dial,
                seed=self.seed,
                place=derive(self.place, component.name),
                strict=self.strict,
            )
        return self._children[component.name]

    def __call__(self, output: object, inputs: Inputs, index: int) -> object:
        found = find_main(output)
        if found is None:
            raise OperationError(
                f"no tensor comes out of {self.component} (it returned "
                f"{type(output).__name__}): an output operation has nothing to act on"
            )
        path, tensor = found
        self._refuse_recomputation()
        if self.dial == 0:
            self._proof.fired(tensor, tensor)
            return output
        replacement = self.operation.apply(tensor, self._firing(inputs, index))
        if self.dial != 1 and not (tensor.is_floating_point() or tensor.is_complex()):
            raise OperationError(
                f"dial={self.dial} needs floating-point values, but {self.component} "
                f"gives {tensor.dtype}; use dial=1"
            )
        new = dialled(tensor, replacement.tensor, self.dial)
        new = _laid_out_like(tensor, new)
        self._proof.fired(tensor, new)
        if replacement.note:
            self._proof.note = replacement.note
        return replaced(output, path, new)

    def _firing(self, inputs: Inputs, index: int) -> Firing:
        seed = 0
        if self.operation.random:
            own = () if self.operation.draws_alike else (self.place, index)
            seed = derive(self.seed, "forward", self.clock.now(), *own)
        args, kwargs = inputs
        return Firing(
            component=self.component,
            inputs=(*args, *kwargs.values()),
            batch_size=self.clock.batch_size,
            seed=seed,
            statistic=self.statistics.get(index),
            strict=self.strict,
        )

    def _refuse_recomputation(self) -> None:
        counted = self.operation.random or self.component.call is not None
        # Activation checkpointing runs a block again inside backward, where call
        # indices and draws would differ from the forward's, silently.
        if counted and _in_backward():
            raise OperationError(
                f"{self.component}: activation checkpointing runs this component again "
                f"during backward, where mode={self.operation.mode!r} would not repeat "
                "itself; turn checkpointing off, or use a mode that does not depend "
                "on draws or call-sites"
            )


class Observer:
    """Gathers an edit's statistics, call by call, and changes nothing."""

    wants_inputs = False

    def __init__(self, edit: Edit, seed: int) -> None:
        self.component = edit.component
        self.clock = edit.clock
        self._edit = edit
        self._seed = seed
        self._children: dict[str, Observer] = {}

    def __call__(self, output: object, inputs: Inputs, index: int) -> object:
        found = find_main(output)
        if found is None:
            raise OperationError(
                f"no tensor comes out of {self.component}: it has no statistic"
            )
        statistics = self._edit.statistics
        if index not in statistics:
            fresh = self._edit.operation.statistic(self.component, self._seed)
            if fresh is None:
                return output
            statistics[index] = fresh
        statistics[index].update(found[1], self.clock.batch_size)
        return output

    def for_child(self, component: Component) -> Observer:
        """The same observer at a child of its component."""
        if component.name not in self._children:
            child = Observer(self._edit.for_child(component), self._seed)
            self._children[component.name] = child
        return self._children[component.name]

    def finish(self) -> None:
        """The pass over data has ended."""
        for statistic in self._edit.statistics.values():
            statistic.finish()
        for child in self._children.values():
            child.finish()


def _laid_out_like(old: Tensor, new: Tensor) -> Tensor:
    """`new` with the strides of `old`, for code after it that takes views."""
    if new.stride() == old.stride() or new.shape != old.shape:
        return new
    return torch.empty_like(old).copy_(new)


def _in_backward() -> bool:
    if torch.compiler.is_compiling():
        return False
    return torch._C._current_graph_task_id() != -1  # pyright: ignore  # no public way
