"""compare_contexts: whether an arm does something else in another base config."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, fields, replace

import numpy as np

from surgery.errors import StudyError
from surgery.report import Column, Table
from surgery.stats import Evidence, adjust, paired_runs
from surgery.study.results._apart import changes, found
from surgery.study.results._drawn import AbstractView
from surgery.study.results._results import StudyResults


@dataclass(frozen=True)
class Interaction:
    """What an arm changes in one context, against what it changes in another.

    Attributes:
        arm: Its name.
        metric: Name of the metric.
        context: The context.
        other: The one that it is compared with: the first that was named.
        effect: What the arm changes in the context, mean over seeds.
        other_effect: What it changes in the other, over the same seeds.
        interaction: `effect - other_effect`, paired by seed.
        low: Lower end of its interval.
        high: Upper end of it.
        p: Of the paired t test.
        p_adjusted: `p`, corrected over arms and contexts.
        differs: Whether that is significant.
        n: Number of seeds.
        tier: Name of the tier.
    """

    arm: str
    metric: str
    context: str
    other: str
    effect: float
    other_effect: float
    interaction: float
    low: float
    high: float
    p: float
    p_adjusted: float
    differs: bool
    n: int
    tier: str = ""


@dataclass(frozen=True, repr=False)
class ContextComparison(AbstractView[Interaction]):
    """Arm-by-context interactions; prints as a table.

    Attributes:
        rows: One per arm, metric, tier and context but the first.
        evidence: How they were judged.
    """

    evidence: Evidence = Evidence()

    def data(self) -> Table:
        """In the columns of `Interaction`."""
        columns = tuple(Column(field.name) for field in fields(Interaction))
        return Table("", columns, tuple(vars(row) for row in self.rows))

    def tables(self) -> tuple[Table, ...]:
        percent = f"{100 * self.evidence.confidence:g} %"
        columns = (
            (Column("arm"), True),
            (Column("metric"), True),
            (Column("tier"), any(row.tier for row in self.rows)),
            (Column("context"), True),
            (Column("effect", "signed"), True),
            (Column("other", header="against"), True),
            (Column("other_effect", "signed", "effect\nthere"), True),
            (Column("interaction", "signed"), True),
            (Column("interval", "interval", f"{percent} interval"), True),
            (Column("p_adjusted", "p", "p"), True),
            (Column("n", "integer", "seeds"), True),
        )
        table = Table(
            "Effects by context",
            tuple(column for column, tells in columns if tells),
            tuple({**vars(r), "interval": (r.low, r.high)} for r in self.rows),
            caption=(
                "interaction: the effect in a context less that in the first, paired "
                f"by seed; p corrected over the arms ({self.evidence.correction})."
            ),
        )
        return (table,)


def compare_contexts(
    results: StudyResults, evidence: Evidence = Evidence()
) -> ContextComparison:
    """Each arm's effect in every context, and how it differs from the first one's.

    Differences are paired by seed: the same seed gives both contexts the same data.

    Raises:
        StudyError: The study has one context.
    """
    contexts = list(dict.fromkeys(one.context for one in results.arms))
    if len(contexts) < 2:
        raise StudyError(
            "the study has one context; name several before it is run: "
            "study.contexts(tiny=..., base=...)"
        )
    metrics = list(dict.fromkeys(row.metric for row in results))
    rows: list[Interaction] = []
    for metric in metrics:
        family: list[Interaction] = []
        for one in results.arms:
            other = found(results.arms, contexts[0], one.tier, one.arm.key)
            if not one.arm.parts or one.context == contexts[0] or other is None:
                continue
            mine = changes(results.arms, one, metric)
            theirs = changes(results.arms, other, metric)
            seeds = sorted(set(mine) & set(theirs))
            if not seeds:
                continue
            effect = paired_runs(
                np.array([theirs[seed] for seed in seeds]),
                np.array([mine[seed] for seed in seeds]),
                confidence=evidence.confidence,
            )
            family.append(
                Interaction(
                    one.arm.name,
                    metric,
                    one.context,
                    contexts[0],
                    statistics.fmean(mine[seed] for seed in seeds),
                    statistics.fmean(theirs[seed] for seed in seeds),
                    effect.delta,
                    effect.low,
                    effect.high,
                    effect.p,
                    effect.p,
                    False,
                    len(seeds),
                    one.tier,
                )
            )
        adjusted = adjust([row.p for row in family], evidence.correction)
        alpha = 1 - evidence.confidence
        for row, p in zip(family, map(float, adjusted), strict=True):
            rows.append(replace(row, p_adjusted=p, differs=p <= alpha))
    return ContextComparison(tuple(rows), evidence)
