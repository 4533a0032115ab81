"""Ledger: compares what a study's storage says with what it said before."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.faults.fast import BEGUN

Metrics = Mapping[str, float]


@dataclass(frozen=True)
class Record:
    """A trial as it is stored."""

    id: str
    arm: str
    seed: int
    state: str
    attempt: int
    outcome: str
    ended: float | None

    @property
    def metrics(self) -> Metrics:
        found: Metrics = json.loads(self.outcome)["metrics"]
        return found


def stored(folder: Path) -> list[Record]:
    """All trials in the database, read as another process may at any time."""
    path = folder / "study" / "study.db"
    if not path.exists():
        return []
    database = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)
    try:
        rows = database.execute(
            "SELECT id, arm, seed, state, attempt, outcome, ended FROM trials"
        ).fetchall()
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):  # it was killed before it made them
            return []
        raise
    finally:
        database.close()
    return [
        Record(id, arm, seed, state, attempt, outcome or "", ended)
        for id, arm, seed, state, attempt, outcome, ended in rows
    ]


def begun(folder: Path) -> list[str]:
    """Ids of trials in the order in which train functions were entered."""
    path = folder / BEGUN
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").splitlines()
    return [line.split()[0] for line in lines]


@dataclass
class Ledger:
    """What must never happen, looked for after every kill.

    Attributes:
        folder: The study's.
        wrong: What has happened nevertheless, in words.
    """

    folder: Path
    wrong: list[str] = field(default_factory=list[str])
    _complete: dict[str, Record] = field(default_factory=dict[str, Record])
    _seen: int = 0

    def look(self) -> None:
        """Compare with the last look."""
        records = stored(self.folder)
        starts = begun(self.folder)  # after the database: complete means begun
        ids = [record.id for record in records]
        pairs = [(record.arm, record.seed) for record in records]
        if len(set(ids)) < len(ids) or len(set(pairs)) < len(pairs):
            self.wrong.append("a trial has two records")
        for id in set(starts[self._seen :]) & set(self._complete):
            self.wrong.append(f"{id} was COMPLETE, and was started again")
        now = {record.id: record for record in records}
        for id, record in self._complete.items():
            if now.get(id) != record:
                self.wrong.append(f"{id} was COMPLETE, and its record changed")
        self._complete = {r.id: r for r in records if r.state == "COMPLETE"}
        self._seen = len(starts)

    def close(self, undisturbed: Mapping[str, Metrics]) -> None:
        """The last look, at a study that is done."""
        self.look()
        found = {id: record.metrics for id, record in self._complete.items()}
        if set(found) != set(undisturbed):
            self.wrong.append(
                f"{len(found)} trials are COMPLETE, undisturbed {len(undisturbed)} are"
            )
        for id, metrics in found.items():
            if metrics != undisturbed.get(id, metrics):
                self.wrong.append(
                    f"{id} came to {metrics}, undisturbed to {undisturbed[id]}"
                )

    @property
    def lost(self) -> int:
        """How many starts came to nothing: those that a kill interrupted."""
        return len(begun(self.folder)) - len(self._complete)
