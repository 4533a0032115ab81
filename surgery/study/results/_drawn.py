"""Views of a study's results, for people, papers and programs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from surgery.report import AbstractRows, Table, csv_text, latex, markdown

RowT = TypeVar("RowT")


@dataclass(frozen=True, repr=False)
class AbstractView(AbstractRows[RowT]):
    """Rows that print as tables, and go into papers and other programs."""

    def to_markdown(self) -> str:
        """What is printed, as Markdown."""
        return "\n\n".join(map(markdown, self.tables()))

    def to_latex(self, label: str = "") -> str:
        """What is printed, as `table` environments; needs `\\usepackage{booktabs}`.

        Args:
            label: What `\\ref` is to find it by; several tables are numbered: `tab-1`.
        """
        tables = self.tables()
        labels = [f"{label}-{number}" for number in range(1, len(tables) + 1)]
        if not label or len(tables) == 1:
            labels = [label] * len(tables)
        return "\n".join(
            latex(table, label=name) for table, name in zip(tables, labels, strict=True)
        )

    def to_csv(self, path: str | os.PathLike[str] | None = None) -> str:
        """What `to_pandas` has, with all digits; written to a file if one is given."""
        text = csv_text(self.data())
        if path is not None:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            Path(path).write_text(text, encoding="utf-8")
        return text


@dataclass(frozen=True, repr=False)
class StudyTable(AbstractView[Mapping[str, object]]):
    """Rows of one view; prints as a table.

    Attributes:
        rows: By the names of the table's columns.
        table: How they are shown.
    """

    table: Table

    def tables(self) -> tuple[Table, ...]:
        return (self.table,)

    def data(self) -> Table:
        return self.table


def shown(table: Table) -> StudyTable:
    """The view of a table."""
    return StudyTable(table.rows, table)
