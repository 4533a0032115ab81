"""Column, Table: rows with the little that every drawer must know about them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from surgery.errors import SurgeryError
from surgery.report._format import Format

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Column:
    """How one field of the rows is shown.

    Attributes:
        name: The field's key in every row, and the column's name in pandas.
        format: How its values are written.
        header: What people read above it, by default the name; may have lines.
        help: One sentence on what it holds; shown below a table for its bars.
        styles: Colours of some values, for terminals that have colours.
    """

    name: str
    format: Format = "text"
    header: str | None = None
    help: str = ""
    styles: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def title(self) -> str:
        return self.name if self.header is None else self.header


@dataclass(frozen=True)
class Table:
    """Rows in order, and how to show them.

    Attributes:
        title: One line above the table.
        columns: What is shown, in order.
        rows: One mapping per row; what a row lacks is shown as missing.
        caption: Lines below the table.
        section: Name of a field; where it changes, a line is drawn, and bars get
            a scale of their own.
    """

    title: str
    columns: tuple[Column, ...]
    rows: tuple[Mapping[str, object], ...]
    caption: str = ""
    section: str | None = None

    def __post_init__(self) -> None:
        names = [column.name for column in self.columns]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise SurgeryError(
                f"a table's columns need different names, got {', '.join(twice)} "
                "more than once; rename one with Column(name=...)"
            )

    def sections(self) -> list[list[Mapping[str, object]]]:
        """The rows, cut where the section's field changes."""
        sections: list[list[Mapping[str, object]]] = []
        for row in self.rows:
            same = sections and (
                self.section is None
                or sections[-1][-1].get(self.section) == row.get(self.section)
            )
            if same:
                sections[-1].append(row)
            else:
                sections.append([row])
        return sections


def to_pandas(table: Table) -> pd.DataFrame:
    """The raw values under their raw names; what is only drawn is left out."""
    import pandas as pd

    names = [
        column.name
        for column in table.columns
        if column.format not in ("bar", "interval")
    ]
    return pd.DataFrame(
        {name: [row.get(name) for row in table.rows] for name in names}, columns=names
    )
