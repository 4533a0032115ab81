"""rank: score every component by what the user's own metric loses without it."""

from __future__ import annotations

import itertools
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Literal

import torch
from torch import nn

from surgery._random import seeded
from surgery.ablation import Variant
from surgery.anatomy import Component, Record, record_run, unwrap
from surgery.data import (
    Batches,
    batch_length,
    join_batches,
    sketch,
    slice_batch,
)
from surgery.engine import (
    Engine,
    Runner,
    Step,
    Sweep,
    Together,
    as_planned,
    check_plan,
    default_step,
    described,
    forward_failed,
    joined,
    make_metrics,
    run_sharded,
)
from surgery.errors import OperationError, SurgeryError
from surgery.ops import (
    AbstractOutputOperation,
    Clock,
    ModeLike,
    Resample,
    as_operation,
    mode_name,
)
from surgery.ranking._judge import judged
from surgery.ranking._plan import plan_variants, require_eval_mode
from surgery.ranking._provenance import provenance
from surgery.ranking._result import Ranking
from surgery.report import plan_table, render
from surgery.report import progress as progress_bar
from surgery.stats import Evidence
from surgery.targets import TargetLike

OnError = Literal["raise", "skip"]


def rank(
    model: nn.Module,
    data: object,
    targets: TargetLike,
    *,
    mode: ModeLike = "zero",
    dial: float = 1.0,
    metric: object = "accuracy",
    higher_is_better: bool | Mapping[str, bool] | None = None,
    step: Step | None = None,
    engine: Engine = Engine(),
    evidence: Evidence = Evidence(),
    on_error: OnError = "raise",
    seed: int = 0,
    progress: bool = True,
) -> Ranking:
    """Score components by what the metric loses when each is operated on.

    Baseline and all variants are evaluated on each batch while it is in memory, so
    that each sample is loaded once (twice for `mode="mean"`, which first averages over
    the data). Per-sample outcomes are paired: intervals and p-values are of the change,
    not of two separate evaluations. The model is left as it was. Under `torchrun` the
    processes share the batches, and each returns the same ranking.

    Args:
        model: A module in eval mode. A compiled or parallel wrapper is looked through:
            the plain model runs.
        data: A DataLoader, a Dataset, a pair `(X, Y)` of tensors or arrays, or an
            iterable of batches. Batches are `(x, y)`, mappings with `labels`, or
            anything that `step` understands.
        targets: What to rank. A target that matches several components ranks each on
            its own; a list inside the list is one group; a container is one row per
            child.
        mode: What is done to each component; see `ablate`. `resample` takes donors
            from the same batch: shuffle the data, so that batches mix classes.
        dial: m in [0, 1]; see `ablate`.
        metric: A name (`accuracy`, `accuracy@5`, `error_rate`, `precision`, `recall`,
            `f1`, `f1:macro`, `cross_entropy`, `perplexity`, `mse`, `rmse`, `mae`,
            `r2`, `spearman`, `pearson`), a `torchmetrics.Metric`, a callable `(outputs,
            labels) -> per-sample tensor, scalar, or dict of per-sample tensors`, a list
            of these, or a dict of such lists: one table per group.
        higher_is_better: For callables: which way is good, as a bool or by name.
        step: `step(model, batch) -> (outputs, labels)`, where batches are special.
        engine: How to run.
        evidence: How to judge.
        on_error: `"raise"`, or `"skip"`: samples that fail in the untouched model are
            left out everywhere, samples that fail only without a component count
            against that variant, components that cannot be operated on are left out;
            all are shown.
        seed: Seed of everything that is drawn; the global generators stay as they are.
        progress: Whether to show how far the sweep has come.

    Returns:
        One row per component and metric, most important first, with intervals, p-values
        and verdicts; prints as a table.

    Raises:
        TargetError: A target names nothing that runs in this model.
        OperationError: The mode makes no sense there; the model is in train mode.
        DataError: Data, labels or metric do not fit.
        SurgeryError: A forward failed, and `on_error` is `"raise"`.

    Example:
        >>> ranking = surgery.rank(model, loader, "layer*.*", metric="accuracy")
        >>> print(ranking)
    """
    started = time.time()
    if on_error not in ("raise", "skip"):
        raise OperationError(f"on_error is 'raise' or 'skip', got {on_error!r}")
    with joined(engine, model) as peers:
        progress = progress and not peers.rank
        operation = as_operation(mode)
        inner = unwrap(model)
        require_eval_mode(inner)
        metrics = make_metrics(metric, higher_is_better)
        batches = Batches(data)
        averages = (
            isinstance(operation, AbstractOutputOperation) and operation.needs_data
        )
        batches.require(2 if averages else 1)
        if peers.world > 1:
            # What is averaged or joined needs all batches; the first is recorded.
            whole = averages or isinstance(operation, Resample)
            batches.wanted = lambda number: whole or not number or peers.owns(number)
        with (
            peers.placed(engine).placed(inner) as place,
            seeded(seed),
            torch.no_grad(),
        ):
            runner = Runner(inner, step or default_step, seed)
            first, stream = _peek(batches)
            seen = _recorded(runner, place.put(first), on_error)
            clock = Clock()

            def variant(components: Sequence[Component]) -> Variant:
                return Variant(
                    inner,
                    components,
                    operation,
                    clock,
                    dial=dial,
                    seed=seed,
                    backend=engine.backend,
                )

            plan = plan_variants(
                inner, targets, seen, operation, dial, variant, skip=on_error == "skip"
            )
            check_plan(engine, plan.names)
            sweep = Sweep(
                runner=runner,
                names=plan.names,
                variants=plan.variants,
                metrics=metrics,
                clock=clock,
                place=place,
                skip_errors=on_error == "skip",
                together=Together(
                    runner,
                    plan.variants,
                    engine.backend,
                    batches.batches,
                    engine.plan,
                    memory_budget=engine.memory_budget,
                    alike=peers.world > 1,
                ),
            )
            if peers.world > 1:
                settings = (
                    *(mode_name(operation), dial, seed, on_error, repr(evidence)),
                    *(
                        engine.backend,
                        described(engine),
                        [m.name for m in metrics],
                    ),
                )
                peers.agree(_facts(inner, first, batches, plan.names, settings))
            if averages:
                with progress_bar("Averaging", batches.batches, progress) as advance:
                    sweep.gather(stream, advance)
                if peers.world > 1:
                    batches.wanted = peers.owns
                stream = iter(batches)
            if isinstance(operation, Resample):
                stream = _no_single(stream)
            stream = as_planned(engine, stream)
            total = batches.batches and batches.batches * (1 + len(plan.variants))
            title = f"Ranking {len(plan.variants)} components"
            with progress_bar(title, total, progress) as advance:
                if peers.world > 1:
                    swept = run_sharded(sweep, peers, stream, batches, advance)
                else:
                    swept = sweep.run(stream, batches.samples, advance)
        if swept.interrupted:
            samples = sum(swept.batch_sizes)
            warnings.warn(
                f"interrupted: the ranking rests on the first {samples} samples",
                stacklevel=2,
            )
        rows, directions = judged(sweep, swept, evidence, seed)
        origin = provenance(
            inner,
            targets,
            operation,
            dial,
            seed,
            engine,
            evidence,
            plan,
            swept,
            directions,
            together=sweep.together.plan(),
            device=str(place.device),
            seconds=time.time() - started,
            world_size=peers.world,
        )
        # Its device and seconds are those of the first process.
        origin = peers.exchange(origin)[0]
        if engine.explain and not peers.rank:
            print(render(plan_table(origin["plan"])))
        return Ranking(rows, origin)


