"""sensitivity: how much each component can change before the metric does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, overload

from torch import nn

from surgery.engine import Engine, Step
from surgery.errors import OperationError
from surgery.measurement import (
    Measurement,
    OnError,
    Plan,
    measuring,
    plan_variants,
    provenance,
    warn_if_interrupted,
)
from surgery.ops import AbstractOperation, ModeLike
from surgery.sensitivity._curves import Asked, Curves, measure_curves
from surgery.sensitivity._perturbation import Perturb, as_perturbation
from surgery.sensitivity._result import Sensitivity
from surgery.sensitivity._score import Method, as_method
from surgery.sensitivity._scores import Scores
from surgery.sensitivity._screen import as_screen, screen
from surgery.sensitivity._twins import without_twins
from surgery.stats import Evidence
from surgery.targets import TargetLike


@overload
def sensitivity(
    model: nn.Module,
    data: object,
    targets: TargetLike,
    *,
    method: None = ...,
    perturb: Perturb = ...,
    levels: Sequence[float] | None = ...,
    repeats: int | None = ...,
    mode: ModeLike | None = ...,
    tolerance: float | None = ...,
    surrogate: object = ...,
    points: int = ...,
    check: int = ...,
    metric: object = ...,
    higher_is_better: bool | Mapping[str, bool] | None = ...,
    step: Step | None = ...,
    engine: Engine = ...,
    evidence: Evidence = ...,
    on_error: OnError = ...,
    seed: int = ...,
    progress: bool = ...,
) -> Sensitivity: ...


@overload
def sensitivity(
    model: nn.Module,
    data: object,
    targets: TargetLike,
    *,
    method: Method,
    perturb: Perturb = ...,
    levels: Sequence[float] | None = ...,
    repeats: int | None = ...,
    mode: ModeLike | None = ...,
    tolerance: float | None = ...,
    surrogate: object = ...,
    points: int = ...,
    check: int = ...,
    metric: object = ...,
    higher_is_better: bool | Mapping[str, bool] | None = ...,
    step: Step | None = ...,
    engine: Engine = ...,
    evidence: Evidence = ...,
    on_error: OnError = ...,
    seed: int = ...,
    progress: bool = ...,
) -> Scores: ...


def sensitivity(
    model: nn.Module,
    data: object,
    targets: TargetLike,
    *,
    method: Method | None = None,
    perturb: Perturb = "noise",
    levels: Sequence[float] | None = None,
    repeats: int | None = None,
    mode: ModeLike | None = None,
    tolerance: float | None = None,
    surrogate: object = None,
    points: int = 8,
    check: int = 10,
    metric: object = "accuracy",
    higher_is_better: bool | Mapping[str, bool] | None = None,
    step: Step | None = None,
    engine: Engine = Engine(),
    evidence: Evidence = Evidence(),
    on_error: OnError = "raise",
    seed: int = 0,
    progress: bool = True,
) -> Sensitivity | Scores:
    """Curves of the metric over how strongly each component is perturbed.

    All components, levels and repeats are evaluated on each batch while it is in
    memory, as in a ranking: the data are loaded once, samples are paired with the
    untouched model's, and what is drawn is drawn alike for all components and levels.
    The model is left as it was.

    With `method`, a score per component from one backward pass instead, all components
    at once, with a check of some against their exact effects.

    Args:
        model: A module in eval mode; see `rank`.
        data: As for `rank`.
        targets: What to perturb: modules or parameters; for `"dial"` anything that
            has an output. Each is perturbed on its own; a list inside the list is one
            group.
        method: `None` for curves; `"taylor"` (d loss / d dial at 0), `"integrated"`
            (its mean while all dials turn together: scores sum to the joint effect),
            `"corrected"` (the slope, and what it is off by on drawn samples),
            `"fisher"` (half its mean square), `"hessian"` (the trace of the Hessian by
            the component's parameters), `"influence"` (1 - cosine of input and output).
        perturb: `"noise"` (Gaussian, relative to each tensor's root mean square;
            `"noise:uniform"`; `"noise:sign"` turns the signs of a share of entries),
            `"scale"` (towards zero), `"quantize"` (to so many bits, with a scale per
            tensor, or `"quantize:channel"`), `"prune"` (the share of smallest entries;
            `"prune:structured"`: of channels), `"init"` (towards re-drawn parameters),
            `"dial"` (the output towards that of `mode`), an operation of `surgery.ops`
            (such as `ops.Rewind(state_dict)`, towards a checkpoint), or a function
            `f(parameter, level) -> tensor`.
        levels: How much, from weak to strong. Default: some that show a curve.
        repeats: How often what is drawn at random is drawn. Default: 3; the signs of
            `"hessian"`: 32.
        mode: For `perturb="dial"` and for methods: what the output goes towards.
            Default: `"zero"`; for `"influence"` `"identity"`. For `"hessian"` an
            operation on parameters: what the check does.
        tolerance: Add levels between those given, by bisection, until neighbouring
            points differ by no more than this, in units of the (first) metric. Each
            round is one more pass over the data.
        surrogate: For methods, the loss, where the metric has no gradient.
        points: Backward passes of `"integrated"` per batch; forwards that `"corrected"`
            draws effects from, in each of which a sample lacks one component.
        check: For methods: how many components are measured exactly too, to tell
            whether scores can be trusted; 0 for none.
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
        repeats; with `method` one per component. Prints as a table.

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
    begin = partial(
        measuring,
        model,
        data,
        metric=metric,
        higher_is_better=higher_is_better,
        step=step,
        engine=engine,
        on_error=on_error,
        seed=seed,
        progress=progress,
    )
    if method is not None:
        _refuse(perturb, levels, tolerance)
        wanted = as_screen(as_method(method), mode, surrogate, points, repeats, check)
        with begin(wanted.operation, rounds=wanted.passes) as measurement:
            with measurement.running():
                plan = _planned(measurement, targets, wanted.operation, 1.0)
                scores = screen(measurement, plan, wanted, targets, evidence)
            return scores
    if surrogate is not None:
        raise OperationError(
            "surrogate= is the loss of a method, such as method='taylor'; curves are "
            "of the metric itself: metric="
        )
    perturbation = as_perturbation(perturb, mode)
    asked = Asked(
        perturbation,
        perturbation.checked(perturbation.ladder if levels is None else levels),
        perturbation.repeats(repeats),
        _tolerance(tolerance),
    )
    rounds = 1 if tolerance is None else 2
    with begin(perturbation.operation, rounds=rounds) as measurement:
        with measurement.running():
            operation, dial = perturbation.at(asked.levels[-1])
            plan = without_twins(_planned(measurement, targets, operation, dial))
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


def _planned(
    measurement: Measurement,
    targets: TargetLike,
    operation: AbstractOperation,
    dial: float,
) -> Plan:
    return plan_variants(
        measurement.model,
        targets,
        measurement.seen,
        operation,
        dial,
        lambda components: measurement.variant(components, operation, dial),
        skip=measurement.skips,
    )


def _refuse(
    perturb: Perturb, levels: Sequence[float] | None, tolerance: float | None
) -> None:
    """Refuse, with a method, what is for curves."""
    given = {
        "perturb": perturb != "noise",
        "levels": levels is not None,
        "tolerance": tolerance is not None,
    }
    wrong = [f"{name}=" for name, is_given in given.items() if is_given]
    if wrong:
        raise OperationError(
            f"{', '.join(wrong)} belongs to curves, and method= gives scores instead; "
            "leave one of them out (what a method's dial goes towards is mode=)"
        )


def _told(asked: Asked, curves: Curves) -> dict[str, Any]:
    return {
        "perturb": asked.perturbation.name,
        "operation": asked.perturbation.told(asked.levels[-1]),
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
