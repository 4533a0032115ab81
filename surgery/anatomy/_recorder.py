"""The recorder: one forward of a model, watched, and everything put back after it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from surgery._random import preserved_rng
from surgery.anatomy._fit import Look
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

    def run() -> None:
        try:
            inner(*args, **given)
        except Exception as error:
            looks = (Look.of(x) for x in tensors((args, given)))
            shapes = ", ".join(
                "nested" if x is None else str(tuple(x.shape)) for x in looks
            )
            raise DataError(
                f"{type(inner).__name__} could not run on the given inputs (tensors of "
                f"shape {shapes or 'none'}): {type(error).__name__}: {error}. Pass "
                "what the model's forward takes, e.g. inputs=(x,) or kwargs={...}."
            ) from error

    return record_run(inner, run)


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
    with ExitStack() as stack:  # each is put back, whatever befalls another
        for module in model.modules():
            if not is_scripted(module):
                stack.callback(_register, module, dict(module._buffers))
        for buffer in model.buffers():
            if not is_lazy(buffer):
                stack.callback(_restore, buffer, buffer.detach().clone())
        yield


def _register(module: nn.Module, buffers: dict[str, Tensor | None]) -> None:
    module._buffers.clear()  # also what a forward registered or rebound
    module._buffers.update(buffers)


def _restore(buffer: Tensor, value: Tensor) -> None:
    try:
        same = buffer.is_meta or torch.equal(buffer, value)
    except RuntimeError:  # a layout that cannot be compared, as a sparse one
        same = False
    if buffer.shape != value.shape:
        buffer.data = value
    elif not same:
        buffer.copy_(value)
