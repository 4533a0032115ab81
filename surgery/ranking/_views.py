"""A ranking's tables, chart and logs: what the drawers of `report` are given."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from surgery.errors import SurgeryError
from surgery.ranking._row import Ranked, Row
from surgery.ranking._words import caption, headline
from surgery.report import (
    Bar,
    Column,
    JSONValue,
    Session,
    Table,
    Tone,
    bar_chart,
    markdown,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure


_TONES: Mapping[str, Tone] = {
    "important": "worse",
    "harmful": "better",
    "inconclusive": "unclear",
    "failed": "failed",
}
_BAR = "bar: █ to the near end of the interval, ▓ to the change, ░ to the far end."
_COLORS = {"important": "bold", "harmful": "yellow", "failed": "red"}


def ordered(rows: Sequence[Row], better: Mapping[str, JSONValue]) -> tuple[Row, ...]:
    """By group and metric as they come, then by harm; what failed comes last."""
    keys = list(dict.fromkeys((row.group, row.metric) for row in rows))
    groups = list(dict.fromkeys(row.group for row in rows))

    def place(row: Row) -> tuple[int, int, bool, float]:
        up = better.get(row.metric)
        harm = abs(row.delta) if up is None else -row.delta if up else row.delta
        lost = math.isnan(harm)
        key = (row.group, row.metric)
        return groups.index(row.group), keys.index(key), lost, 0 if lost else -harm

    return tuple(sorted(rows, key=place))


def all_series(ranking: Ranked) -> dict[str, tuple[Row, ...]]:
    """Rows by metric; the group is part of the name where there are several."""
    several = len({row.group for row in ranking.rows}) > 1
    named: dict[str, list[Row]] = {}
    for row in ranking.rows:
        name = f"{row.group}/{row.metric}" if several and row.group else row.metric
        named.setdefault(name, []).append(row)
    return {name: tuple(rows) for name, rows in named.items()}


def series(ranking: Ranked, metric: str | None) -> tuple[str, tuple[Row, ...]]:
    """One metric's name and rows."""
    named = all_series(ranking)
    if not named:
        return metric or "", ()
    if metric is None:
        metric = next(iter(named))
    if metric not in named:
        raise SurgeryError(
            f"this ranking has no metric {metric!r}; it has {', '.join(named)}"
        )
    return metric, named[metric]


def data(ranking: Ranked) -> Table:
    """Everything, under the names of the contract."""
    names = [field.name for field in fields(Row) if field.name != "group"]
    if len({row.group for row in ranking.rows}) > 1:
        names = ["group", *names]
    columns = tuple(Column(name) for name in names)
    return Table("", columns, tuple(vars(row) for row in ranking.rows))


def tables(ranking: Ranked) -> tuple[Table, ...]:
    """One table per group, for people."""
    groups = list(dict.fromkeys(row.group for row in ranking.rows)) or [""]
    return tuple(
        _table(ranking, [row for row in ranking.rows if row.group == group], group)
        for group in groups
    )


def _table(ranking: Ranked, rows: Sequence[Row], group: str) -> Table:
    metrics = list(dict.fromkeys(row.metric for row in rows))
    confidence = ranking.provenance.get("confidence")
    level = f"{100 * confidence:g} % " if isinstance(confidence, float) else ""
    one = metrics[0] if len(metrics) == 1 else "value"
    # Each column and whether it tells anything here.
    columns = (
        (Column("component"), True),
        (Column("metric"), len(metrics) > 1),
        (Column("baseline", "number"), not _same(rows, "baseline")),
        (Column("value", "number", f"{one}\nwithout it"), True),
        (Column("delta", "signed", "change"), True),
        (Column("interval", "interval", f"{level}interval"), True),
        (Column("bar", "bar", "", _BAR), bool(rows)),
        (Column("p_adjusted", "p", "p"), True),
        (Column("verdict", styles=_COLORS), True),
        (Column("effect"), any(row.effect != "full" for row in rows)),
        (Column("n", "integer"), not _same(rows, "n")),
        (Column("failed", "integer", "failed\nsamples"), any(r.failed for r in rows)),
        (Column("note"), any(row.note for row in rows)),
    )
    return Table(
        title=headline(ranking, rows, group),
        columns=tuple(column for column, tells in columns if tells),
        rows=tuple(
            {
                **vars(row),
                "interval": (row.low, row.high),
                "bar": (row.delta, row.low, row.high),
            }
            for row in rows
        ),
        caption=caption(ranking, rows),
        section="metric",
    )


def _same(rows: Sequence[Row], name: str) -> bool:
    """Whether all rows of each metric agree, so that the title can say it once."""
    values = {(row.metric, repr(getattr(row, name))) for row in rows}
    return len(values) <= len({row.metric for row in rows})


def chart(ranking: Ranked, metric: str | None) -> Figure:
    name, rows = series(ranking, metric)
    return bar_chart(
        [
            Bar(row.component, row.delta, row.low, row.high, _TONES[row.verdict])
            for row in rows
        ],
        title=headline(ranking, rows, ""),
        xlabel=f"change of {name}",
        legend={
            "worse": "important: worse without it",
            "better": "harmful: better without it",
            "unclear": "inconclusive",
        },
    )


def logs(ranking: Ranked) -> dict[str, Any]:
    """What `write_tensorboard` takes, by argument.

    TensorBoard groups charts by what stands before the first slash: the whole
    ranking has one group per metric and quantity with one chart per component; the
    components' own runs share tags, so that one chart compares them all.
    """
    named = all_series(ranking)
    scalars: dict[str, float] = {}
    hparams: dict[str, dict[str, str | float]] = {}
    metrics: dict[str, dict[str, float]] = {}
    shared = {
        key: value if isinstance(value, str) else float(value)
        for key in ("mode", "dial", "seed")
        if isinstance(value := ranking.provenance.get(key), str | int | float)
    }
    for name, rows in named.items():
        for row in rows:
            setting = hparams.setdefault(
                row.component, {"component": row.component, **shared}
            )
            setting["effect"] = row.effect
            setting["verdict" if len(named) == 1 else f"verdict {name}"] = row.verdict
            quantities = metrics.setdefault(row.component, {})
            for quantity in ("delta", "value", "low", "high", "p_adjusted"):
                quantities[f"{name}/{quantity}"] = getattr(row, quantity)
            scalars[f"{name} delta/{row.component}"] = row.delta
            scalars[f"{name} value/{row.component}"] = row.value
    return {
        "scalars": scalars,
        "sessions": [Session(key, hparams[key], metrics[key]) for key in hparams],
        "figures": {f"{name}/bars": chart(ranking, name) for name in named},
        "texts": {"ranking": "\n\n".join(map(markdown, tables(ranking)))},
    }
