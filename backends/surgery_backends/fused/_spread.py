"""Spread: one node's values in the variants in which it differs from the baseline."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import torch

from surgery_backends.fused._tape import Slot, Tape

ATEN: Any = torch.ops.aten

BASELINE = -1
"""Stands for the untouched model where that is computed together with variants."""


@dataclass(frozen=True)
class Spread:
    """Values of one tensor: some stacked along the batch, others each on its own.

    Attributes:
        members: The variants in the stack, in its order.
        stack: Their values along `axis`; for one member its plain value.
        each: Values of other variants.
        axis: The axis that holds the samples.
        length: How many entries of it belong to one variant.
        size: Bytes that one variant takes.
    """

    members: tuple[int, ...] = ()
    stack: Slot | None = None
    each: Mapping[int, Slot] = field(default_factory=dict[int, Slot])
    axis: int = 0
    length: int = 0
    size: int = 0

    def one(self, tape: Tape, variant: int) -> Slot:
        """The value in one variant."""
        if variant in self.each:
            return self.each[variant]
        assert self.stack is not None
        if len(self.members) == 1:
            return self.stack
        start = self.members.index(variant) * self.length
        return tape.call(
            ATEN.narrow.default, (self.stack, self.axis, start, self.length)
        )

    def has(self, variant: int) -> bool:
        return variant in self.members or variant in self.each

    def stacked(
        self, tape: Tape, variants: Sequence[int], base: Callable[[], Slot]
    ) -> Slot:
        """One stack of these variants, with the baseline where one has no value."""
        if tuple(variants) == self.members and not self.each.keys() & set(variants):
            assert self.stack is not None
            return self.stack
        pieces: list[Slot] = []
        for place, run in groupby(variants, key=_Run(self)):
            count = len(list(run))
            kind, start = place
            if kind == "base":
                pieces += [base()] * count
            elif kind == "each":
                pieces.append(self.each[start])
            elif count == len(self.members):
                assert self.stack is not None
                pieces.append(self.stack)
            else:
                first = start * self.length
                whole = self.stack, self.axis, first, count * self.length
                pieces.append(tape.call(ATEN.narrow.default, whole))
        return joined(tape, pieces, self.axis, self.size * len(variants))


class Several:
    """Values of a call that gives several tensors."""

    def __init__(
        self,
        members: tuple[int, ...],
        stack: Slot | None,
        each: Mapping[int, Slot],
    ) -> None:
        self.members = members
        self.stack = stack
        self.each = each


class _Run:
    """Tells which neighbouring variants can be taken out of a stack in one piece."""

    def __init__(self, spread: Spread) -> None:
        self._spread = spread
        self._last: tuple[int, int] | None = None

    def __call__(self, variant: int) -> tuple[str, int]:
        spread = self._spread
        if variant in spread.each:
            self._last = None
            return "each", variant
        if variant not in spread.members:
            self._last = None
            return "base", -1
        place = spread.members.index(variant)
        if self._last is not None and self._last[1] + 1 == place:
            self._last = self._last[0], place
        else:
            self._last = place, place
        return "stack", self._last[0]


def joined(tape: Tape, pieces: Sequence[Slot], axis: int, size: int) -> Slot:
    """These values along one axis."""
    if len(pieces) == 1:
        return pieces[0]
    return tape.call(ATEN.cat.default, (list(pieces), axis), size=size)
