"""Suggestion: how far each component can go for a given cost, and what it did cost."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, ClassVar, cast

from surgery.report import (
    AbstractResult,
    Bar,
    Column,
    FileKind,
    JSONValue,
    Table,
    bar_chart,
    markdown,
    write_tensorboard,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FILE = FileKind("surgery.Suggestion", version=1)


@dataclass(frozen=True)
class Proposed:
    """What is proposed for one component.

    Attributes:
        component: Which.
        perturb: What is done to it.
        level: At which level of its curve.
        cost: The loss that its own curve has there, in units of the metric.
        saved: What that saves: bits or entries of weights; parameters, for a component
            that goes.
    """

    component: str
    perturb: str
    level: float
    cost: float
    saved: float


@dataclass(frozen=True, repr=False)
class Suggestion(AbstractResult[Proposed]):
    """Levels for all components together, with the cost measured, not added up.

    Attributes:
        rows: One per component that is to change.
        provenance: As for a `Ranking`, with `max_drop, metric, drop, low, high` (the
            measured loss of all changes together, with its interval), `verified`
            (whether even the worse end of it is within `max_drop`), `added` (what the
            curves would have added up to) and `tried`.
    """

    FILE: ClassVar[FileKind] = FILE
    ROW: ClassVar[type] = Proposed

    @property
    def verified(self) -> bool:
        """Whether all changes together cost no more than was allowed, measured."""
        return self.provenance.get("verified") is True

    @property
    def levels(self) -> Mapping[str, float]:
        """The proposed level of each component that changes."""
        return {row.component: row.level for row in self.rows}

    def ordered(self) -> Sequence[Proposed]:
        return sorted(self.rows, key=lambda row: (-row.saved, row.component))

    def plot(self) -> Figure:
        """Bars of the cost of each change by its own curve."""
        bars = [
            Bar(f"{r.component} ({r.level:g})", r.cost, r.cost, r.cost)
            for r in self.rows
        ]
        cost = f"cost by itself, {self.provenance.get('metric')}"
        return bar_chart(bars, title=self._headline(), xlabel=cost)

    def to_tensorboard(self, logdir: str | os.PathLike[str]) -> None:
        """Writes levels and what they save as scalars, the chart and the table.

        A directory holds one suggestion: writing again replaces it.
        """
        write_tensorboard(
            logdir,
            kind="suggestion",
            scalars={
                f"suggestion {part}/{row.component}": cast("float", getattr(row, part))
                for row in self.rows
                for part in ("level", "saved")
            },
            sessions=(),
            figures={"suggestion/cost": self.plot()},
            texts={"suggestion": "\n\n".join(map(markdown, self.tables()))},
        )

    def tables(self) -> Sequence[Table]:
        columns = (
            Column("component"),
            Column("perturb"),
            Column("level", "number"),
            Column("cost", "signed", "cost\nby itself"),
            Column("saved", "number"),
        )
        told: Mapping[str, JSONValue] = self.provenance
        caption = (
            f"together they cost {_number(told.get('drop'))} (interval "
            f"{_number(told.get('low'))} to {_number(told.get('high'))}), measured; "
            f"their curves add up to {_number(told.get('added'))}."
        )
        return (
            Table(self._headline(), columns, tuple(map(asdict, self.rows)), caption),
        )

    def _headline(self) -> str:
        told = self.provenance
        word = "verified" if self.verified else "not verified"
        return (
            f"{len(self.rows)} components for {told.get('max_drop')} of "
            f"{told.get('metric')}: {word}"
        )

    def data(self) -> Table:
        columns = tuple(Column(field.name) for field in fields(Proposed))
        return Table("", columns, tuple(map(asdict, self.rows)))


def members_of(row: str) -> list[str]:
    """The components of a row: several, for a group."""
    return row.split(" + ")


def _number(value: JSONValue) -> str:
    return f"{value:.4g}" if isinstance(value, int | float) else str(value)
