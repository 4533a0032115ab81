"""Effects: what an operation has done so far, component by component."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from surgery.report import AbstractRows, Column, Table

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


@dataclass(frozen=True, repr=False)
class Effects(AbstractRows[ComponentEffect]):
    """What an operation has done so far; prints as a table."""

    def tables(self) -> Sequence[Table]:
        return (self.data(),)

    def data(self) -> Table:
        rows = tuple(asdict(row) for row in self.rows)
        return Table("Effect so far", _COLUMNS, rows)
