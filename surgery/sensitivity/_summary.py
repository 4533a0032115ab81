"""Summary: each curve in three numbers, and what rank components have by each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from surgery.errors import OperationError
from surgery.report import AbstractRows, Column, JSONValue, Table
from surgery.sensitivity._curve import Curve, better_of, curves_of, harm
from surgery.sensitivity._point import Point


@dataclass(frozen=True)
class Summarised:
    """One component's curve of one metric in a few numbers.

    Attributes:
        component: The target that names it.
        metric: Name of the metric.
        area: Mean change of the metric from doing nothing to the strongest level.
        area_low: Lower end of its interval, that of the whole band.
        area_high: Upper end of it.
        slope: Change of the metric per strength, up to the weakest level.
        slope_low: Lower end of its interval.
        slope_high: Upper end of it.
        critical: The smallest level that costs a part of the metric; infinite if none
            of those measured does.
        critical_low: The level at which it may cost that much.
        critical_high: The level at which it surely does.
        rank_area: Place by area, 1 for the most sensitive component.
        rank_slope: Place by slope.
        rank_critical: Place by critical level.
        group: The table it belongs to, where metrics come in named groups.
    """

    component: str
    metric: str
    area: float
    area_low: float
    area_high: float
    slope: float
    slope_low: float
    slope_high: float
    critical: float
    critical_low: float
    critical_high: float
    rank_area: int
    rank_slope: int
    rank_critical: int
    group: str = ""


@dataclass(frozen=True, repr=False)
class Summary(AbstractRows[Summarised]):
    """Curves in a few numbers, the most sensitive component first.

    Attributes:
        rows: One per component and metric.
        cost: What part of the metric the critical level costs.
    """

    cost: float

    def tables(self) -> Sequence[Table]:
        keys = list(dict.fromkeys((row.group, row.metric) for row in self.rows))
        return [
            _table([r for r in self.rows if (r.group, r.metric) == key], self.cost)
            for key in keys
        ]

    def data(self) -> Table:
        names = [name for name in Summarised.__dataclass_fields__ if name != "group"]
        if len({row.group for row in self.rows}) > 1:
            names = ["group", *names]
        columns = tuple(Column(name) for name in names)
        return Table("", columns, tuple(map(asdict, self.rows)))


def summarised(
    points: Sequence[Point], provenance: Mapping[str, JSONValue], cost: float
) -> Summary:
    """Curves in a few numbers.

    Raises:
        OperationError: The cost is no part of anything.
    """
    if not 0 < cost <= 1:
        raise OperationError(
            f"cost is the part of the metric that is lost at the critical level: it "
            f"must lie in (0, 1], got {cost}"
        )
    rows: list[Summarised] = []
    for key in dict.fromkeys((p.group, p.metric) for p in points):
        group, metric = key
        curves = curves_of([p for p in points if (p.group, p.metric) == key])
        up = better_of(provenance, metric)
        rows += _rows(curves, group, metric, up, cost)
    return Summary(tuple(rows), cost)


def _rows(
    curves: Sequence[Curve], group: str, metric: str, up: bool | None, cost: float
) -> list[Summarised]:
    areas = [curve.area() for curve in curves]
    slopes = [curve.slope() for curve in curves]
    levels = [curve.critical(cost, up) for curve in curves]
    weakest = [_strength(c, x[0]) for c, x in zip(curves, levels, strict=True)]
    ranks = zip(
        places([harm(x[0], up) for x in areas]),
        places([harm(x[0], up) for x in slopes]),
        places([-x for x in weakest]),
        strict=True,
    )
    found = [
        Summarised(curve.component, metric, *area, *slope, *level, *rank, group)
        for curve, area, slope, level, rank in zip(
            curves, areas, slopes, levels, ranks, strict=True
        )
    ]
    return sorted(found, key=lambda row: row.rank_area)


def places(harms: Sequence[float]) -> list[int]:
    """Places from the most harmful on; equal ones share the best, NaN comes last."""
    from scipy.stats import rankdata

    keys = np.array([-math.inf if math.isnan(x) else x for x in harms])
    return [int(x) for x in rankdata(-keys, method="min")]


def _strength(curve: Curve, level: float) -> float:
    if not math.isfinite(level):
        return level
    order = np.argsort(curve.levels, kind="stable")
    return float(np.interp(level, curve.levels[order], curve.strengths[order]))


def _table(rows: Sequence[Summarised], cost: float) -> Table:
    columns = (
        Column("component"),
        Column("area", "signed", "area\n(mean change)"),
        Column("area_interval", "interval", "interval"),
        Column("slope", "signed", "slope\nat 0"),
        Column("slope_interval", "interval", "interval"),
        Column("critical", "number", f"level that\ncosts {100 * cost:g} %"),
        Column("critical_interval", header="interval"),
        Column("places", "text", "place by area,\nslope, level"),
    )
    shown = tuple(
        {
            **asdict(row),
            "area_interval": (row.area_low, row.area_high),
            "slope_interval": (row.slope_low, row.slope_high),
            "critical_interval": f"{row.critical_low:.4g} to {row.critical_high:.4g}",
            "places": f"{row.rank_area}, {row.rank_slope}, {row.rank_critical}",
        }
        for row in rows
    )
    caption = (
        "area: mean change from doing nothing to the strongest level; slope: change "
        "per strength up to the weakest level; inf: no level measured costs as much."
    )
    group = f"{rows[0].group}. " if rows[0].group else ""
    return Table(f"{group}Sensitivity of {rows[0].metric}", columns, shown, caption)
