"""What is looked at before a sweep begins: the model's mode, and the first batch."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import (
    _NormBase,  # pyright: ignore[reportPrivateUsage]  # the base of all running norms
)

from surgery.anatomy import Record, record_run
from surgery.data import Batches, batch_length, join_batches, slice_batch
from surgery.engine import Runner, forward_failed
from surgery.errors import OperationError, SurgeryError
from surgery.ops import AbstractOperation, AbstractOutputOperation


def require_eval_mode(model: nn.Module) -> None:
    """Refuse a model whose outputs depend on luck or on the rest of the batch.

    Raises:
        OperationError: It, or a dropout or BatchNorm in it, is in train mode.
    """
    live = [
        name
        for name, module in model.named_modules()
        if module.training
        and (isinstance(module, _NormBase) or "drop" in type(module).__name__.lower())
    ]
    if model.training or live:
        shown = f" ({', '.join(live[:3])} would be active)" if live else ""
        raise OperationError(
            f"the model is in train mode{shown}, so that differences between variants "
            "would partly be luck; call model.eval() first"
        )


def averages(operation: AbstractOperation) -> bool:
    """Whether a pass over the data comes before the operation can act."""
    return isinstance(operation, AbstractOutputOperation) and operation.needs_data


def peek(batches: Batches) -> tuple[Any, Iterator[Any]]:
    """The first batch, and a pass that still has it: each sample is loaded once."""
    stream = iter(batches)
    first = next(stream)
    return first, itertools.chain([first], stream)


def recorded(runner: Runner, batch: Any, *, skip: bool) -> Record:
    """One forward, recorded: on the batch, or on its first sample that can be run."""
    try:
        return record_run(runner.model, partial(runner.forward, batch, 0))
    except SurgeryError:
        raise
    except Exception as error:
        if not skip:
            raise forward_failed(
                "in the untouched model, on the first batch", error
            ) from error
        cause = error
    for row in range(batch_length(batch)):
        alone = slice_batch(batch, row, row + 1)
        try:
            return record_run(runner.model, partial(runner.forward, alone, 0))
        except Exception as error:
            cause = error
    raise forward_failed(
        "in the untouched model, on every sample of the first batch", cause
    ) from cause


def without_single(stream: Iterable[Any]) -> Iterator[Any]:
    """Batches in which every sample has another one to be its donor.

    A last batch of one sample goes into the batch before it.
    """
    waiting: list[Any] = []
    for batch in stream:
        if waiting and batch_length(batch) > 1:
            yield waiting.pop()
        waiting = [join_batches(waiting.pop(), batch)] if waiting else [batch]
    yield from waiting
