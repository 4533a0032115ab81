"""Trial: one component of one subject under one mode, and how it is compared."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from surgery.anatomy import Component, tensors
from surgery.backend import AbstractBackend
from surgery.ops import AbstractOutputOperation
from surgery.testing._by_hand import At, Change
from surgery.testing._mount import OPERATIONS, Mounted
from surgery.testing._snapshot import Snapshot, snapshot
from surgery.testing._subjects import Subject
from surgery.testing._truth import change_of, means_by_hand

CLOSE = 1e-10
"""Relative difference, in double precision, up to which two results are equal."""


class Wrong(Exception):
    """What was checked does not hold; says what was got and what is right."""


@dataclass(frozen=True)
class Trial:
    """One component of one subject under one mode, on one backend."""

    backend: AbstractBackend
    subject: Subject
    component: Component
    mode: str

    @cached_property
    def model(self) -> nn.Module:
        """What the backend operates on."""
        return self.subject.model()

    @cached_property
    def twin(self) -> nn.Module:
        """An equal model, which is only ever run by hand."""
        return self.subject.model()

    @cached_property
    def batch(self) -> dict[str, Tensor]:
        return self.subject.inputs(0)

    @cached_property
    def data(self) -> list[dict[str, Tensor]]:
        """What `mean` averages over."""
        return [self.subject.inputs(1), self.subject.inputs(2)]

    @property
    def target(self) -> str:
        return str(self.component)

    def operation(self) -> AbstractOutputOperation:
        return OPERATIONS[self.mode]()

    def mount(self, dial: float = 1.0) -> Mounted:
        """Put the operation in effect."""
        data = self.data if self.mode == "mean" else ()
        return Mounted(
            self.backend, self.model, self.component, self.operation(), dial, data
        )

    @contextmanager
    def mounted(self, dial: float = 1.0) -> Generator[Mounted]:
        """The operation in effect in a block, and undone after it."""
        mounted = self.mount(dial)
        try:
            yield mounted
        finally:
            mounted.remove()

    def change(self, mounted: Mounted | None = None, dial: float = 1.0) -> Change:
        """The same operation for a forward by hand; noise must have been added."""
        operation = self.operation() if mounted is None else mounted.edit.operation
        means: dict[int, Tensor] = {}
        if self.mode == "mean":
            means = means_by_hand(self.subject, self.twin, self.target, self.data)
        return change_of(self.mode, operation, means, dial)

    def run(self, model: nn.Module | None = None) -> list[Tensor]:
        """All tensors that come out of the model."""
        batch = {name: x.clone() for name, x in self.batch.items()}
        return tensors((self.model if model is None else model)(**batch))

    def by_hand(self, *changes: tuple[str, Change]) -> list[Tensor]:
        """The same by hand, with these changes."""
        batch = {name: x.clone() for name, x in self.batch.items()}
        return tensors(self.subject.run_by_hand(self.twin, At(changes), batch))

    def visits(self) -> int:
        """How often the component runs in a forward."""
        at = At(((self.target, lambda value, given, index: value),))
        self.subject.run_by_hand(self.twin, at, self.batch)
        return at.visits.get(self.target, 0)

    def snapshot(self) -> Snapshot:
        with torch.no_grad():
            return snapshot(self.model, self.run())


def require_close(got: list[Tensor], right: list[Tensor], what: str) -> None:
    """Compare two results in double precision.

    Raises:
        Wrong: They differ.
    """
    if len(got) != len(right):
        raise Wrong(f"{what}: {len(got)} tensors instead of {len(right)}")
    for mine, theirs in zip(got, right, strict=True):
        if mine.shape != theirs.shape:
            raise Wrong(
                f"{what}: shape {tuple(mine.shape)} instead of {tuple(theirs.shape)}"
            )
        off = float((mine - theirs).detach().abs().max()) if mine.numel() else 0.0
        size = max(float(theirs.detach().abs().max()), 1.0) if mine.numel() else 1.0
        if not off <= CLOSE * size:
            raise Wrong(
                f"{what}: differs by {off:.3g} from the forward edited by hand, whose "
                f"values go up to {size:.3g}"
            )
