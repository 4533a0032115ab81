"""Short views: importance, what was expected, costs, best and worst."""

from __future__ import annotations

import math
from collections.abc import Sequence

from surgery.report import Column, JSONValue, Table
from surgery.study.results._elements import base_of, settings, where
from surgery.study.results._row import ArmRow
from surgery.study.results._rows import ArmTrials, costs_of
from surgery.study.results._together import without_empty
from surgery.study.trials import State

_PLACE = (Column("context"), Column("tier"))


def importance(
    rows: Sequence[ArmRow], arms: Sequence[ArmTrials], metric: str, up: bool
) -> Table:
    """Components by what is lost without them; arms of one part each."""
    single = {one.arm.name for one in arms if len(one.arm.parts) == 1}
    sign = -1.0 if up else 1.0
    ranked: list[dict[str, object]] = []
    places: dict[tuple[str, str], int] = {}
    for row in rows:  # by setting and metric, then by harm
        if row.metric != metric or row.arm not in single or row.against != "base":
            continue
        place = places[row.context, row.tier] = (
            places.get((row.context, row.tier), 0) + 1
        )
        lost = math.isnan(row.delta)
        ends = sorted((sign * row.low, sign * row.high)) if not lost else [math.nan] * 2
        ranked.append(
            {
                **where(row.context, row.tier),
                "rank": None if lost else place,
                "component": row.arm,
                "kind": row.kind,
                "importance": sign * row.delta,
                "low": ends[0],
                "high": ends[1],
                "bar": (sign * row.delta, *ends),
                "verdict": row.verdict,
                "n": row.n,
            }
        )
    columns = (
        *_PLACE,
        Column("rank", "integer"),
        Column("component"),
        Column("kind"),
        Column("importance", "signed"),
        Column("low", "signed"),
        Column("high", "signed"),
        Column("bar", "bar", ""),
        Column("verdict"),
        Column("n", "integer", "seeds"),
    )
    return Table(
        f"Importance: how much worse {metric} is without each component",
        without_empty(columns, ranked),
        tuple(ranked),
    )


def expectations(rows: Sequence[ArmRow], arms: Sequence[ArmTrials]) -> Table:
    """What was expected of arms before they were run, and what came."""
    whys = {(o.context, o.tier, o.arm.name): o.hypothesis.why for o in arms}
    told: list[dict[str, object]] = [
        {
            **where(row.context, row.tier),
            "arm": row.arm,
            "metric": row.metric,
            "expected": row.expected,
            "actual": row.delta,
            "low": row.low,
            "high": row.high,
            "belief": row.belief,
            "why": whys.get((row.context, row.tier, row.arm), ""),
        }
        for row in rows
        if row.expected is not None
    ]
    columns = (
        *_PLACE,
        Column("arm"),
        Column("metric"),
        Column("expected"),
        Column("actual", "signed"),
        Column("low", "signed"),
        Column("high", "signed"),
        Column("belief"),
        Column("why"),
    )
    return Table("Expected against actual", without_empty(columns, told), tuple(told))


def costs(arms: Sequence[ArmTrials]) -> Table:
    """Time, parameters and multiply-adds of each arm, and against the base's."""
    rows: list[dict[str, object]] = []
    for context, tier, here in settings(arms):
        base = base_of(here)
        old = costs_of(base.trials) if base else {}
        for one in here:
            new = costs_of(one.trials)
            row: dict[str, object] = {**where(context, tier), "arm": one.arm.name}
            for name in ("seconds", "parameters", "macs"):
                row[name] = new[name]
                row[f"{name}_relative"] = _relative(old.get(name), new[name])
            rows.append(row)
    columns = (
        *_PLACE,
        Column("arm"),
        Column("seconds", "number"),
        Column("seconds_relative", "percent", "against\nbase"),
        Column("parameters", "integer"),
        Column("parameters_relative", "percent", "against\nbase"),
        Column("macs", "integer", "multiply-\nadds"),
        Column("macs_relative", "percent", "against\nbase"),
    )
    return Table(
        "What arms cost: time of a trial, parameters, multiply-adds of a sample",
        without_empty(columns, rows),
        tuple(rows),
    )


def _relative(before: float | None, after: float | None) -> float | None:
    return None if not before or after is None else after / before - 1


def summary(
    arms: Sequence[ArmTrials], metric: str, higher_is_better: bool
) -> dict[str, JSONValue]:
    """Best, worst and average of all complete trials, as plain values."""
    found = [
        (value, one, trial)
        for one in arms
        for trial in one.trials
        if trial.state == State.COMPLETE
        and (value := trial.metrics.get(metric)) is not None
    ]
    everything = [trial for one in arms for trial in one.trials]
    told: dict[str, JSONValue] = {
        "metric": metric,
        "avg": sum(value for value, _, _ in found) / len(found) if found else None,
        "metric_list": [value for value, _, _ in found],
        "num_trials": len(everything),
        "num_complete": len(found),
        "num_failed": sum(trial.state == State.FAILED for trial in everything),
        "early_stopped": sum(trial.state == State.PRUNED for trial in everything),
        "base": _base(arms, metric),
    }
    ordered = sorted(found, key=lambda one: one[0], reverse=higher_is_better)
    for name, place in (("best", 0), ("worst", -1)) if found else ():
        value, one, trial = ordered[place]
        told[f"{name}_id"] = trial.id
        told[f"{name}_val"] = value
        told[f"{name}_config"] = _config(one, trial.seed)
    return told


def _config(one: ArmTrials, seed: int) -> dict[str, JSONValue]:
    settings: dict[str, JSONValue] = {
        "arm": one.arm.name,
        "left_out": [part.name for part in one.arm.parts],
        "seed": seed,
    }
    for name in ("context", "tier"):
        if value := getattr(one, name):
            settings[name] = value
    return settings


def _base(arms: Sequence[ArmTrials], metric: str) -> JSONValue:
    values = [
        v for one in arms if not one.arm.parts for v in one.values(metric).values()
    ]
    return sum(values) / len(values) if values else None
