"""Edits: an operation at one component, as a callable that any backend may place.

Edits live in hook tables, so they are copied and pickled with the model. They hold no
reference to it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from surgery._random import derive
from surgery.anatomy import Component, find_main, is_recording, replaced, tensors
from surgery.errors import OperationError
from surgery.ops._base import (
    AbstractOutputOperation,
    AbstractStatistic,
    Firing,
    Replacement,
)
from surgery.ops._clock import Clock
from surgery.ops._draws import kept_draws
from surgery.ops._overlay import dialled
from surgery.ops._proof import Proof

Inputs = tuple[tuple[Any, ...], Mapping[str, Any]]


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

    def proofs(self) -> list[Proof]:
        """What tells of it, here and at the children it stands for."""
        below = [proof for edit in self._children.values() for proof in edit.proofs()]
        return [self._proof, *below]

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
        # The tracer knows no thread-local storage.
        if not torch.compiler.is_compiling() and is_recording():
            return output
        found = find_main(output)
        if found is None:
            raise OperationError(
                f"no tensor comes out of {self.component} (it returned "
                f"{type(output).__name__}): an output operation has nothing to act on"
            )
        path, tensor = found
        require_samples(self.operation, self.component, tensor)
        self._refuse_recomputation()
        if self.dial == 0:
            self._proof.fired(tensor, tensor)
            return output
        act: Callable[[Tensor, Inputs, int], Replacement] = self._replacement
        if self.operation.random and torch.compiler.is_compiling():
            # Compiled code holds no generators.
            act = torch.compiler.disable(act)  # pyright: ignore
        replacement = act(tensor, inputs, index)
        new = _laid_out_like(tensor, self.mixed(tensor, replacement.tensor))
        self._proof.fired(tensor, new)
        notes = [replacement.note, _left_alone(output, tensor)]
        if any(notes):
            self._proof.note = "; ".join(note for note in notes if note)
        return replaced(output, path, new)

    def mixed(self, present: Tensor, new: Tensor) -> Tensor:
        """What stands in the place of an output: it and its replacement, dialled.

        Raises:
            OperationError: Between the two there is nothing, as for integers.
        """
        if self.dial != 1 and not (present.is_floating_point() or present.is_complex()):
            raise OperationError(
                f"dial={self.dial} needs floating-point values, but {self.component} "
                f"gives {present.dtype}; use dial=1"
            )
        return dialled(present, new, self.dial)

    def draw_seed(self, index: int) -> int:
        """The seed of what is drawn at its call of this index, now."""
        own = () if self.operation.draws_alike else (self.place, index)
        return derive(self.seed, "forward", self.clock.now(), *own)

    def _replacement(self, output: Tensor, inputs: Inputs, index: int) -> Replacement:
        firing = self._firing(inputs, index)
        if self.operation.random and (kept := kept_draws()) is not None:
            firing = replace(firing, drawn=kept.of(self, output, firing, index))
        return self.operation.apply(output, firing)

    def _firing(self, inputs: Inputs, index: int) -> Firing:
        seed, batch_size = 0, None
        if self.operation.random:
            # Not asked for by others: compiled code would be guarded on it.
            batch_size = self.clock.batch_size
            seed = self.draw_seed(index)
        args, kwargs = inputs
        return Firing(
            component=self.component,
            inputs=(*args, *kwargs.values()),
            batch_size=batch_size,
            seed=seed,
            statistic=self._statistic(index),
            strict=self.strict,
        )

    def _statistic(self, index: int) -> AbstractStatistic | None:
        if self.clock.under_way:
            return self.statistics.get(index)
        if len(self.statistics) > 1:
            raise OperationError(
                f"{self.component} runs {len(self.statistics)} times in a forward, "
                f"and mode={self.operation.mode!r} has a statistic for each; it was "
                "called outside of a forward, where its calls cannot be told apart: "
                "call the model itself, as in model(x)"
            )
        return self.statistics.get(0)

    def _refuse_recomputation(self) -> None:
        operation = self.operation
        counted = (
            operation.random or operation.needs_data or self.component.call is not None
        )
        # Activation checkpointing runs a block again inside backward, where call
        # indices and draws would differ from the forward's, silently.
        if counted and _in_backward():
            raise OperationError(
                f"{self.component}: activation checkpointing runs this component again "
                f"during backward, where mode={self.operation.mode!r} would not repeat "
                "itself; turn checkpointing off, or use a mode that does not depend "
                "on draws, data or call-sites"
            )


def require_samples(
    operation: AbstractOutputOperation, component: Component, tensor: Tensor
) -> None:
    """Refuse other samples' values where there are no samples.

    Raises:
        OperationError: The tensor is a parameter.
    """
    if operation.over_samples and isinstance(tensor, nn.Parameter):
        raise OperationError(
            f"{component} is a parameter, the same for every sample: mode="
            f"{operation.mode!r} makes no sense on it; on a constant operand these do: "
            "zero, noise, constant, callable"
        )


def _left_alone(output: object, main: Tensor) -> str:
    if output is main:
        return ""
    among = sum(t.is_floating_point() or t.is_complex() for t in tensors(output))
    return f"1 of {among} tensors" if among > 1 else ""


def _laid_out_like(old: Tensor, new: Tensor) -> Tensor:
    """`new` with the strides of `old`, for code after it that takes views."""
    if old.is_nested:  # it has no one shape
        return new
    if new.stride() == old.stride() or new.shape != old.shape:
        return new
    return torch.empty_like(old).copy_(new)


def _in_backward() -> bool:
    if torch.compiler.is_compiling():
        return False
    return torch._C._current_graph_task_id() != -1  # pyright: ignore  # no public way
