"""Gathering what a study has found so far, out of its storage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from surgery.report import JSONValue
from surgery.stats import Evidence
from surgery.study._design import Design
from surgery.study._notes import joined
from surgery.study._walk import Walk
from surgery.study.arms import Arm
from surgery.study.policies import Objective
from surgery.study.results import ArmTrials, StudyResults, compare_tiers, rows_of
from surgery.study.storage import Storage
from surgery.study.trials import State, Trial


def gathered(
    design: Design,
    walks: Sequence[Walk],
    trials: Mapping[str, Trial],
    storage: Storage,
    objectives: Sequence[Objective],
    evidence: Evidence,
) -> StudyResults:
    """The results of what is done, along walks that were replayed over it."""
    arms = [
        _with_trials(arm, walk, trials, storage) for walk in walks for arm in walk.arms
    ]
    names = {name for one in arms for name in _names(one.arm)}
    notes = joined([*design.notes, *_notes(arms)], names)
    results = StudyResults(
        rows=rows_of(arms, objectives, evidence),
        arms=tuple(arms),
        provenance={
            "study": design.recipe.name,
            "objectives": [vars(objective) for objective in objectives],
            "seeds": list(design.seeds),
            "policy": walks[0].policy.name,
            "confidence": evidence.confidence,
            "correction": evidence.correction,
            "notes": list(notes),
            "runs": list(storage.runs()),
        },
    )
    if len(design.recipe.tiers) == 1:
        return results
    told = [str(one) for one in compare_tiers(results).agreements if one.n > 1]
    all_notes: list[JSONValue] = [*notes, *told]
    return replace(results, provenance={**results.provenance, "notes": all_notes})


def _with_trials(
    arm: Arm, walk: Walk, trials: Mapping[str, Trial], storage: Storage
) -> ArmTrials:
    """An arm with its trials; those that nobody asked for yet are PENDING."""
    setting = walk.branch.setting
    found = [
        trials.get(request.id)
        or Trial(request.id, arm.name, setting.context, setting.tier, request.seed)
        for request in walk.requests(arm)
    ]
    single = len(arm.parts) == 1
    expected = storage.expected(arm.name) if single else None
    return ArmTrials(
        arm, setting.context, setting.tier, tuple(found), expected or arm.hypothesis
    )


def _notes(arms: Sequence[ArmTrials]) -> list[str]:
    """What the trials showed that a reader must know."""
    notes: list[str] = []
    for one in arms:
        complete = [t for t in one.trials if t.state == State.COMPLETE]
        results = {tuple(sorted(t.metrics.items())) for t in complete}
        if len(complete) > 1 and len(results) == 1 and not one.arm.parts:
            notes.append(
                "all seeds of the base gave the same metrics to the last bit: do the "
                "data or train functions set a seed of their own?"
            )
        if _is_base_again(one, arms):
            notes.append(
                f"{one.arm.name} gave the same metrics as {one.arm.reference.name} to "
                "the last bit, with every seed: what it changes does not reach training"
            )
        for trial in one.trials:
            for note in trial.outcome.facts.notes if trial.outcome else ():
                named = any(note.startswith(f"{name}: ") for name in _names(one.arm))
                notes.append(note if named else f"{one.arm.name}: {note}")
    return notes


def _names(arm: Arm) -> tuple[str, ...]:
    """What notes on an arm may begin with."""
    return arm.name, *(part.name for part in arm.parts)


def _is_base_again(one: ArmTrials, arms: Sequence[ArmTrials]) -> bool:
    """Whether an arm came out exactly as the one that it is compared with."""
    key = (one.context, one.tier, one.arm.reference.key)
    other = next((a for a in arms if (a.context, a.tier, a.arm.key) == key), None)
    if other is None or not one.arm.parts or other is one:
        return False
    base = {t.seed: t.metrics for t in other.trials if t.state == State.COMPLETE}
    own = {t.seed: t.metrics for t in one.trials if t.state == State.COMPLETE}
    return len(own) > 0 and all(base.get(seed) == own[seed] for seed in own)
