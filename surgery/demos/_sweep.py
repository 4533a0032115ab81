"""A knob swept: variants against levels, and where each one breaks."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence

from surgery.report import Column, Table
from surgery.study import StudyResults, StudyTable
from surgery.study.results import ArmTrials
from surgery.synthetic import breaking_point

GOOD = 0.8  # of what the base reaches at the first level


def sweep_tables(
    results: StudyResults, tiers: Mapping[str, str], levels: Sequence[float]
) -> list[StudyTable]:
    """A table per class of objectives; a row per tier, metric and variant.

    The contexts of the results are the levels, in their order; all metrics are good if
    large.

    Args:
        results: Of a study whose contexts are levels of the knob.
        tiers: How its tiers are called in the table.
        levels: The levels.
    """
    groups = list(dict.fromkeys((row.group, row.metric) for row in results))
    found: list[StudyTable] = []
    for group in dict.fromkeys(group for group, _ in groups):
        rows = [
            row
            for metric in (metric for own, metric in groups if own == group)
            for tier, title in tiers.items()
            for row in _rows(title, _of(results, tier), metric, levels)
        ]
        columns = (
            Column("metric"),
            Column("tier"),
            Column("variant"),
            *(Column(f"{level:g}", "number", f"noise\n{level:g}") for level in levels),
            Column("breaks", header="breaks\nat noise"),
            Column("seconds", "number"),
        )
        caption = (
            f"breaks: where it falls below {GOOD:.0%} of what both heads trained reach "
            "at the least noise. Means over the seeds; seconds of a trial."
        )
        title = f"Objectives of the head {group!r} as noise grows"
        table = Table(title, columns, tuple(rows), caption, "metric")
        found.append(StudyTable(table.rows, table))
    return found


def _rows(
    tier: str, arms: Sequence[ArmTrials], metric: str, levels: Sequence[float]
) -> list[dict[str, object]]:
    names = list(dict.fromkeys(one.arm.name for one in arms))
    values: dict[str, list[float]] = {
        name: [
            _mean([*one.values(metric).values()])
            for one in arms
            if one.arm.name == name
        ]
        for name in names
    }
    needed = GOOD * values["base"][0]
    rows: list[dict[str, object]] = []
    for name in names:
        times = [
            trial.seconds
            for one in arms
            if one.arm.name == name
            for trial in one.trials
            if trial.seconds is not None
        ]
        point = breaking_point(levels, values[name], needed)
        rows.append(
            {
                "metric": metric,
                "tier": tier,
                "variant": "both heads" if name == "base" else f"{name} frozen",
                **{f"{x:g}": v for x, v in zip(levels, values[name], strict=True)},
                "breaks": _said(point, levels),
                "seconds": _mean(times),
            }
        )
    return rows


def _of(results: StudyResults, tier: str) -> list[ArmTrials]:
    return [one for one in results.arms if one.tier == tier]


def _mean(values: Sequence[float]) -> float:
    return statistics.fmean(values) if values else math.nan


def _said(point: float, levels: Sequence[float]) -> str:
    if point == math.inf:
        return f"> {levels[-1]:g}"
    return "at once" if point == levels[0] else f"{point:.2f}"
