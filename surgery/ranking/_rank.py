"""rank: score every component by what the user's own metric loses without it."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from surgery.engine import Engine, Step
from surgery.measurement import (
    OnError,
    measuring,
    plan_variants,
    provenance,
    warn_if_interrupted,
)
from surgery.ops import ModeLike, as_operation, mode_name
from surgery.ranking._judge import judged
from surgery.ranking._result import Ranking
from surgery.stats import Evidence
from surgery.targets import TargetLike


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
    operation = as_operation(mode)
    asked = {"mode": mode_name(operation), "dial": dial}
    with measuring(
        model,
        data,
        operation,
        metric=metric,
        higher_is_better=higher_is_better,
        step=step,
        engine=engine,
        on_error=on_error,
        seed=seed,
        progress=progress,
    ) as measurement:
        with measurement.running():
            plan = plan_variants(
                measurement.model,
                targets,
                measurement.seen,
                operation,
                dial,
                lambda components: measurement.variant(components, operation, dial),
                skip=measurement.skips,
            )
            sweep, swept = measurement.sweep(
                plan.names,
                plan.variants,
                f"Ranking {len(plan.variants)} components",
                (*asked.values(), repr(evidence)),
            )
        warn_if_interrupted(swept)
        rows, directions = judged(sweep, swept, evidence, seed)
        origin = provenance(
            measurement,
            targets,
            asked,
            evidence,
            plan.names,
            plan.skipped,
            swept,
            directions,
        )
        # Its device and seconds are those of the first process.
        origin = measurement.peers.exchange(origin)[0]
        return Ranking(rows, origin)
