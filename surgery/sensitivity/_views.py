"""Curves as tables and charts: what the drawers of `report` are given."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Protocol

from surgery.errors import SurgeryError
from surgery.report import Column, JSONValue, Line, Table, format_value, line_chart
from surgery.sensitivity._curve import Curve, better_of, curves_of, harm
from surgery.sensitivity._point import Point

if TYPE_CHECKING:
    from matplotlib.figure import Figure

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
    """By group and metric as they come, then by area of harm, then by strength."""
    keys = list(dict.fromkeys((p.group, p.metric) for p in points))
    harms: dict[tuple[Key, str], float] = {}
    for key in keys:
        up = better_of(provenance, key[1])
        mine = [p for p in points if (p.group, p.metric) == key]
        for curve in curves_of(sorted(mine, key=lambda p: p.strength)):
            harms[key, curve.component] = harm(curve.area()[0], up)

    def place(p: Point) -> tuple[int, float, str, float]:
        key = p.group, p.metric
        lost = harms.get((key, p.component), math.nan)
        # What failed comes last; a single untouched point has no area.
        rank = math.inf if math.isnan(lost) else -lost
        return keys.index(key), rank, p.component, p.strength

    return sorted(points, key=place)


def names_of(points: Sequence[Point]) -> dict[Key, str]:
    """What each group's metric is called; with its group where there are several."""
    several = len({p.group for p in points}) > 1
    keys = dict.fromkeys((p.group, p.metric) for p in points)
    return {(g, m): f"{g}/{m}" if several and g else m for g, m in keys}


def data(points: Sequence[Point]) -> Table:
    """Everything, under the names of the contract."""
    names = [field.name for field in fields(Point) if field.name != "group"]
    if len({p.group for p in points}) > 1:
        names = ["group", *names]
    columns = tuple(Column(name) for name in names)
    return Table("", columns, tuple(vars(p) for p in points))


def tables(curves: Curved) -> tuple[Table, ...]:
    """One table per group and metric, for people."""
    found: list[Table] = []
    for key, name in names_of(curves.rows).items():
        mine = [p for p in curves.rows if (p.group, p.metric) == key]
        found.append(_table(curves, mine, name))
    return tuple(found) or (Table("nothing was perturbed", (Column("component"),), ()),)


def _table(curves: Curved, points: Sequence[Point], name: str) -> Table:
    confidence = curves.provenance.get("confidence")
    level = f"{100 * confidence:g} % " if isinstance(confidence, float) else ""
    columns = (
        (Column("component"), True),
        (Column("level", "number"), True),
        (Column("value", "number", f"{name}\nat it"), True),
        (Column("delta", "signed", "change"), True),
        (Column("interval", "interval", f"{level}interval"), True),
        (Column("bar", "bar", "", _BAR), True),
        (Column("n", "integer"), len({p.n for p in points}) > 1),
        (Column("effect"), any(p.effect != "full" for p in points)),
        (Column("failed", "integer", "failed\nsamples"), any(p.failed for p in points)),
        (Column("note"), any(p.note for p in points)),
    )
    rows = tuple(
        {**vars(p), "interval": (p.low, p.high), "bar": (p.delta, p.low, p.high)}
        for p in points
    )
    shown = tuple(column for column, tells in columns if tells)
    return Table(_headline(curves, points, name), shown, rows, _caption(curves, points))


def _headline(curves: Curved, points: Sequence[Point], name: str) -> str:
    first = points[0]
    baseline = format_value(first.baseline, "number")
    return (
        f"{curves.provenance.get('model', 'model')}: {name} under {first.perturb}; "
        f"baseline {baseline} on {max(p.n for p in points):,} samples"
    )


def _caption(curves: Curved, points: Sequence[Point]) -> str:
    up = better_of(curves.provenance, points[0].metric)
    below = (
        ""
        if up is None
        else f"; {'below' if up else 'above'} zero, the model does worse"
    )
    lines = [f"change: {points[0].metric} at the level, minus baseline{below}."]
    repeats = max(p.repeats for p in points)
    over = f"over samples and {repeats} draws" if repeats > 1 else "over samples"
    lines.append(f"interval: {over}, each row on its own.")
    for key, words in (("skipped", "Skipped"), ("failures", "Failed samples")):
        found = curves.provenance.get(key)
        if isinstance(found, list) and found:
            lines.append(f"{words}: {len(found)}, listed in .{key}.")
    left = curves.provenance.get("open")
    if isinstance(left, dict) and left:
        lines.append(
            f"Not known to the tolerance: {', '.join(left)}: neighbouring points still "
            "differ by more (provenance['open'])."
        )
    return "\n".join(lines)


_BAR = "bar: █ to the near end of the interval, ▓ to the change, ░ to the far end."


def chart(curves: Curved, metric: str | None) -> Figure:
    """Curves with bands of one metric, the most harmful first."""
    names = names_of(curves.rows)
    metric = next(iter(names.values()), "") if metric is None else metric
    keys = [key for key, name in names.items() if name == metric]
    if names and not keys:
        raise SurgeryError(
            f"these curves have no metric {metric!r}; they have "
            f"{', '.join(names.values())}"
        )
    points = [p for p in curves.rows if (p.group, p.metric) in keys]
    bits = any(p.level != p.strength for p in points)
    lines = [_line(curve, bits) for curve in curves_of(points)]
    perturb = points[0].perturb if points else ""
    return line_chart(
        lines,
        title=_headline(curves, points, metric) if points else "",
        xlabel="bits" if bits else f"level of {perturb}",
        ylabel=f"change of {metric}",
        descending=bits,
    )


def _line(curve: Curve, bits: bool) -> Line:
    # Without a level of 0, a curve begins where it was measured.
    first = 1 if bits else 0
    return Line(
        curve.component,
        *(
            [float(x) for x in side[first:]]
            for side in (curve.levels, curve.deltas, curve.lows, curve.highs)
        ),
    )
