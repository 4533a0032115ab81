"""Gathering: one pass over data for the statistics that operations need."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, cast

import torch
from torch import nn

from surgery._random import preserved_rng
from surgery.ablation._variant import Variant
from surgery.anatomy import preserved_buffers
from surgery.backend import get_backend
from surgery.data import to_device
from surgery.ops import Clock


def gather(
    model: nn.Module,
    variants: Sequence[Variant],
    clock: Clock,
    batches: Iterable[Any],
    run: Callable[[nn.Module, Any], object],
) -> None:
    """Let every variant's observers watch the model over `batches`, once for all.

    The model runs without gradients in its present mode; its buffers and the global
    random generators are as before afterwards.

    Args:
        model: The model without wrappers.
        variants: Their statistics are filled.
        clock: Started at every forward of the model.
        batches: What to run on, one pass.
        run: Runs the model on one batch.
    """
    observers = [o for variant in variants for o in variant.observers()]
    with ExitStack() as stack:
        stack.enter_context(torch.no_grad())
        stack.enter_context(preserved_rng())
        stack.enter_context(preserved_buffers(model))
        handle = model.register_forward_pre_hook(clock.start, with_kwargs=True)
        stack.callback(handle.remove)
        for observer in observers:
            backend = get_backend("auto", observer.component)
            stack.callback(backend.attach(model, observer.component, observer))
        for batch in batches:
            run(model, batch)
    for observer in observers:
        observer.finish()


def run_on(model: nn.Module, batch: object) -> object:
    """Run a model on the inputs of a batch, leaving out its labels.

    A batch is a tensor, `(inputs, labels)`, or a mapping of keyword inputs with or
    without `labels`; inputs may be a tensor, a tuple or a mapping.
    """
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    batch = to_device(batch, device)
    if isinstance(batch, Mapping):
        fields = cast("Mapping[str, Any]", batch)
        return model(**{k: v for k, v in fields.items() if k != "labels"})
    inputs: object = batch
    if isinstance(batch, tuple | list):
        inputs = cast("Sequence[object]", batch)[0]
    if isinstance(inputs, Mapping):
        return model(**cast("Mapping[str, Any]", inputs))
    if isinstance(inputs, tuple):
        return model(*cast("tuple[object, ...]", inputs))
    return model(inputs)
