"""A study's chart, and what goes to TensorBoard."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from surgery.errors import StudyError
from surgery.report import Bar, Session, Tone, bar_chart, markdown
from surgery.study.arms import FactorPart
from surgery.study.configs import plain
from surgery.study.results._row import ArmRow
from surgery.study.results._rows import ArmTrials
from surgery.study.results._views import Studied, headline, tables

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_TONES: Mapping[str, Tone] = {
    "important": "worse",
    "harmful": "better",
    "inconclusive": "unclear",
    "failed": "failed",
}


def chart(
    results: Studied, metric: str, context: str | None, tier: str | None
) -> Figure:
    """A bar per arm of one metric in one setting.

    Raises:
        StudyError: Nothing is known of that context or tier.
    """
    rows = [row for row in results.rows if row.metric == metric]
    for name, wanted in (("tier", tier), ("context", context)):
        known = list(dict.fromkeys(getattr(row, name) for row in rows))
        if wanted is not None and wanted not in known:
            raise StudyError(
                f"there are no results of {name} {wanted!r}; there is "
                f"{', '.join(map(repr, known)) or 'none'}"
            )
        chosen = wanted if wanted is not None else next(iter(known), "")
        rows = [row for row in rows if getattr(row, name) == chosen]
    where = [rows[0].tier, rows[0].context] if rows else []
    return _bars(results, rows, metric, " · ".join(filter(None, where)))


def _bars(results: Studied, rows: Sequence[ArmRow], metric: str, where: str) -> Figure:
    return bar_chart(
        [Bar(r.arm, r.delta, r.low, r.high, _TONES[r.verdict]) for r in rows],
        title=headline(results, where),
        xlabel=f"change of {metric}",
        legend={
            "worse": "important: worse without it",
            "better": "harmful: better without it",
            "unclear": "inconclusive",
        },
    )


def logs(results: Studied) -> dict[str, Any]:
    """What `write_tensorboard` takes, by argument.

    The study itself has a chart per metric and quantity; every trial has a run with its
    line of the HParams table, in a folder of its arm's.
    """
    scalars: dict[str, float] = {}
    figures: dict[str, Figure] = {}
    series: dict[tuple[str, str, str], list[ArmRow]] = {}
    for row in results.rows:
        series.setdefault((row.tier, row.context, row.metric), []).append(row)
        place = [*filter(None, (row.tier, row.context)), row.arm]
        scalars[f"{row.metric} delta/{'/'.join(place)}"] = row.delta
        scalars[f"{row.metric} value/{'/'.join(place)}"] = row.value
    for (tier, context, metric), rows in series.items():
        where = [*filter(None, (tier, context))]
        tag = "/".join([metric, *where, "bars"])
        figures[tag] = _bars(results, rows, metric, " · ".join(where))
    return {
        "scalars": scalars,
        "sessions": [
            session for one in results.arms for session in _sessions(one, results)
        ],
        "figures": figures,
        "texts": {"study": "\n\n".join(map(markdown, tables(results)))},
        "kind": "study",
        "folder": "trials",
    }


def _sessions(one: ArmTrials, results: Studied) -> list[Session]:
    groups = {row.arm: row.kind for row in results.rows}
    settings: dict[str, str | float] = {
        "arm": one.arm.name,
        "kind": groups.get(one.arm.name, ""),
    }
    for name in ("context", "tier"):
        if value := getattr(one, name):
            settings[name] = value
    for part in one.arm.parts:
        if isinstance(part, FactorPart):
            settings |= {path: str(plain(v)) for path, v in part.values.items()}
    return [
        Session(
            f"seed {trial.seed}",
            {**settings, "seed": float(trial.seed), "state": str(trial.state)},
            {
                f"final/{name}": value
                for name, value in trial.metrics.items()
                if math.isfinite(value)
            }
            | ({"seconds": trial.seconds} if trial.seconds is not None else {}),
            group=(*filter(None, (one.tier, one.context)), one.arm.name),
        )
        for trial in one.trials
        if trial.state.final
    ]
