"""Effects: what an operation has done so far, component by component."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from surgery.report import Column, Table, render, to_pandas

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS = (
    Column("component"),
    Column("mode"),
    Column("fired", "integer"),
    Column("changed"),
    Column("note"),
)


@dataclass(frozen=True)
class ComponentEffect:
    """What the operation did at one component.

    Attributes:
        component: The target that names it.
        mode: The operation.
        fired: How often it took part: calls of the component, or tensors changed for
            parameter modes.
        changed: Whether the component's own output (its parameters) changed; `None`
            where only compiled code ran, in which values cannot be compared.
        note: Such as the adapter that made an input fit.
    """

    component: str
    mode: str
    fired: int
    changed: bool | None
    note: str


@dataclass(frozen=True)
class Effects:
    """What an operation has done so far; prints as a table."""

    rows: tuple[ComponentEffect, ...]

    def __iter__(self) -> Iterator[ComponentEffect]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __str__(self) -> str:
        return render(self._table())

    def __repr__(self) -> str:
        return str(self)

    def to_pandas(self) -> pd.DataFrame:
        """One row per component."""
        return to_pandas(self._table())

    def _table(self) -> Table:
        rows = tuple(asdict(row) for row in self.rows)
        return Table("Effect so far", _COLUMNS, rows)
