"""StudyTable: one view of a study's results, for people, papers and programs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from surgery.report import AbstractRows, Table, csv_text, latex, markdown


@dataclass(frozen=True, repr=False)
class StudyTable(AbstractRows[Mapping[str, object]]):
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

    def to_markdown(self) -> str:
        return markdown(self.table)

    def to_latex(self, label: str = "") -> str:
        """A `table` environment; needs `\\usepackage{booktabs}`."""
        return latex(self.table, label=label)

    def to_csv(self, path: str | os.PathLike[str] | None = None) -> str:
        """The text, written to a file if a path is given."""
        return written(csv_text(self.table), path)


def shown(table: Table) -> StudyTable:
    """The view of a table."""
    return StudyTable(table.rows, table)


def written(text: str, path: str | os.PathLike[str] | None) -> str:
    """The text, after it was written to the path, if there is one."""
    if path is not None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(text, encoding="utf-8")
    return text
