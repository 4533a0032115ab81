"""Curves as tables: what the drawers of `report` are given."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Protocol

from surgery.report import Column, JSONValue, Table
from surgery.sensitivity._point import Point

Key = tuple[str, str]


class Curved(Protocol):
    """What drawers see of a `Sensitivity`."""

    @property
    def rows(self) -> tuple[Point, ...]: ...
    @property
    def provenance(self) -> Mapping[str, JSONValue]: ...


def ordered(
    points: Sequence[Point], provenance: Mapping[str, JSONValue]
) -> list[Point]:
    """By group and metric as they come, then by harm in all, then by strength."""
    keys = list(dict.fromkeys((p.group, p.metric) for p in points))
    harms: dict[tuple[Key, str], float] = {}
    for p in points:
        key = (p.group, p.metric), p.component
        harms[key] = harms.get(key, 0.0) + harm(p.delta, p.metric, provenance)

    def place(p: Point) -> tuple[int, bool, float, str, float]:
        key = p.group, p.metric
        total = harms[key, p.component]
        lost = math.isnan(total)
        return keys.index(key), lost, 0 if lost else -total, p.component, p.strength

    return sorted(points, key=place)


def harm(delta: float, metric: str, provenance: Mapping[str, JSONValue]) -> float:
    """A change as a loss: above 0, the model does worse."""
    better = provenance.get("higher_is_better")
    up = better.get(metric) if isinstance(better, dict) else None
    return abs(delta) if up is None else -delta if up else delta


def data(points: Sequence[Point]) -> Table:
    """Everything, under the names of the contract."""
    names = [field.name for field in fields(Point) if field.name != "group"]
    if len({p.group for p in points}) > 1:
        names = ["group", *names]
    columns = tuple(Column(name) for name in names)
    return Table("", columns, tuple(vars(p) for p in points))


def tables(curves: Curved) -> tuple[Table, ...]:
    """One table per group and metric, for people."""
    keys = list(dict.fromkeys((p.group, p.metric) for p in curves.rows))
    return tuple(
        _table(curves, [p for p in curves.rows if (p.group, p.metric) == key])
        for key in keys
    )


def _table(curves: Curved, points: Sequence[Point]) -> Table:
    columns = (
        Column("component"),
        Column("level", "number"),
        Column("value", "number"),
        Column("delta", "signed", "change"),
        Column("interval", "interval"),
        Column("n", "integer"),
    )
    rows = tuple({**vars(p), "interval": (p.low, p.high)} for p in points)
    return Table(points[0].metric, columns, rows, section="component")
