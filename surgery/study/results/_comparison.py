"""Comparison: what lesion and retraining say of the same components."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Literal

from surgery.report import Column, Point, Table, Tone, scatter
from surgery.stats import Agreement
from surgery.study.results._drawn import AbstractView

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Says = Literal["both", "neither", "lesion only", "retraining only", "opposite"]
_TONES: dict[Says, Tone] = {
    "both": "worse",
    "neither": "unclear",
    "lesion only": "better",
    "retraining only": "better",
    "opposite": "better",
}


@dataclass(frozen=True)
class ComparedRow:
    """One component, as the trained model misses it, and as training does.

    Attributes:
        component: The arm's name.
        lesion: How much worse the trained model is without it.
        lesion_low: Lower end of its interval.
        lesion_high: Upper end of it.
        lesion_rank: Its place, 1 for the component that is missed most.
        retrained: How much worse a model is that was trained without it.
        low: Lower end of its interval.
        high: Upper end of it.
        rank: Its place.
        says: Which of the two calls it important (or harmful): `both`, `neither`,
            `lesion only` (training makes up for it), `retraining only`, `opposite`.
        context: Name of the base config.
        tier: Name of the tier.
    """

    component: str
    lesion: float
    lesion_low: float
    lesion_high: float
    lesion_rank: float
    retrained: float
    low: float
    high: float
    rank: float
    says: Says
    context: str = ""
    tier: str = ""


@dataclass(frozen=True, repr=False)
class Comparison(AbstractView[ComparedRow]):
    """Lesion against retraining, component by component; prints as a table.

    Attributes:
        rows: One per component that both have, in each context and tier.
        agreements: How far the two order the components alike, by (context, tier).
        metric: The study's metric.
        lesion_metric: The ranking's.
        missing: Arms of components that the ranking lacks.
        confidence: Level of the agreements' intervals.
    """

    agreements: dict[tuple[str, str], Agreement]
    metric: str
    lesion_metric: str
    missing: tuple[str, ...]
    confidence: float

    @property
    def disagreements(self) -> tuple[ComparedRow, ...]:
        """The components of which only one of the two says that they matter."""
        return tuple(r for r in self.rows if r.says not in ("both", "neither"))

    def plot(self) -> Figure:
        """Lesion against retraining, with intervals."""
        points = [
            Point(
                row.component,
                (row.lesion, row.lesion_low, row.lesion_high),
                (row.retrained, row.low, row.high),
                _TONES[row.says],
            )
            for row in self.rows
        ]
        return scatter(
            points,
            title="; ".join(self._said()),
            xlabel=f"lesion: how much worse {self.lesion_metric} is",
            ylabel=f"retrained: how much worse {self.metric} is",
            legend={
                "worse": "both say that it matters",
                "better": "they disagree",
                "unclear": "neither shows that it matters",
            },
        )

    def data(self) -> Table:
        """In the columns of `ComparedRow`."""
        columns = tuple(Column(field.name) for field in fields(ComparedRow))
        return Table("", columns, tuple(vars(row) for row in self.rows))

    def tables(self) -> tuple[Table, ...]:
        lesion = f"lesion:\n{self.lesion_metric}\nworse by"
        retrained = f"retrained:\n{self.metric}\nworse by"
        columns = (
            (Column("context"), any(row.context for row in self.rows)),
            (Column("tier"), any(row.tier for row in self.rows)),
            (Column("component"), True),
            (Column("lesion", "signed", lesion), True),
            (Column("lesion_interval", "interval", "interval"), True),
            (Column("lesion_rank", header="rank"), True),
            (Column("retrained", "signed", retrained), True),
            (Column("interval", "interval"), True),
            (Column("rank"), True),
            (Column("says", header="say that\nit matters"), True),
        )
        lines = self._said()
        if wrong := [row.component for row in self.disagreements]:
            lines.append(f"They disagree on {', '.join(dict.fromkeys(wrong))}.")
        if self.missing:
            lines.append(f"Not in the ranking: {', '.join(self.missing)}.")
        table = Table(
            "Lesion of the trained model against training without it",
            tuple(column for column, tells in columns if tells),
            tuple(
                {
                    **vars(row),
                    "lesion_interval": (row.lesion_low, row.lesion_high),
                    "interval": (row.low, row.high),
                    "lesion_rank": f"{row.lesion_rank:g}",
                    "rank": f"{row.rank:g}",
                }
                for row in self.rows
            ),
            caption="\n".join(lines),
        )
        return (table,)

    def _said(self) -> list[str]:
        lines: list[str] = []
        for (context, tier), found in self.agreements.items():
            place = " · ".join(filter(None, (tier, context)))
            start = f"{place}: rank" if place else "Rank"
            if math.isnan(found.rho):
                lines.append(f"{start} agreement needs different scores.")
                continue
            lines.append(
                f"{start} agreement of {found.n}: Spearman {found.rho:.2f} "
                f"[{found.low:.2f}, {found.high:.2f}] ({100 * self.confidence:g} %), "
                f"p {found.p:.3f}, Kendall {found.tau:.2f}"
            )
        return lines
