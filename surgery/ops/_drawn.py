"""Drawn: new values of parameters, shared by variants and kept while they fit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping
from typing import final

from torch import Tensor, nn

from surgery.anatomy import Component
from surgery.ops._base import AbstractDrawnValue, AbstractNewValue, AbstractOperation
from surgery.ops._parameters import new_values

Values = Mapping[Tensor, AbstractNewValue]


@final
class Drawn:
    """What operations make of parameters, for all variants of a sweep.

    A sweep needs every new value once per batch. Hundreds of variants with weights of
    their own would take hundreds of models' memory: values are kept as long as they fit
    a number of bytes, and the others are made anew each time, from their seeds. Where
    variants at several levels are made of the same random numbers, it is these that are
    kept.

    Args:
        budget: That number of bytes.
    """

    def __init__(self, budget: int) -> None:
        self._left = budget
        # With the operation, whose id is part of the key, kept alive.
        self._known: dict[
            tuple[int, str, int], tuple[AbstractOperation, dict[Tensor, Kept]]
        ] = {}
        self._users: Counter[Hashable] = Counter()
        self._draws: dict[Hashable, Tensor] = {}

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
            drawn = (v for v in made.values() if isinstance(v, AbstractDrawnValue))
            self._users.update(value.key for value in drawn)
        return self._known[key][1]

    def is_shared(self, value: AbstractNewValue) -> bool:
        """Whether other values are made of the same draw."""
        return isinstance(value, AbstractDrawnValue) and self._users[value.key] > 1

    def made(self, value: AbstractNewValue, present: Tensor) -> Tensor:
        """The new value; of a draw that is kept, if others are made of it too."""
        if not isinstance(value, AbstractDrawnValue):
            return value(present)
        key = value.key, present.shape, present.device
        draw = self._draws.get(key)
        if draw is None:
            draw = value.draw(present)
            if self.is_shared(value) and self.fits(draw):
                self._draws[key] = draw
        return value.made(present, draw)

    def fits(self, tensor: Tensor) -> bool:
        """Whether a tensor can be kept; if so, it is taken to be."""
        if tensor.nbytes > self._left:
            return False
        self._left -= tensor.nbytes
        return True


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
        new = self._drawn.made(self._value, present)
        # What is there anyhow takes no more memory; what draws are kept for is quick.
        kept = self._value.held or self._drawn.is_shared(self._value)
        if not kept and self._drawn.fits(new):
            self._made = new
        return new
