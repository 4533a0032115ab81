"""Shares: what each part does, averaged over what else is left out."""

from __future__ import annotations

from dataclasses import dataclass, fields

from surgery.report import Column, Table
from surgery.study.results._drawn import AbstractView


@dataclass(frozen=True)
class Share:
    """What leaving out one part changes, averaged over what else is left out.

    Attributes:
        part: Its name.
        metric: Name of the metric.
        value: The mean change.
        low: Lower end of its interval over seeds.
        high: Upper end.
        p: Of the t test over seeds.
        n: Number of seeds.
        context: Name of the base config.
        tier: Name of the tier.
    """

    part: str
    metric: str
    value: float
    low: float
    high: float
    p: float
    n: int
    context: str = ""
    tier: str = ""


@dataclass(frozen=True, repr=False)
class Shares(AbstractView[Share]):
    """What parts do, averaged over the others; prints as a table.

    Attributes:
        rows: One per part, in each context and tier.
        title: What is shown.
        confidence: Level of the intervals.
    """

    title: str
    confidence: float

    def data(self) -> Table:
        """In the columns of `Share`."""
        columns = tuple(Column(field.name) for field in fields(Share))
        return Table("", columns, tuple(vars(row) for row in self.rows))

    def tables(self) -> tuple[Table, ...]:
        percent = f"{100 * self.confidence:g} %"
        columns = (
            (Column("context"), any(row.context for row in self.rows)),
            (Column("tier"), any(row.tier for row in self.rows)),
            (Column("part"), True),
            (Column("value", "signed", "change"), True),
            (
                Column("interval", "interval", f"{percent} interval"),
                True,
            ),
            (Column("p", "p"), True),
            (Column("n", "integer", "seeds"), True),
        )
        table = Table(
            self.title,
            tuple(column for column, tells in columns if tells),
            tuple({**vars(r), "interval": (r.low, r.high)} for r in self.rows),
            caption="Intervals and p over seeds (paired t); p is not corrected.",
        )
        return (table,)
