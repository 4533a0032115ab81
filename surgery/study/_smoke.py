"""Smoke test: one step of every arm, before hours are spent on them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from surgery.errors import StudyError
from surgery.report import Column, Table, progress, render, to_pandas
from surgery.study._walk import Walk
from surgery.study.execution import Recipe, run_trial
from surgery.study.executors import InProcess
from surgery.study.trials import State

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Tried:
    """One arm that made its first step."""

    arm: str
    seconds: float
    parameters: int
    equal_start: str
    notes: str
    context: str = ""
    tier: str = ""


@dataclass(frozen=True, repr=False)
class SmokeTest:
    """Arms that made one step each; prints as a table."""

    arms: tuple[Tried, ...]

    def __iter__(self) -> Iterator[Tried]:
        return iter(self.arms)

    def __len__(self) -> int:
        return len(self.arms)

    def __str__(self) -> str:
        return render(self._table(), color=False)

    __repr__ = __str__

    def to_pandas(self) -> pd.DataFrame:
        """One line per arm."""
        return to_pandas(self._table())

    def _table(self) -> Table:
        columns = (
            (Column("context"), any(arm.context for arm in self.arms)),
            (Column("tier"), any(arm.tier for arm in self.arms)),
            (Column("arm"), True),
            (Column("seconds", "number"), True),
            (Column("parameters", "integer"), True),
            (Column("equal_start", header="equal\nat the start"), True),
            (Column("notes"), any(arm.notes for arm in self.arms)),
        )
        return Table(
            f"Smoke test: {len(self.arms)} arms made one step",
            tuple(column for column, tells in columns if tells),
            tuple(vars(arm) for arm in self.arms),
        )


def smoked(
    recipe: Recipe, walks: Sequence[Walk], device: str | None, show: bool
) -> SmokeTest:
    """One step of every arm with the first seed; nothing is stored.

    Raises:
        StudyError: For all arms that failed, one line each.
    """
    requests = [walk.requests(arm)[0] for walk in walks for arm in walk.arms]
    tried: list[Tried] = []
    wrong: list[str] = []
    where = InProcess(device).device
    with (
        tempfile.TemporaryDirectory() as folder,
        progress("smoke test", len(requests), show) as advance,
    ):
        aside = replace(recipe, folder=Path(folder))
        for request in requests:
            outcome = run_trial(aside, request, lambda logged: "", where, one_step=True)
            if outcome.state == State.FAILED:
                wrong.append(f"{request.arm.name}: {outcome.message}")
            else:
                facts = outcome.facts
                tried.append(
                    Tried(
                        request.arm.name,
                        outcome.seconds,
                        facts.parameters,
                        f"{facts.equal_start} of {facts.common}",
                        "; ".join(facts.notes),
                        request.context,
                        request.tier,
                    )
                )
            advance()
    if wrong:
        lines = "\n  ".join(wrong)
        raise StudyError(
            f"{len(wrong)} of {len(requests)} arms failed in their first step:\n"
            f"  {lines}"
        )
    return SmokeTest(tuple(tried))
