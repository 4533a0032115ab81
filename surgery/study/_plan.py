"""Plan: the arms of a study before, or while, they run; prints as a table."""

from __future__ import annotations

import inspect
import os
import shlex
import statistics
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from surgery.report import Column, Table, draw, render, to_pandas
from surgery.study._design import Design
from surgery.study._walk import Walk
from surgery.study.arms import Arm
from surgery.study.execution import Recipe
from surgery.study.trials import State, Trial

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console, ConsoleOptions, RenderableType


@dataclass(frozen=True)
class PlannedArm:
    """One arm in one context and tier.

    Attributes:
        arm: Its name.
        kind: feature, layer, factor or model; empty for the base.
        what: What it does, in words.
        priority: Lower ones run first; the base before all.
        expected: The change that is expected, or `worse`, `better`.
        why: The reason for it.
        state: How far its trials have come, as `3 COMPLETE, 2 PENDING`.
        seconds: What its open trials will take one after the other, as long as the
            base's each; `None` until that is measured.
        log: Where its first trial that is not complete writes what it prints.
        command: What runs it (again).
        context: Name of the base config.
        tier: Name of the tier.
    """

    arm: str
    kind: str
    what: str
    priority: int
    expected: float | str | None
    why: str
    state: str
    seconds: float | None
    log: str
    command: str
    context: str = ""
    tier: str = ""


@dataclass(frozen=True, repr=False)
class Plan:
    """The arms of a study, in the order in which they run.

    Attributes:
        study: The study's name.
        arms: One per arm, context and tier.
        policy: The policy's name.
        known: Whether these are all: an adaptive policy names more as it learns.
        seeds: The seeds of each arm.
        notes: What must be known although it stops nothing.
    """

    study: str
    arms: tuple[PlannedArm, ...]
    policy: str
    known: bool
    seeds: tuple[int, ...]
    notes: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[PlannedArm]:
        return iter(self.arms)

    def __len__(self) -> int:
        return len(self.arms)

    def __str__(self) -> str:
        return render(self._table(), color=False)

    __repr__ = __str__

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[RenderableType]:
        yield draw(self._table(), options.max_width)

    def to_pandas(self) -> pd.DataFrame:
        """One line per arm, in the columns of `PlannedArm`."""
        columns = tuple(Column(field.name) for field in fields(PlannedArm))
        return to_pandas(Table("", columns, tuple(vars(arm) for arm in self.arms)))

    def _table(self) -> Table:
        columns = (
            (Column("context"), any(arm.context for arm in self.arms)),
            (Column("tier"), any(arm.tier for arm in self.arms)),
            (Column("arm"), True),
            (Column("kind"), True),
            (Column("what"), True),
            (Column("priority", "integer"), any(arm.priority for arm in self.arms)),
            (Column("expected"), any(arm.expected is not None for arm in self.arms)),
            (Column("why"), any(arm.why for arm in self.arms)),
            (Column("state"), True),
            (Column("seconds", "number", "seconds\nto go"), self._timed),
            (Column("log"), True),
            (Column("command"), True),
        )
        more = "" if self.known else "; more as it learns"
        return Table(
            title=(
                f"Study {self.study}: {self.policy}, {len(self.arms)} arms x "
                f"{len(self.seeds)} seeds{more}"
            ),
            columns=tuple(column for column, tells in columns if tells),
            rows=tuple(vars(arm) for arm in self.arms),
            caption=self._caption(),
        )

    @property
    def _timed(self) -> bool:
        return any(arm.seconds is not None for arm in self.arms)

    def _caption(self) -> str:
        lines = [f"Note: {note}" for note in self.notes]
        if self._timed:
            total = sum(arm.seconds or 0.0 for arm in self.arms)
            lines.insert(
                0, f"About {total:.3g} s of trials to go, one after the other."
            )
        else:
            lines.insert(0, "How long it takes is known once the base has been run.")
        return "\n".join(lines)


def planned(
    design: Design,
    walks: Sequence[Walk],
    trials: Mapping[str, Trial],
    policy: str,
    file: str,
) -> Plan:
    """The plan of walks that have been replayed as far as what is known goes."""
    arms: list[PlannedArm] = []
    for walk in walks:
        base = _seconds(walk, trials)
        ordered = sorted(walk.arms, key=lambda arm: (bool(arm.parts), arm.priority))
        arms += [
            _planned(arm, walk, trials, base, design.recipe, file) for arm in ordered
        ]
    return Plan(
        design.recipe.name,
        tuple(arms),
        policy,
        all(walk.ended for walk in walks),
        design.seeds,
        design.notes,
    )


def _planned(
    arm: Arm,
    walk: Walk,
    trials: Mapping[str, Trial],
    base: float | None,
    recipe: Recipe,
    file: str,
) -> PlannedArm:
    ids = [request.id for request in walk.requests(arm)]
    states = [trials[id].state if id in trials else State.PENDING for id in ids]
    counts = Counter(states)
    open_ids = [
        id for id, state in zip(ids, states, strict=True) if state != State.COMPLETE
    ]
    left = sum(not state.final for state in states)
    hypothesis = arm.hypothesis
    again = "" if open_ids else " --again"
    return PlannedArm(
        arm=arm.name,
        kind=" + ".join(dict.fromkeys(part.kind for part in arm.parts)),
        what=arm.described(),
        priority=arm.priority,
        expected=hypothesis.expect,
        why=hypothesis.why,
        state=", ".join(f"{counts[s]} {s}" for s in State if counts[s]),
        seconds=None if base is None else base * left,
        log=str(recipe.log_path([*open_ids, *ids][0])),
        command=f"surgery study run {file} --arms {shlex.quote(arm.name)}{again}",
        context=walk.branch.setting.context,
        tier=walk.branch.setting.tier,
    )


def _seconds(walk: Walk, trials: Mapping[str, Trial]) -> float | None:
    """Mean time of the base's trials that are complete."""
    times = [
        trial.seconds
        for request in walk.requests(Arm())
        if (trial := trials.get(request.id)) is not None
        and trial.state == State.COMPLETE
        and trial.seconds is not None
    ]
    return statistics.fmean(times) if times else None


def file_of(train: Any) -> str:
    """The file in which a study was written down, as one would type it."""
    try:
        file = inspect.getsourcefile(inspect.unwrap(train))
    except TypeError:
        file = None
    if file is None or not Path(file).exists():
        return "FILE.py"
    near = os.path.relpath(file)
    return shlex.quote(near if not near.startswith("..") else file)
