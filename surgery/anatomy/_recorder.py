"""The recorder: one forward of a model, watched, and everything put back after it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn

from surgery._random import preserved_rng
from surgery.anatomy._record import Record
from surgery.anatomy._recording import recording
from surgery.anatomy._structure import tensors
from surgery.anatomy._summary import summary
from surgery.anatomy._watch import Watch, flop_counter, watching
from surgery.anatomy._wrappers import is_scripted, unwrap
from surgery.errors import DataError


def record(
    model: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any] | None = None
) -> Record:
    """Run `model(*args, **kwargs)` once and tell what every module in it did.

    The forward runs without gradients in the model's present mode. Buffers (BatchNorm
    statistics in train mode) and the global random generators are as before after it.

    Args:
        model: Any module; parallel and compiled wrappers are looked through.
        args: Positional inputs, as the model takes them.
        kwargs: Keyword inputs.

    Raises:
        DataError: The model could not run on these inputs.
    """
    inner = unwrap(model)
    given = dict(kwargs or {})
    try:
        return record_run(inner, lambda: inner(*args, **given))
    except Exception as error:
        shapes = ", ".join(str(tuple(x.shape)) for x in tensors((args, given)))
        raise DataError(
            f"{type(inner).__name__} could not run on the given inputs (tensors of "
            f"shape {shapes or 'none'}): {type(error).__name__}: {error}. Pass "
            "what the model's forward takes, e.g. inputs=(x,) or kwargs={...}."
        ) from error


def record_run(model: nn.Module, run: Callable[[], object]) -> Record:
    """As `record`, for whatever calls the model; what it raises passes through.

    Raises:
        DataError: `run` did not call the model.
    """
    inner = unwrap(model)
    with ExitStack() as stack:
        stack.enter_context(torch.no_grad())
        stack.enter_context(recording())
        stack.enter_context(preserved_rng())
        stack.enter_context(warnings.catch_warnings())
        # torch counts operations by global hooks, which compiled parts may not see.
        warnings.filterwarnings("ignore", "Using `torch.compile", UserWarning)
        stack.enter_context(preserved_buffers(inner))
        counter = stack.enter_context(flop_counter())
        watch = Watch(inner, counter, {m: path for path, m in inner.named_modules()})
        stack.enter_context(watching(inner, watch))
        run()
    if watch.given is None:
        raise DataError(
            f"{type(inner).__name__} itself was not called: call the model, as in "
            "step=lambda model, batch: (model(batch[0]), batch[1])"
        )
    return summary(inner, watch, *watch.given)


@contextmanager
def preserved_buffers(model: nn.Module) -> Generator[None]:
    """Give a model's buffers back as they were, bit for bit."""
    saved = [(b, b.detach().clone()) for b in model.buffers()]
    owned = [(m, dict(m._buffers)) for m in model.modules() if not is_scripted(m)]
    try:
        yield
    finally:
        for buffer, value in saved:
            if not buffer.is_meta and not torch.equal(buffer, value):
                buffer.copy_(value)
        for module, buffers in owned:  # also what a forward registered or rebound
            module._buffers.clear()
            module._buffers.update(buffers)
