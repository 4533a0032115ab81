"""sensitivity: how much each component can change before the metric does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from surgery.engine import Engine, Step
from surgery.errors import OperationError
from surgery.measurement import (
    OnError,
    measuring,
    plan_variants,
    provenance,
    warn_if_interrupted,
)
from surgery.ops import ModeLike
from surgery.sensitivity._curves import Asked, Curves, measure_curves
from surgery.sensitivity._perturbation import Perturb, as_perturbation
from surgery.sensitivity._result import Sensitivity
from surgery.sensitivity._twins import without_twins
from surgery.stats import Evidence
from surgery.targets import TargetLike


def sensitivity(
    model: nn.Module,
    data: object,
    targets: TargetLike,
    *,
    perturb: Perturb = "noise",
    levels: Sequence[float] | None = None,
    repeats: int | None = None,
    mode: ModeLike | None = None,
    tolerance: float | None = None,
    metric: object = "accuracy",
    higher_is_better: bool | Mapping[str, bool] | None = None,
    step: Step | None = None,
    engine: Engine = Engine(),
    evidence: Evidence = Evidence(),
    on_error: OnError = "raise",
    seed: int = 0,
    progress: bool = True,
) -> Sensitivity:
    """Curves of the metric over how strongly each component is perturbed.

    All components, levels and repeats are evaluated on each batch while it is in
    memory, as in a ranking: the data are loaded once, samples are paired with the
    untouched model's, and what is drawn is drawn alike for all components and levels.
    The model is left as it was.

    Args:
        model: A module in eval mode; see `rank`.
        data: As for `rank`.
        targets: What to perturb: modules or parameters; for `"dial"` anything that
            has an output. Each is perturbed on its own; a list inside the list is one
            group.
        perturb: `"noise"` (Gaussian, relative to each tensor's root mean square;
            `"noise:uniform"`; `"noise:sign"` turns the signs of a share of entries),
            `"scale"` (towards zero), `"quantize"` (to so many bits, with a scale per
            tensor, or `"quantize:channel"`), `"prune"` (the share of smallest entries;
            `"prune:structured"`: of channels), `"init"` (towards re-drawn parameters),
            `"dial"` (the output towards that of `mode`), an operation of `surgery.ops`
            (such as `ops.Rewind(state_dict)`, towards a checkpoint), or a function
            `f(parameter, level) -> tensor`.
        levels: How much, from weak to strong. Default: some that show a curve.
        repeats: How often what is drawn at random is drawn. Default: 3.
        mode: For `perturb="dial"`: what the output goes towards. Default: `"zero"`.
        tolerance: Add levels between those given, by bisection, until neighbouring
            points differ by no more than this, in units of the (first) metric. Each
            round is one more pass over the data.
        metric: As for `rank`.
        higher_is_better: As for `rank`.
        step: As for `rank`.
        engine: How to run.
        evidence: How to judge.
        on_error: As for `rank`.
        seed: Seed of everything that is drawn; the global generators stay as they are.
        progress: Whether to show how far the sweep has come.

    Returns:
        One row per component, level and metric, with intervals over samples and
        repeats; prints as a table.

    Raises:
        TargetError: A target names nothing in this model.
        OperationError: The perturbation makes no sense there (no parameters, no such
            level); the model is in train mode.
        DataError: Data, labels or metric do not fit.
        SurgeryError: A forward failed, and `on_error` is `"raise"`.

    Example:
        >>> curves = surgery.sensitivity(model, loader, "layer*.*", perturb="noise")
        >>> print(curves.summary())
    """
    perturbation = as_perturbation(perturb, mode)
    asked = Asked(
        perturbation,
        perturbation.checked(perturbation.ladder if levels is None else levels),
        perturbation.repeats(repeats),
        _tolerance(tolerance),
    )
    with measuring(
        model,
        data,
        perturbation.operation,
        metric=metric,
        higher_is_better=higher_is_better,
        step=step,
        engine=engine,
        on_error=on_error,
        seed=seed,
        progress=progress,
        rounds=1 if tolerance is None else 2,
    ) as measurement:
        with measurement.running():
            operation, dial = perturbation.at(asked.levels[-1])
            plan = plan_variants(
                measurement.model,
                targets,
                measurement.seen,
                operation,
                dial,
                lambda components: measurement.variant(components, operation, dial),
                skip=measurement.skips,
            )
            plan = without_twins(plan)
            curves = measure_curves(measurement, plan, asked, evidence)
        warn_if_interrupted(curves.swept[-1])
        origin = provenance(
            measurement,
            targets,
            _told(asked, curves),
            evidence,
            curves.order,
            [*plan.skipped, *curves.refused],
            curves.swept[-1],
            curves.directions,
        )
        origin = measurement.peers.exchange(origin)[0]
        return Sensitivity(tuple(curves.points), origin)


def _told(asked: Asked, curves: Curves) -> dict[str, Any]:
    return {
        "perturb": asked.perturbation.name,
        "levels": list(asked.levels),
        "repeats": asked.repeats,
        "tolerance": asked.tolerance,
        "rounds": len(curves.swept),
        "open": curves.open,
    }


def _tolerance(tolerance: float | None) -> float | None:
    if tolerance is not None and not tolerance > 0:
        raise OperationError(
            f"tolerance must be above 0, in units of the metric, got {tolerance}; "
            "leave it out for the levels as they are"
        )
    return tolerance
