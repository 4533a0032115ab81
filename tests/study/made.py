"""Results of trials that were never run, whose numbers are chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from surgery.stats import Evidence
from surgery.study import Arm, Objective, Outcome, Part, State, StudyResults, Trial
from surgery.study.arms import FactorPart, Hypothesis, LayerPart
from surgery.study.results import ArmTrials, rows_of
from surgery.study.trials import Facts

OBJECTIVES = (Objective("accuracy"), Objective("loss", "min"))


def layer(name: str, *targets: str, **options: Any) -> LayerPart:
    return LayerPart(name, targets or (name,), **options)


def factor(name: str, **values: object) -> FactorPart:
    return FactorPart(name, values or {name: 0.0})


def arm(
    parts: Part | Sequence[Part],
    values: Sequence[float | None],
    *,
    against: Sequence[Part] = (),
    hypothesis: Hypothesis | None = None,
    context: str = "",
    tier: str = "",
    seconds: float = 2.0,
    parameters: int = 100,
) -> ArmTrials:
    """One trial per value, with that accuracy and a loss of one less; `None` failed."""
    made = Arm((parts,) if isinstance(parts, Part) else tuple(parts), tuple(against))
    trials: list[Trial] = []
    for seed, value in enumerate(values):
        facts = Facts(parameters=parameters, macs=10 * parameters)
        if value is None:
            outcome = Outcome(State.FAILED, failure="raised", message="ValueError: no")
        else:
            metrics = {"accuracy": value, "loss": 1 - value}
            outcome = Outcome(State.COMPLETE, metrics, seconds, facts=facts)
        id = f"{made.name}-{context}-{tier}-{seed}"
        state = outcome.state
        trials.append(Trial(id, made.name, context, tier, seed, state, 1, outcome))
    return ArmTrials(made, context, tier, tuple(trials), hypothesis or Hypothesis())


def results(
    *arms: ArmTrials,
    evidence: Evidence = Evidence(correction="none"),
    provenance: Mapping[str, Any] | None = None,
) -> StudyResults:
    return StudyResults(
        rows_of(arms, OBJECTIVES, evidence),
        tuple(arms),
        {
            "study": "made",
            "objectives": [vars(objective) for objective in OBJECTIVES],
            "seeds": [0, 1, 2],
            "policy": "leave-one-out",
            "confidence": evidence.confidence,
            "correction": evidence.correction,
            "notes": [],
            "runs": [],
            **(provenance or {}),
        },
    )