def _facts(
    model: nn.Module,
    first: Any,
    batches: Batches,
    names: Sequence[str],
    settings: tuple[object, ...],
) -> dict[str, object]:
    """In what processes that rank together must not differ."""
    tensors = [*model.parameters(), *model.buffers()]
    return {
        "the model's tensors": sketch(tensors),
        "the first batch": sketch(first),
        "the number of samples": (batches.samples, batches.batches),
        "the components": list(names),
        "the settings": settings,
    }


def _peek(batches: Batches) -> tuple[Any, Iterator[Any]]:
    """The first batch, and a pass that still has it: each sample is loaded once."""
    stream = iter(batches)
    first = next(stream)
    return first, itertools.chain([first], stream)


def _recorded(runner: Runner, batch: Any, on_error: OnError) -> Record:
    """One forward, recorded: on the batch, or on its first sample that can be run."""
    try:
        return record_run(runner.model, partial(runner.forward, batch, 0))
    except SurgeryError:
        raise
    except Exception as error:
        if on_error == "raise":
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


def _no_single(stream: Iterable[Any]) -> Iterator[Any]:
    """Batches in which every sample has another one to be its donor.

    A last batch of one sample goes into the batch before it.
    """
    waiting: list[Any] = []
    for batch in stream:
        if waiting and batch_length(batch) > 1:
            yield waiting.pop()
        waiting = [join_batches(waiting.pop(), batch)] if waiting else [batch]
    yield from waiting
