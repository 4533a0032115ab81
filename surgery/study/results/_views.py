"""A study's tables: what the drawers of `report` are given."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, Protocol

from surgery.report import Column, JSONValue, Table
from surgery.study.results._row import ArmRow
from surgery.study.results._rows import ArmTrials
from surgery.study.trials import State

_BAR = "bar: █ to the near end of the interval, ▓ to the change, ░ to the far end."
_COLORS = {"important": "bold", "harmful": "yellow", "failed": "red"}
_BELIEFS = {"confirmed": "green", "refuted": "red"}


class Studied(Protocol):
    """What there is to draw."""

    @property
    def rows(self) -> tuple[ArmRow, ...]: ...
    @property
    def arms(self) -> tuple[ArmTrials, ...]: ...
    @property
    def provenance(self) -> Mapping[str, JSONValue]: ...


def ordered(
    rows: Sequence[ArmRow], provenance: Mapping[str, JSONValue]
) -> tuple[ArmRow, ...]:
    """By tier, context and metric as they come, then by harm; failed ones last."""
    keys = list(dict.fromkeys(_series(row) for row in rows))
    up = higher_is_better(provenance)

    def place(row: ArmRow) -> tuple[int, bool, float]:
        harm = -row.delta if up.get(row.metric, True) else row.delta
        lost = math.isnan(harm)
        return keys.index(_series(row)), lost, 0.0 if lost else -harm

    return tuple(sorted(rows, key=place))


def higher_is_better(provenance: Mapping[str, JSONValue]) -> dict[str, bool]:
    listed: Any = provenance.get("objectives") or []
    return {one["metric"]: one["direction"] == "max" for one in listed}


def _series(row: ArmRow) -> tuple[str, str, str, str]:
    return row.tier, row.context, row.group, row.metric


def data(results: Studied) -> Table:
    """Everything, under the names of the contract."""
    names = [field.name for field in fields(ArmRow)]
    for name in ("context", "tier", "group"):
        if not any(getattr(row, name) for row in results.rows):
            names.remove(name)
    return Table(
        "", tuple(map(Column, names)), tuple(vars(row) for row in results.rows)
    )


def tables(results: Studied) -> tuple[Table, ...]:
    """One table per tier, context and class of objectives, for people."""
    keys = list(dict.fromkeys(_series(row)[:3] for row in results.rows))
    if not keys:
        return (Table(headline(results, ""), (), (), caption=_caption(results, ())),)
    return tuple(
        _table(results, [row for row in results.rows if _series(row)[:3] == key], key)
        for key in keys
    )


def _table(
    results: Studied, rows: Sequence[ArmRow], key: tuple[str, str, str]
) -> Table:
    several = len({row.metric for row in rows}) > 1
    one = "value" if several else rows[0].metric
    level = results.provenance.get("confidence")
    percent = f"{100 * level:g} % " if isinstance(level, float) else ""
    hoped = any(row.belief for row in rows)
    columns = (
        (Column("arm"), True),
        (Column("metric"), several),
        (Column("against"), any(row.against != "base" for row in rows)),
        (Column("baseline", "number"), True),
        (Column("value", "number", f"{one}\nwithout it"), True),
        (Column("delta", "signed", "change"), True),
        (Column("relative", "percent", "relative"), True),
        (Column("interval", "interval", f"{percent}interval"), True),
        (Column("bar", "bar", "", _BAR), True),
        (Column("p_adjusted", "p", "p"), True),
        (Column("verdict", styles=_COLORS), True),
        (Column("expected"), any(row.expected is not None for row in rows)),
        (Column("belief", header="outcome", styles=_BELIEFS), hoped),
        (Column("n", "integer", "seeds"), True),
        (Column("failed", "integer", "failed\ntrials"), any(r.failed for r in rows)),
        (Column("seconds", "number", "seconds"), True),
    )
    return Table(
        title=headline(results, " · ".join(filter(None, key))),
        columns=tuple(column for column, tells in columns if tells),
        rows=tuple(
            {
                **vars(row),
                "interval": (row.low, row.high),
                "bar": (row.delta, row.low, row.high),
            }
            for row in rows
        ),
        caption=_caption(results, rows),
        section="metric",
    )


def headline(results: Studied, where: str) -> str:
    """The title of a table or chart."""
    name = results.provenance.get("study")
    policy = results.provenance.get("policy")
    title = f"Study {name}: {policy}"
    return f"{title} · {where}" if where else title


def _failures(results: Studied) -> list[str]:
    """What failed and why; the seeds for which it did so alike, on one line."""
    failed: dict[tuple[str, ...], list[str]] = {}
    for one in results.arms:
        for trial in one.trials:
            if trial.state == State.FAILED and trial.outcome is not None:
                why = "".join(trial.outcome.message.splitlines()[:1])
                place = (one.arm.name, one.context, one.tier)
                failed.setdefault((*filter(None, place), why), []).append(
                    str(trial.seed)
                )
    return [
        f"{', '.join(place)}, seed{'s' * (len(seeds) > 1)} {', '.join(seeds)} failed: "
        f"{why}"
        for (*place, why), seeds in failed.items()
    ]


def _caption(results: Studied, rows: Sequence[ArmRow]) -> str:
    everything = [trial for one in results.arms for trial in one.trials]
    final = sum(trial.state.final for trial in everything)
    lines: list[str] = []
    if final < len(everything) or not rows:
        lines.append(f"{final} of {len(everything)} trials are done.")
    correction = results.provenance.get("correction")
    if rows:
        lines.append(
            "Changes against the base with the same seed, paired t; p corrected over "
            f"the arms ({correction})."
        )
    if any(row.n < 2 for row in rows):
        lines.append("One seed has no interval: give the study more seeds.")
    lines += _failures(results)
    notes: Any = results.provenance.get("notes") or []
    lines += [f"Note: {note}" for note in notes]
    return "\n".join(lines)
