"""Plan: the arms of a study before, or while, they run; prints as a table."""

from __future__ import annotations

import os
import statistics
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from surgery.report import Column, Table, draw, printable, render, to_pandas
from surgery.study._design import Design
from surgery.study._notes import joined
from surgery.study._origin import command_for
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
        command: What runs it (again), in a shell or in Python.
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


@dataclass(frozen=True)
class Rerun:
    """What commands that run arms have in common.

    Attributes:
        spec: Where `surgery study` finds the study; `None` where it does not.
        settings: What was set otherwise in its config.
        seeds: The seeds, if they are others than the study's.
    """

    spec: str | None
    settings: Mapping[str, object]
    seeds: tuple[int, ...] | None


@dataclass(frozen=True, repr=False)
class Plan:
    """The arms of a study, in the order in which they run.

    Attributes:
        study: The study's name.
        arms: One per arm, context and tier.
        policy: The policy's name.
        folder: Where the study is kept; logs are in it.
        known: Whether these are all: an adaptive policy names more as it learns.
        seeds: The seeds of each arm.
        notes: What must be known although it stops nothing.
    """

    study: str
    arms: tuple[PlannedArm, ...]
    policy: str
    folder: str
    known: bool
    seeds: tuple[int, ...]
    notes: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[PlannedArm]:
        return iter(self.arms)

    def __len__(self) -> int:
        return len(self.arms)

    def __str__(self) -> str:
        return f"{render(self._table(), color=False)}\n\n{self._commands()}"

    __repr__ = __str__

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[RenderableType]:
        from rich.text import Text

        yield draw(self._table(), options.max_width)
        yield Text(f"\n{self._commands()}", no_wrap=True, overflow="ignore")

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

    def _commands(self) -> str:
        """A line per arm, never folded, so that it can be copied."""
        rows = [
            (
                " · ".join(filter(None, (arm.context, arm.tier))),
                os.path.relpath(arm.log, self.folder),
                arm.command,
            )
            for arm in self
        ]
        head = ("", f"log, in {self.folder}", "what runs it alone")
        lines = [head, *(tuple(map(printable, row)) for row in rows)]
        widths = [max(len(line[place]) for line in lines) for place in (0, 1)]
        return "\n".join(
            f"{where:{widths[0]}}{'  ' * bool(widths[0])}{log:{widths[1]}}  {command}"
            for where, log, command in lines
        )

    @property
    def _timed(self) -> bool:
        return any(arm.seconds is not None for arm in self.arms)

    def _caption(self) -> str:
        lines = [f"Note: {note}" for note in self.notes]
        if self._timed:
            total = sum(arm.seconds or 0.0 for arm in self.arms)
            told = f"About {total:.3g} s of trials to go, one after the other."
            lines.insert(0, told if total else "Nothing of these is left to run.")
        else:
            lines.insert(0, "How long it takes is known once the base has been run.")
        return "\n".join(lines)


def planned(
    design: Design,
    walks: Sequence[Walk],
    trials: Mapping[str, Trial],
    policy: str,
    rerun: Rerun,
) -> Plan:
    """The plan of walks that have been replayed as far as what is known goes."""
    arms: list[PlannedArm] = []
    for walk in walks:
        base = _seconds(walk, trials)
        ordered = sorted(walk.arms, key=lambda arm: (bool(arm.parts), arm.priority))
        arms += [
            _planned(arm, walk, trials, base, design.recipe, rerun) for arm in ordered
        ]
    return Plan(
        design.recipe.name,
        tuple(arms),
        policy,
        str(design.recipe.folder),
        all(walk.ended for walk in walks),
        design.seeds,
        joined(design.notes, {part.name for b in design.branches for part in b.parts}),
    )


def _planned(
    arm: Arm,
    walk: Walk,
    trials: Mapping[str, Trial],
    base: float | None,
    recipe: Recipe,
    rerun: Rerun,
) -> PlannedArm:
    ids = [request.id for request in walk.requests(arm)]
    states = [trials[id].state if id in trials else State.PENDING for id in ids]
    counts = Counter(states)
    open_ids = [
        id for id, state in zip(ids, states, strict=True) if state != State.COMPLETE
    ]
    left = sum(not state.final for state in states)
    hypothesis = arm.hypothesis
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
        command=command_for(
            arm.name, rerun.spec, rerun.settings, rerun.seeds, not open_ids
        ),
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
