"""Sensitivity: the metric over how strongly each component was perturbed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from surgery.report import AbstractResult, FileKind, Table
from surgery.sensitivity import _views as views
from surgery.sensitivity._point import Point

FILE = FileKind("surgery.Sensitivity", version=1)


@dataclass(frozen=True, repr=False)
class Sensitivity(AbstractResult[Point]):
    """Curves of a metric over the strength of a perturbation, one per component.

    Prints as a table. Rows are kept by group, metric and component, within it from weak
    to strong; components whose perturbation hurts most come first.

    Attributes:
        rows: One per component, level and metric.
        provenance: Where the numbers come from, as for a `Ranking`, with `perturb,
            levels, repeats, tolerance, rounds` and `open` (by component, how far
            neighbouring points still are apart, where that is more than `tolerance`).
    """

    FILE: ClassVar[FileKind] = FILE
    ROW: ClassVar[type] = Point

    def ordered(self) -> Sequence[Point]:
        return views.ordered(self.rows, self.provenance)

    def tables(self) -> Sequence[Table]:
        return views.tables(self)

    def data(self) -> Table:
        return views.data(self.rows)
