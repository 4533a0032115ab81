"""compare_tiers: the effects on each tier side by side, and whether ranks agree."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from surgery.report import Column, Table
from surgery.stats import rank_agreement
from surgery.study.results._drawn import AbstractView
from surgery.study.results._results import StudyResults
from surgery.study.results._row import ArmRow

OWN = "study"
"""What the study's own tier, the last one, is called beside others."""


@dataclass(frozen=True)
class TierAgreement:
    """Whether two tiers put arms in the same order.

    Attributes:
        tier: The cheaper one.
        other: The other one; `study`: the study's own.
        metric: By which metric.
        context: In which context.
        rank: Spearman's correlation of the changes.
        low: Lower end of its interval; not a number below four arms.
        high: Upper end.
        n: Number of arms on both.
    """

    tier: str
    other: str
    metric: str
    context: str
    rank: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        interval = (
            "" if math.isnan(self.low) else f" ({self.low:.2f} to {self.high:.2f})"
        )
        where = f" in context {self.context}" if self.context else ""
        return (
            f"rank agreement of tiers {self.tier} and {self.other} by {self.metric}"
            f"{where}: {self.rank:.2f}{interval}, {self.n} arms"
        )


@dataclass(frozen=True, repr=False)
class TierComparison(AbstractView[Mapping[str, object]]):
    """Changes on each tier side by side; prints as a table.

    Attributes:
        rows: One per arm, metric and context; a change by the name of each tier.
        agreements: One per pair of tiers, metric and context.
        tiers: Names of the tiers, in order.
    """

    agreements: tuple[TierAgreement, ...]
    tiers: tuple[str, ...]

    def tables(self) -> tuple[Table, ...]:
        return (self.data(),)

    def data(self) -> Table:
        columns = [Column("arm"), Column("metric"), Column("context")]
        for tier in self.tiers:
            columns += [Column(tier, "signed"), Column(f"{tier} verdict")]
        kept = [c for c in columns if c.name != "context" or self._has_contexts]
        return Table(
            "Changes by tier",
            tuple(kept),
            self.rows,
            caption="\n".join(str(one) for one in self.agreements),
        )

    @property
    def _has_contexts(self) -> bool:
        return any(row["context"] for row in self.rows)


def compare_tiers(results: StudyResults, confidence: float = 0.95) -> TierComparison:
    """The effects of each arm on every tier, and how well tiers agree on their order.

    Spearman's correlation over the arms that both tiers have; its interval is that of
    Bonett and Wright, "Sample size requirements for estimating Pearson, Kendall and
    Spearman correlations", 2000.
    """
    names = list(dict.fromkeys(one.tier for one in results.arms))
    by_arm: dict[tuple[str, str, str], dict[str, ArmRow]] = {}
    for row in results:
        by_arm.setdefault((row.context, row.metric, row.arm), {})[row.tier] = row
    rows: list[dict[str, object]] = []
    for (context, metric, arm), tiers in by_arm.items():
        line: dict[str, object] = {"arm": arm, "metric": metric, "context": context}
        for tier in names:
            here = tiers.get(tier)
            line[tier or OWN] = math.nan if here is None else here.delta
            line[f"{tier or OWN} verdict"] = "" if here is None else here.verdict
        rows.append(line)
    agreements: list[TierAgreement] = []
    for context, metric in dict.fromkeys(key[:2] for key in by_arm):
        setting = [t for key, t in by_arm.items() if key[:2] == (context, metric)]
        for one, other in itertools.combinations(names, 2):
            pairs = [
                (tiers[one].delta, tiers[other].delta)
                for tiers in setting
                if one in tiers and other in tiers
            ]
            finite = [pair for pair in pairs if all(map(math.isfinite, pair))]
            agreements.append(
                TierAgreement(
                    one or OWN,
                    other or OWN,
                    metric,
                    context,
                    *_rank(finite, confidence),
                    len(finite),
                )
            )
    return TierComparison(
        tuple(rows), tuple(agreements), tuple(name or OWN for name in names)
    )


def _rank(
    pairs: Sequence[tuple[float, float]], confidence: float
) -> tuple[float, float, float]:
    found = rank_agreement(
        [one for one, _ in pairs], [other for _, other in pairs], confidence=confidence
    )
    if math.isnan(found.rho) or found.n < 4:  # the interval would say nothing
        return found.rho, math.nan, math.nan
    return found.rho, found.low, found.high
