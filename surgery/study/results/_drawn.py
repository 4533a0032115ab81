"""StudyTable: one view of a study's results, for people, papers and programs."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from surgery.report import Table, csv_text, draw, latex, markdown, render, to_pandas

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console, ConsoleOptions, RenderableType


@dataclass(frozen=True, repr=False)
class StudyTable:
    """Rows of one view; prints as a table.

    Attributes:
        table: Rows and how they are shown.
    """

    table: Table

    def __iter__(self) -> Iterator[Mapping[str, object]]:
        return iter(self.table.rows)

    def __len__(self) -> int:
        return len(self.table.rows)

    def __str__(self) -> str:
        """The table without colours, since text may go anywhere."""
        return render(self.table, color=False)

    __repr__ = __str__

    def __rich_console__(
        self, console: Console, options: ConsoleOptions
    ) -> Iterator[RenderableType]:
        yield draw(self.table, options.max_width)

    def to_pandas(self) -> pd.DataFrame:
        """One line per row, with all digits."""
        return to_pandas(self.table)

    def to_markdown(self) -> str:
        return markdown(self.table)

    def to_latex(self, label: str = "") -> str:
        """A `table` environment; needs `\\usepackage{booktabs}`."""
        return latex(self.table, label=label)

    def to_csv(self, path: str | os.PathLike[str] | None = None) -> str:
        """The text, written to a file if a path is given."""
        return written(csv_text(self.table), path)


def written(text: str, path: str | os.PathLike[str] | None) -> str:
    """The text, after it was written to the path, if there is one."""
    if path is not None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(text, encoding="utf-8")
    return text
