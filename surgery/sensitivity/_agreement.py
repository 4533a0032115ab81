"""Agreement: whether summaries, and full ablation, put components in one order."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields

from surgery import stats
from surgery.ranking import Ranking
from surgery.report import AbstractRows, Column, JSONValue, Table
from surgery.sensitivity._curve import better_of, harm
from surgery.sensitivity._summary import Summary, places


@dataclass(frozen=True)
class Agreed:
    """How alike two orders of the same components are.

    Attributes:
        metric: Name of the metric.
        first: What one order is by: `area`, `slope`, `critical` or `ablation`.
        second: What the other is by.
        spearman: Spearman's correlation of ranks.
        low: Lower end of its interval (Bonett and Wright, 2000).
        high: Upper end of it.
        kendall: Kendall's tau-b.
        n: Components that both have.
        group: The table it belongs to, where metrics come in named groups.
    """

    metric: str
    first: str
    second: str
    spearman: float
    low: float
    high: float
    kendall: float
    n: int
    group: str = ""


_COLUMNS = (
    Column("metric"),
    Column("first"),
    Column("second"),
    Column("spearman", "signed"),
    Column("interval", "interval"),
    Column("kendall", "signed"),
    Column("n", "integer"),
)


@dataclass(frozen=True, repr=False)
class Agreement(AbstractRows[Agreed]):
    """Rank correlations between the summaries of curves, and with full ablation."""

    def tables(self) -> Sequence[Table]:
        rows = tuple({**asdict(r), "interval": (r.low, r.high)} for r in self.rows)
        return (Table("Agreement of orders", _COLUMNS, rows),)

    def data(self) -> Table:
        columns = tuple(Column(field.name) for field in fields(Agreed))
        return Table("", columns, tuple(map(asdict, self.rows)))


def agreed(
    summary: Summary,
    provenance: Mapping[str, JSONValue],
    ranking: Ranking | None,
    confidence: float,
) -> Agreement:
    """Rank correlations of every pair of orders, metric by metric."""
    rows: list[Agreed] = []
    for group, metric in dict.fromkeys((r.group, r.metric) for r in summary):
        mine = [r for r in summary if (r.group, r.metric) == (group, metric)]
        orders = {
            name: {r.component: float(getattr(r, f"rank_{name}")) for r in mine}
            for name in ("area", "slope", "critical")
        }
        if ranking is not None:
            up = better_of(provenance, metric)
            others = [r for r in ranking if (r.group, r.metric) == (group, metric)]
            by_harm = places([harm(r.delta, up) for r in others])
            orders["ablation"] = {
                r.component: float(place)
                for r, place in zip(others, by_harm, strict=True)
            }
        for first, second in itertools.combinations(orders, 2):
            a, b = orders[first], orders[second]
            both = [name for name in a if name in b]
            found = alike([a[x] for x in both], [b[x] for x in both], confidence)
            rows.append(
                Agreed(
                    metric,
                    first,
                    second,
                    found.rho,
                    found.low,
                    found.high,
                    found.tau,
                    found.n,
                    group,
                )
            )
    return Agreement(tuple(rows))


def alike(a: Sequence[float], b: Sequence[float], confidence: float) -> stats.Agreement:
    """Rank correlations of what both have a number for."""
    both = [(x, y) for x, y in zip(a, b, strict=True) if math.isfinite(x + y)]
    one, other = [x for x, _ in both], [y for _, y in both]
    return stats.rank_agreement(one, other, confidence=confidence)
