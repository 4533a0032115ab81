"""Trial: what a sweep evaluates beside the baseline, as far as backends know it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from surgery.anatomy import Component
from surgery.ops import Edit


class Trial(Protocol):
    """Components under one operation, as `surgery.ablation.Variant` has them."""

    @property
    def components(self) -> Sequence[Component]: ...
    @property
    def edits(self) -> Sequence[Edit]: ...
    def apply(self) -> Callable[[], None]: ...
