"""Trials: what evaluators must know of a variant."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from torch import Tensor

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
