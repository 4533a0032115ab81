"""Ranking: what taking each component away did to each metric."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from surgery.ranking import _views as views
from surgery.ranking._row import Row
from surgery.report import AbstractResult, FileKind, Table, write_tensorboard

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FILE = FileKind("surgery.Ranking", version=1)


@dataclass(frozen=True, repr=False)
class Ranking(AbstractResult[Row]):
    """What taking each component away did, most harmful first.

    Prints as a table. Rows are kept by group, within it by metric, within that by
    importance: the component whose loss hurts the metric most comes first. Where
    `provenance["higher_is_better"]` does not say what hurts, the largest change does.

    Attributes:
        rows: One per component and metric.
        provenance: Where the numbers come from, as plain JSON: `versions, model,
            targets, mode, dial, seed, plan, world_size, data, command, confidence,
            correction, higher_is_better` (by metric), `skipped` (dicts with
            `component, cause`), `failures` (with `component, sample, cause`),
            `seconds`.
    """

    FILE: ClassVar[FileKind] = FILE
    ROW: ClassVar[type] = Row

    def ordered(self) -> Sequence[Row]:
        better = self.provenance.get("higher_is_better")
        return views.ordered(self.rows, better if isinstance(better, dict) else {})

    def tables(self) -> Sequence[Table]:
        return views.tables(self)

    def data(self) -> Table:
        return views.data(self)

    def top(self, k: int = 5, metric: str | None = None) -> tuple[Row, ...]:
        """The `k` rows whose loss hurts a metric most (by default the first one)."""
        return views.series(self, metric)[1][: max(k, 0)]

    def least(self, k: int = 5, metric: str | None = None) -> tuple[Row, ...]:
        """The `k` rows whose loss hurts a metric least, the most harmless first."""
        measured = [r for r in views.series(self, metric)[1] if r.verdict != "failed"]
        return tuple(measured[::-1][: max(k, 0)])

    def plot(self, metric: str | None = None) -> Figure:
        """A bar chart with intervals of one metric (by default the first one)."""
        return views.chart(self, metric)

    def to_tensorboard(self, logdir: str | os.PathLike[str]) -> None:
        """Writes scalars, an HParams table, bar charts and the tables as text.

        A directory holds one ranking: writing again replaces the earlier one.
        """
        write_tensorboard(logdir, **views.logs(self))
