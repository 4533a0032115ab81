"""measuring: everything that a question to a sweep needs, checked and set up."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager

from torch import nn

from surgery.anatomy import unwrap
from surgery.data import Batches
from surgery.engine import Engine, Runner, Step, default_step, joined, make_metrics
from surgery.errors import OperationError
from surgery.measurement._first import averages, require_eval_mode
from surgery.measurement._measurement import Measurement, OnError
from surgery.ops import AbstractOperation


@contextmanager
def measuring(
    model: nn.Module,
    data: object,
    operation: AbstractOperation,
    *,
    metric: object,
    higher_is_better: bool | Mapping[str, bool] | None,
    step: Step | None,
    engine: Engine,
    on_error: OnError,
    seed: int,
    progress: bool,
    rounds: int = 1,
) -> Generator[Measurement]:
    """Set up what is needed to sweep a model, alone or with other processes.

    Args:
        model: As the user gave it.
        data: Likewise.
        operation: What will be done to components.
        metric: What the user calls the metric.
        higher_is_better: For metrics that do not know.
        step: The user's, if there is one.
        engine: How to run.
        on_error: `"raise"` or `"skip"`.
        seed: Seed of everything that is drawn.
        progress: Whether to show how far a sweep has come.
        rounds: How many sweeps there may be: each needs the data anew.

    Raises:
        OperationError: An option is unknown; the model is in train mode.
        DataError: Data or metric are unusable.
    """
    if on_error not in ("raise", "skip"):
        raise OperationError(f"on_error is 'raise' or 'skip', got {on_error!r}")
    with joined(engine, model) as peers:
        inner = unwrap(model)
        require_eval_mode(inner)
        metrics = make_metrics(metric, higher_is_better)
        batches = Batches(data)
        batches.require(rounds * (2 if averages(operation) else 1))
        yield Measurement(
            inner,
            batches,
            Runner(inner, step or default_step, seed),
            metrics,
            operation,
            peers,
            engine=engine,
            seed=seed,
            on_error=on_error,
            progress=progress,
        )
