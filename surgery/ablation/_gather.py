"""Gathering statistics: observers that watch the model while it runs over data."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from surgery._random import preserved_rng
from surgery.ablation._variant import Variant
from surgery.anatomy import preserved_buffers
from surgery.backend import get_backend
from surgery.data import Batches, call_on_batch, fresh, to_device
from surgery.errors import DataError
from surgery.ops import AbstractOutputOperation, Clock, Observer


@dataclass(frozen=True)
class Observation:
    """The observers of several variants, while they watch."""

    observers: tuple[Observer, ...]

    def pause(self, paused: bool) -> None:
        """Let forwards pass unseen, or be seen again."""
        for observer in self.observers:
            observer.paused = paused

    def save(self) -> None:
        """Remember what was gathered so far."""
        for observer in self.observers:
            observer.save()

    def forget(self) -> None:
        """Go back to what was saved: the last forward was not worth seeing."""
        for observer in self.observers:
            observer.forget()


@contextmanager
def observing(
    model: nn.Module, variants: Sequence[Variant], clock: Clock
) -> Generator[Observation]:
    """Let every variant's observers watch all forwards of the block.

    No gradients are kept in it; the model's buffers and the global random generators
    are as before afterwards. At its end the statistics are finished.

    Args:
        model: The model without wrappers.
        variants: Their statistics are filled.
        clock: Started at every forward of the model.
    """
    observation = Observation(
        tuple(observer for variant in variants for observer in variant.observers())
    )
    with ExitStack() as stack:
        stack.enter_context(torch.no_grad())
        stack.enter_context(preserved_rng())
        stack.enter_context(preserved_buffers(model))
        stack.callback(clock.watch(model))
        for observer in observation.observers:
            backend = get_backend(observer.backend, observer.component)
            stack.callback(backend.attach(model, observer.component, observer))
        yield observation
    for observer in observation.observers:
        observer.finish()


def gather(model: nn.Module, variant: Variant, clock: Clock, data: object) -> None:
    """Fill what a variant must know from data, in one pass over it.

    Raises:
        DataError: Data is missing, empty or unusable.
    """
    operation = variant.operation
    needed = isinstance(operation, AbstractOutputOperation) and operation.needs_data
    if data is None:
        if needed and variant.edits:
            raise DataError(
                f"mode={variant.mode!r} needs data to average over: pass "
                "data=loader (a DataLoader, a Dataset, a pair of arrays or batches)"
            )
        return
    if not variant.observers():
        return
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    with observing(model, [variant], clock):
        for batch in Batches(data):
            call_on_batch(model, fresh(to_device(batch, device)))
    clock.restart()
