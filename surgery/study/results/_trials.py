"""Trials one by one: as data, and as a table with a column for each metric."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from surgery.report import Column, Table
from surgery.study.results._rows import ArmTrials
from surgery.study.trials import State, Trial

_FIELDS = "context tier arm seed state seconds attempt why id".split()
_STATES = {"FAILED": "red", "PRUNED": "yellow", "RUNNING": "green"}


def trials(arms: Sequence[ArmTrials]) -> Table:
    """Everything that is known of each trial, its metrics in a dict."""
    rows = [
        {
            "arm": one.arm.name,
            "context": one.context,
            "tier": one.tier,
            "seed": trial.seed,
            "state": str(trial.state),
            "metrics": dict(trial.metrics),
            "seconds": trial.seconds,
            "attempt": trial.attempt,
            "failure": trial.outcome.failure if trial.outcome else "",
            "message": trial.outcome.message if trial.outcome else "",
            "common": trial.outcome.facts.common if trial.outcome else None,
            "equal_start": trial.outcome.facts.equal_start if trial.outcome else None,
            "notes": "; ".join(trial.outcome.facts.notes) if trial.outcome else "",
            "id": trial.id,
        }
        for one, trial in _each(arms)
    ]
    names = (
        "arm context tier seed state metrics seconds attempt failure message common "
        "equal_start notes id"
    ).split()
    for name in ("context", "tier"):
        if not any(row[name] for row in rows):
            names.remove(name)
    return Table("", tuple(map(Column, names)), tuple(rows))


def trial_table(arms: Sequence[ArmTrials], provenance: Mapping[str, object]) -> Table:
    """For people: what each trial came to, in which state it is, and why."""
    metrics = {
        name: f"metric {name}" if name in _FIELDS else name
        for _, trial in _each(arms)
        for name in trial.metrics
    }
    rows: list[dict[str, object]] = [
        {
            "context": one.context,
            "tier": one.tier,
            "arm": one.arm.name,
            "seed": trial.seed,
            "state": str(trial.state),
            **{own: trial.metrics.get(name) for name, own in metrics.items()},
            "seconds": trial.seconds,
            "attempt": trial.attempt,
            "why": trial.outcome.message if trial.outcome else "",
            "id": trial.id,
        }
        for one, trial in _each(arms)
    ]
    columns = (
        (Column("context"), any(one.context for one in arms)),
        (Column("tier"), any(one.tier for one in arms)),
        (Column("arm"), True),
        (Column("seed", "integer"), True),
        (Column("state", styles=_STATES), True),
        *((Column(own, "number", name), True) for name, own in metrics.items()),
        (Column("seconds", "number"), True),
        (Column("attempt", "integer"), any(t.attempt > 1 for _, t in _each(arms))),
        (Column("why"), any(row["why"] for row in rows)),
        (Column("id"), True),
    )
    complete = sum(trial.state == State.COMPLETE for _, trial in _each(arms))
    return Table(
        f"Study {provenance.get('study')}: {complete} of {len(rows)} trials COMPLETE",
        tuple(column for column, tells in columns if tells),
        tuple(rows),
    )


def _each(arms: Sequence[ArmTrials]) -> Iterator[tuple[ArmTrials, Trial]]:
    for one in arms:
        for trial in one.trials:
            yield one, trial
