"""suggest: from curves to levels for all components together, verified on data."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from torch import nn

from surgery.engine import Engine, Step, Sweep, Swept
from surgery.errors import OperationError
from surgery.measurement import (
    Plan,
    measuring,
    plan_variants,
    provenance,
    require_outcomes,
    warn_if_interrupted,
)
from surgery.report import JSONValue
from surgery.sensitivity._curve import better_of, harm
from surgery.sensitivity._perturbation import Perturb, Perturbation, as_perturbation
from surgery.sensitivity._point import Point
from surgery.sensitivity._proposal import choices_of, proposals_within, together
from surgery.sensitivity._suggestion import Proposed, Suggestion, members_of
from surgery.stats import Evidence


def suggested(
    points: Sequence[Point],
    told: Mapping[str, JSONValue],
    model: nn.Module,
    data: object,
    *,
    max_drop: float,
    metric: object,
    perturb: Perturb | None,
    step: Step | None,
    engine: Engine,
    evidence: Evidence,
    seed: int,
    progress: bool,
) -> Suggestion:
    """What `Sensitivity.suggest` gives."""
    if not max_drop > 0:
        raise OperationError(
            f"max_drop is how much of the metric may be lost: above 0, got {max_drop}"
        )
    if not points:
        raise OperationError("there are no curves to suggest anything from")
    first = points[0]
    mine = [p for p in points if (p.group, p.metric) == (first.group, first.metric)]
    up = better_of(told, first.metric)
    perturbation = _again(first.perturb, perturb)
    _require_same(perturbation, told)
    with measuring(
        model,
        data,
        perturbation.operation,
        metric=first.metric if metric is None else metric,
        higher_is_better=None if metric is None else up,
        step=step,
        engine=engine,
        on_error="raise",
        seed=seed,
        progress=progress,
    ) as measurement:
        with measurement.running():
            names = list(dict.fromkeys(p.component for p in mine))
            operation, dial = perturbation.at(mine[-1].level)
            plan = plan_variants(
                measurement.model,
                [members_of(name) for name in names],
                measurement.seen,
                operation,
                dial,
                lambda components: measurement.variant(components, operation, dial),
                skip=False,
            )
            _require_apart(plan)
            choices = choices_of(measurement, plan, mine, perturbation, up)
            tried = proposals_within(choices, max_drop)
            if not tried:
                raise OperationError(
                    f"no level of any component costs as little as {max_drop} by its "
                    "curve; allow more, or measure weaker levels"
                )
            sweep, swept = measurement.sweep(
                [f"proposal {number}" for number in range(len(tried))],
                [together(measurement, plan, one, perturbation) for one in tried],
                f"Verifying {len(tried)} proposals",
                ("suggest", max_drop, repr(evidence)),
            )
        warn_if_interrupted(swept)
        found = [
            _lost(sweep, swept, place, up, evidence, seed)
            for place in range(len(tried))
        ]
        fits = [i for i, (_, _, worst) in enumerate(found) if worst <= max_drop]
        best = fits[0] if fits else len(tried) - 1
        drop, low, high = found[best]
        chosen = tried[best]
        asked = {
            "perturb": perturbation.name,
            "max_drop": max_drop,
            "metric": first.metric,
            "drop": drop,
            "low": low,
            "high": high,
            "verified": bool(fits),
            "added": sum(choice.cost for choice in chosen.values()),
            "tried": len(tried),
        }
        origin = provenance(
            measurement,
            names,
            asked,
            evidence,
            list(sweep.names),
            plan.skipped,
            swept,
            {} if up is None else {first.metric: up},
        )
        rows = [
            Proposed(name, perturbation.name, c.level, c.cost, c.saved)
            for name, c in chosen.items()
        ]
        return Suggestion(tuple(rows), origin)


def _lost(
    sweep: Sweep,
    swept: Swept,
    place: int,
    up: bool | None,
    evidence: Evidence,
    seed: int,
) -> tuple[float, float, float]:
    """What a proposal costs, measured, with its interval, the worse end last."""
    require_outcomes(swept, len(swept.outcomes) - len(swept.refused))
    effects = sweep.metrics[0].compare(
        swept.baseline[0],
        swept.outcomes[place][0],
        confidence=evidence.confidence,
        seed=seed,
    )
    effect = next(iter(effects.values()))
    low, high = sorted((harm(effect.low, up), harm(effect.high, up)))
    return harm(effect.delta, up), low, high


def _again(name: str, given: Perturb | None) -> Perturbation:
    """What the curves are of.

    Raises:
        OperationError: It saves nothing.
    """
    dial = name.removeprefix("dial ")
    if given is not None:
        perturbation = as_perturbation(given, None)
    elif dial != name:
        perturbation = as_perturbation("dial", dial)
    else:
        perturbation = as_perturbation(name, None)
    if not perturbation.makes_smaller:
        raise OperationError(
            f"{perturbation.name!r} makes nothing smaller, so that there is nothing to "
            "suggest; take curves of perturb='quantize', 'prune' or 'dial'"
        )
    return perturbation


def _require_same(perturbation: Perturbation, told: Mapping[str, JSONValue]) -> None:
    """Refuse to verify something else than the curves are of.

    Raises:
        OperationError: A name does not tell all options, or others were given.
    """
    levels, wanted = told.get("levels"), told.get("operation")
    if not isinstance(levels, list) or wanted is None:  # of an earlier version
        return
    got = perturbation.told(float(str(levels[-1])))
    if got != wanted:
        raise OperationError(
            f"these curves are of {wanted}, and {got} would be verified; pass the "
            "operation that they were measured with: perturb="
        )


def _require_apart(plan: Plan) -> None:
    """Refuse rows that change one tensor: it can have one level only.

    Raises:
        OperationError: There are such.
    """
    for (one, a), (other, b) in itertools.combinations(
        zip(plan.names, plan.variants, strict=True), 2
    ):
        if a.changes() & b.changes():
            raise OperationError(
                f"{one} and {other} have parameters in common, which can have one "
                "level only; suggest from curves of components that have none"
            )
