"""Storage: trials, their curves, hypotheses and runs, in one SQLite database."""

from __future__ import annotations

import json
import math
import sqlite3
import time
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

from surgery.report import JSONValue, plain_json
from surgery.study.arms import Hypothesis
from surgery.study.storage._outcomes import outcome_from, outcome_to
from surgery.study.storage._schema import connect, told
from surgery.study.trials import Curve, Outcome, Request, State, Trial

_COLUMNS = "id, arm, context, tier, seed, state, attempt, outcome"


class Storage:
    """What a study remembers.

    Every change is one transaction: after a kill, at whatever moment, each trial is in
    the state of before or after it. Only the driver, which holds the lock of the
    folder, changes anything; anybody may read at any time.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "study.db"
        self._database = connect(self.path)

    def close(self) -> None:
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def add(self, request: Request) -> Trial:
        """The trial of this request, PENDING if it is new."""
        with self._told():
            self._database.execute(
                "INSERT INTO trials (id, arm, context, tier, seed, state, request) "
                "VALUES (?, ?, ?, ?, ?, 'PENDING', ?) "
                "ON CONFLICT (id) DO NOTHING",
                (
                    request.id,
                    request.arm.name,
                    request.context,
                    request.tier,
                    request.seed,
                    json.dumps(request.described()),
                ),
            )
        found = self.trial(request.id)
        assert found is not None
        return found

    def trial(self, id: str) -> Trial | None:
        with self._told():
            row = self._database.execute(
                f"SELECT {_COLUMNS} FROM trials WHERE id = ?", (id,)
            ).fetchone()
        return None if row is None else _trial(row)

    def trials(self) -> tuple[Trial, ...]:
        """All trials, in the order in which they were asked for."""
        with self._told():
            rows = self._database.execute(
                f"SELECT {_COLUMNS} FROM trials ORDER BY rowid"
            ).fetchall()
        return tuple(map(_trial, rows))

    def start(self, id: str) -> int:
        """Marks a PENDING trial RUNNING; returns which attempt it is.

        What an earlier attempt logged stays until it is logged again: a trial that
        resumes from a checkpoint does not log its beginning twice.
        """
        with self._told(), self._transaction():
            (attempt,) = self._database.execute(
                "UPDATE trials SET state = 'RUNNING', attempt = attempt + 1, "
                "started = ? WHERE id = ? AND state = 'PENDING' RETURNING attempt",
                (time.time(), id),
            ).fetchone()
        return int(attempt)

    def log(self, id: str, step: float, metrics: Mapping[str, float]) -> None:
        """Adds to the curves of a trial; a step logged again has its latest value."""
        with self._told(), self._transaction():
            self._database.executemany(
                "INSERT INTO curves (trial, metric, step, value) VALUES (?, ?, ?, ?) "
                "ON CONFLICT DO UPDATE SET value = excluded.value",
                [
                    (id, metric, float(step), None if math.isnan(value) else value)
                    for metric, value in metrics.items()
                ],
            )

    def finish(self, id: str, outcome: Outcome) -> None:
        """Records what came of a RUNNING trial; one that is final never changes."""
        with self._told():
            self._database.execute(
                "UPDATE trials SET state = ?, outcome = ?, ended = ? "
                "WHERE id = ? AND state = 'RUNNING'",
                (str(outcome.state), outcome_to(outcome), time.time(), id),
            )

    def requeue(self, ids: Iterable[str]) -> None:
        """Makes RUNNING trials PENDING again: they were lost, and go on."""
        with self._told(), self._transaction():
            self._database.executemany(
                "UPDATE trials SET state = 'PENDING' "
                "WHERE id = ? AND state = 'RUNNING'",
                [(id,) for id in ids],
            )

    def discard(self, ids: Iterable[str]) -> None:
        """Forgets what came of these trials: they start anew."""
        with self._told(), self._transaction():
            for id in ids:
                self._database.execute(
                    "UPDATE trials SET state = 'PENDING', attempt = 0, outcome = NULL "
                    "WHERE id = ?",
                    (id,),
                )
                self._database.execute("DELETE FROM curves WHERE trial = ?", (id,))

    def curve(self, id: str) -> Curve:
        """What a trial logged."""
        with self._told():
            rows = self._database.execute(
                "SELECT metric, step, value FROM curves WHERE trial = ? "
                "ORDER BY metric, step",
                (id,),
            ).fetchall()
        curves: dict[str, list[tuple[float, float]]] = {}
        for metric, step, value in rows:
            point = (step, math.nan if value is None else value)
            curves.setdefault(metric, []).append(point)
        return {metric: tuple(points) for metric, points in curves.items()}

    def expect(self, arm: str, hypothesis: Hypothesis) -> Hypothesis:
        """Records what is expected of an arm; returns what was recorded first.

        A hypothesis may be reworded until the first trial of its arm is final.
        """
        text = json.dumps([plain_json(hypothesis.expect), hypothesis.why])
        known = "SELECT 1 FROM trials WHERE arm = ? AND state NOT IN (?, ?)"
        with self._told(), self._transaction():
            done = self._database.execute(known, (arm, "PENDING", "RUNNING")).fetchone()
            if not done:
                self._database.execute(
                    "INSERT INTO hypotheses (arm, expected, recorded) VALUES (?, ?, ?) "
                    "ON CONFLICT (arm) DO UPDATE SET expected = excluded.expected, "
                    "recorded = excluded.recorded WHERE expected != excluded.expected",
                    (arm, text, time.time()),
                )
        return self.expected(arm) or Hypothesis()

    def expected(self, arm: str) -> Hypothesis | None:
        """What was recorded to be expected of an arm."""
        with self._told():
            row = self._database.execute(
                "SELECT expected FROM hypotheses WHERE arm = ?", (arm,)
            ).fetchone()
        if row is None:
            return None
        expect, why = json.loads(row[0])
        return Hypothesis(expect, why)

    def record_run(self, provenance: Mapping[str, object]) -> None:
        """Adds where a run of the study came from."""
        with self._told():
            self._database.execute(
                "INSERT INTO runs (started, provenance) VALUES (?, ?)",
                (time.time(), json.dumps(plain_json(provenance))),
            )

    def runs(self) -> tuple[dict[str, JSONValue], ...]:
        """Where each run of the study came from, the first one first."""
        with self._told():
            rows = self._database.execute(
                "SELECT started, provenance FROM runs ORDER BY number"
            ).fetchall()
        return tuple({"started": row[0], **json.loads(row[1])} for row in rows)

    def _told(self) -> AbstractContextManager[None]:
        return told(self.path)

    def _transaction(self) -> _Transaction:
        return _Transaction(self._database)


class _Transaction:
    """All or nothing."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    def __enter__(self) -> None:
        self._database.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        try:
            if kind is None:
                self._database.execute("COMMIT")
        finally:
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")


def _trial(row: Any) -> Trial:
    id, arm, context, tier, seed, state, attempt, outcome = cast("tuple[Any, ...]", row)
    return Trial(
        id=id,
        arm=arm,
        context=context,
        tier=tier,
        seed=seed,
        state=State(state),
        attempt=attempt,
        outcome=None if outcome is None else outcome_from(outcome),
    )
