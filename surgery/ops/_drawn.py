"""Drawn: new values of parameters, shared by variants and kept while they fit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

from torch import Tensor, nn

from surgery.anatomy import Component
from surgery.ops._base import AbstractNewValue, AbstractOperation
from surgery.ops._parameters import new_values

Values = Mapping[Tensor, AbstractNewValue]


@final
class Drawn:
    """What operations make of parameters, for all variants of a sweep.

    A sweep needs every new value once per batch. Hundreds of variants with weights of
    their own would take hundreds of models' memory: values are kept as long as they fit
    a number of bytes, and the others are made anew each time, from their seeds.

    Args:
        budget: That number of bytes.
    """

    def __init__(self, budget: int) -> None:
        self.left = budget
        # With the operation, whose id is part of the key, kept alive.
        self._known: dict[
            tuple[int, str, int], tuple[AbstractOperation, dict[Tensor, Kept]]
        ] = {}

    def values(
        self,
        operation: AbstractOperation,
        model: nn.Module,
        component: Component,
        seed: int,
    ) -> Values:
        """`new_values`, the same ones whenever all of these are the same."""
        key = id(operation), component.name, seed
        if key not in self._known:
            made = new_values(operation, model, component, seed)
            kept = {tensor: Kept(value, self) for tensor, value in made.items()}
            self._known[key] = operation, kept
        return self._known[key][1]


@final
class Kept(AbstractNewValue):
    """A new value that is made once, if what it takes fits in."""

    def __init__(self, value: AbstractNewValue, drawn: Drawn) -> None:
        self._value, self._drawn = value, drawn
        self._made: Tensor | None = None
        self.note = value.note

    def __call__(self, present: Tensor) -> Tensor:
        if self._made is not None:
            return self._made
        new = self._value(present)
        # What is there anyhow takes no more memory.
        if not self._value.held and new.nbytes <= self._drawn.left:
            self._drawn.left -= new.nbytes
            self._made = new
        return new
