"""Excision: what was built into a model, component by component."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal

from surgery.report import Column, Table, render, to_pandas

if TYPE_CHECKING:
    import pandas as pd

How = Literal[
    "swapped", "rewritten", "shrunk", "zeroed", "values set", "frozen", "cut built in"
]

_COLUMNS = (
    Column("component"),
    Column("mode"),
    Column("how"),
    Column("removed", "integer", header="parameters\nremoved"),
    Column("note"),
)


@dataclass(frozen=True)
class Excised:
    """How one component was operated on for good.

    Attributes:
        component: The target that named it.
        mode: The operation.
        how: `swapped`: a small plain module stands in its place; `rewritten`: its block
            has new code; `shrunk`: weights became smaller; `zeroed`: weights were set
            to zero, which training may change; `values set` and `frozen`: for
            operations on parameters; `cut built in`: the module computes as before, and
            a hook replaces what comes out.
        removed: Parameters (elements) that the model no longer has.
        note: What else must be known, such as why no simpler means served.
    """

    component: str
    mode: str
    how: How
    removed: int
    note: str = ""


@dataclass(frozen=True)
class Excision:
    """What was built into a model for good; prints as a table.

    Attributes:
        rows: One per component.
        agreement: How the model's outputs on the example compare with those under the
            reversible operation: `bitwise`, or `close` (other kernels round otherwise:
            at most a thousandth of what the operation changes).
        parameters: Parameters (elements) of the model, before and after.
    """

    rows: tuple[Excised, ...]
    agreement: str
    parameters: tuple[int, int]

    def __iter__(self) -> Iterator[Excised]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __str__(self) -> str:
        return render(self._table())

    def __repr__(self) -> str:
        return str(self)

    def to_pandas(self) -> pd.DataFrame:
        """One line per component."""
        return to_pandas(self._table())

    def _table(self) -> Table:
        before, after = self.parameters
        return Table(
            f"Excised: {before:,} parameters, then {after:,}",
            _COLUMNS,
            tuple(asdict(row) for row in self.rows),
            caption=f"Outputs on the example, against the reversible operation: "
            f"{self.agreement}.",
        )
