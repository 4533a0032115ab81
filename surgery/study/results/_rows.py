"""Rows of a study from its trials: paired by seed, corrected over arms."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from surgery.stats import Evidence, adjust, paired_runs, verdict
from surgery.study.arms import Arm, Hypothesis
from surgery.study.policies import Objective
from surgery.study.results._row import ArmRow, Belief
from surgery.study.trials import State, Trial


@dataclass(frozen=True)
class ArmTrials:
    """An arm in one context and tier, with what its trials have come to so far.

    Attributes:
        hypothesis: What was recorded to be expected, before it was run.
    """

    arm: Arm
    context: str
    tier: str
    trials: tuple[Trial, ...]
    hypothesis: Hypothesis = field(default=Hypothesis())

    def values(self, metric: str) -> dict[int, float]:
        return {
            trial.seed: trial.metrics[metric]
            for trial in self.trials
            if trial.state == State.COMPLETE and metric in trial.metrics
        }

    @property
    def failed(self) -> int:
        return sum(trial.state == State.FAILED for trial in self.trials)

    @property
    def started(self) -> bool:
        """Whether there is anything to show: it has a trial that is final."""
        return any(trial.state.final for trial in self.trials)


def rows_of(
    arms: Sequence[ArmTrials], objectives: Sequence[Objective], evidence: Evidence
) -> tuple[ArmRow, ...]:
    """One row per arm and metric that has something to show, the base's left out.

    Corrections count all arms of the same metric, context and tier.
    """
    found = {(a.context, a.tier, a.arm.key): a for a in arms}
    settings = list(dict.fromkeys((a.context, a.tier) for a in arms))
    rows: list[ArmRow] = []
    for context, tier in settings:
        here = [a for a in arms if (a.context, a.tier) == (context, tier)]
        for objective in objectives:
            main = objective is objectives[0]
            family: list[ArmRow] = []
            for one in here:
                if not one.arm.parts or not one.started:
                    continue
                key = (context, tier, one.arm.reference.key)
                row = _row(one, found.get(key), objective, evidence)
                # What is expected is said of the main metric.
                family.append(row if main else replace(row, expected=None))
            rows += _decided(family, objective, evidence)
    return tuple(rows)


def _row(
    one: ArmTrials, other: ArmTrials | None, objective: Objective, evidence: Evidence
) -> ArmRow:
    values = one.values(objective.metric)
    base = {} if other is None else other.values(objective.metric)
    seeds = sorted(set(values) & set(base))
    nan = math.nan
    row = ArmRow(
        arm=one.arm.name,
        metric=objective.metric,
        baseline=statistics.fmean(base.values()) if base else nan,
        value=statistics.fmean(values.values()) if values else nan,
        delta=nan,
        relative=nan,
        low=nan,
        high=nan,
        p=nan,
        p_adjusted=nan,
        verdict="failed",
        expected=one.hypothesis.expect,
        n=len(seeds),
        against=one.arm.reference.name,
        failed=one.failed,
        context=one.context,
        tier=one.tier,
        group=objective.group,
        kind=" + ".join(dict.fromkeys(part.kind for part in one.arm.parts)),
        **costs_of(one.trials),  # type: ignore[arg-type] # pyright: ignore
    )
    if not seeds:
        return row
    effect = paired_runs(
        np.array([base[seed] for seed in seeds]),
        np.array([values[seed] for seed in seeds]),
        confidence=evidence.confidence,
    )
    scale = abs(effect.baseline)
    return replace(
        row,
        baseline=effect.baseline,
        value=effect.value,
        delta=effect.delta,
        relative=effect.delta / scale if scale else nan,
        low=effect.low,
        high=effect.high,
        p=effect.p,
    )


def _decided(
    family: Sequence[ArmRow], objective: Objective, evidence: Evidence
) -> list[ArmRow]:
    adjusted = adjust([row.p for row in family], evidence.correction)
    alpha = 1 - evidence.confidence
    decided: list[ArmRow] = []
    for row, p in zip(family, adjusted, strict=True):
        judged = verdict(row.delta, float(p), objective.higher_is_better, alpha)
        row = replace(row, p_adjusted=float(p), verdict=judged)
        decided.append(replace(row, belief=belief(row, objective)))
    return decided


def belief(row: ArmRow, objective: Objective) -> Belief:
    """What became of what was expected of an arm.

    `confirmed`: the change is significant and in the direction expected. `refuted`: it
    is significant in the other direction, or its interval leaves out the change that
    was expected although nothing is significant. Else `undecided`.
    """
    expected = row.expected
    if expected is None:
        return ""
    if row.verdict == "failed":
        return "undecided"
    up = objective.higher_is_better
    if isinstance(expected, str):
        rises = (expected == "better") == up
    else:
        rises = expected > 0
    significant = row.verdict in ("important", "harmful")
    if significant:
        agrees = expected != 0 and (row.delta > 0) == rises
        return "confirmed" if agrees else "refuted"
    if isinstance(expected, str) or row.n < 2:
        return "undecided"
    return "undecided" if row.low <= expected <= row.high else "refuted"


def costs_of(trials: Sequence[Trial]) -> dict[str, float | int | None]:
    """Mean time of a trial, parameters and multiply-adds of its model."""
    final = [trial.outcome for trial in trials if trial.outcome is not None]
    times = [outcome.seconds for outcome in final]
    # A trial that failed before it had a model knows nothing of it.
    sized = [outcome.facts for outcome in final if outcome.facts.parameters]
    return {
        "seconds": statistics.fmean(times) if times else None,
        "parameters": sized[0].parameters if sized else None,
        "macs": sized[0].macs if sized else None,
    }
