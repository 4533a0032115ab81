"""Sensitivity: the metric over how strongly each component was perturbed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from torch import nn

from surgery.engine import Engine, Step
from surgery.ranking import Ranking
from surgery.report import AbstractResult, FileKind, Table, write_tensorboard
from surgery.sensitivity import _views as views
from surgery.sensitivity._agreement import Agreement, agreed
from surgery.sensitivity._logs import logs
from surgery.sensitivity._perturbation import Perturb
from surgery.sensitivity._point import Point
from surgery.sensitivity._suggest import suggested
from surgery.sensitivity._suggestion import Suggestion
from surgery.sensitivity._summary import Summary, summarised
from surgery.stats import Evidence

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FILE = FileKind("surgery.Sensitivity", version=1)


@dataclass(frozen=True, repr=False)
class Sensitivity(AbstractResult[Point]):
    """Curves of a metric over the strength of a perturbation, one per component.

    Prints as a table. Rows are kept by group, metric and component, within it from weak
    to strong; components whose perturbation hurts most come first.

    Attributes:
        rows: One per component, level and metric.
        provenance: Where the numbers come from, as for a `Ranking`, with `perturb,
            operation, levels, repeats, tolerance, rounds` and `open` (by component, how
            far neighbouring points still are apart, where that is more than
            `tolerance`).
    """

    FILE: ClassVar[FileKind] = FILE
    ROW: ClassVar[type] = Point

    def ordered(self) -> Sequence[Point]:
        return views.ordered(self.rows, self.provenance)

    def tables(self) -> Sequence[Table]:
        return views.tables(self)

    def data(self) -> Table:
        return views.data(self.rows)

    def summary(self, cost: float = 0.1) -> Summary:
        """Each curve in a few numbers: area, slope at 0, critical level, with places.

        Args:
            cost: The critical level is the smallest that costs this part of the
                metric.
        """
        return summarised(self.rows, self.provenance, cost)

    def agreement(
        self, ranking: Ranking | None = None, *, cost: float = 0.1
    ) -> Agreement:
        """Rank correlations between the orders of components that summaries give.

        Args:
            ranking: Of the same components by the same metrics: full ablation, say.
            cost: As for `summary`.
        """
        confidence = self.provenance.get("confidence")
        level = confidence if isinstance(confidence, float) else 0.95
        return agreed(self.summary(cost), self.provenance, ranking, level)

    def suggest(
        self,
        model: nn.Module,
        data: object,
        *,
        max_drop: float,
        metric: object = None,
        perturb: Perturb | None = None,
        step: Step | None = None,
        engine: Engine = Engine(),
        evidence: Evidence = Evidence(),
        seed: int = 0,
        progress: bool = True,
    ) -> Suggestion:
        """Levels for all components together that cost no more than is allowed.

        By their curves, those that save most for their cost; several such proposals,
        from bold to careful, are measured in one sweep, all changes together. The
        boldest is taken whose loss, to the worse end of its interval, is within
        `max_drop`.

        Args:
            model: The model of the curves.
            data: Best other data than that of the curves.
            max_drop: How much of the (first) metric may be lost, in its units.
            metric: The metric itself, where it has no name of its own.
            perturb: What the curves are of, where their name does not tell it.
            step: As for `rank`.
            engine: Likewise.
            evidence: Likewise.
            seed: Likewise.
            progress: Likewise.

        Returns:
            Bits per layer (curves of `quantize`), shares to prune, or components to
            excise (`dial`), and whether that was verified.

        Raises:
            OperationError: The perturbation makes nothing smaller; nothing is as cheap.
        """
        return suggested(
            self.rows,
            self.provenance,
            model,
            data,
            max_drop=max_drop,
            metric=metric,
            perturb=perturb,
            step=step,
            engine=engine,
            evidence=evidence,
            seed=seed,
            progress=progress,
        )

    def plot(self, metric: str | None = None) -> Figure:
        """Curves with bands of one metric (by default the first one)."""
        return views.chart(self, metric)

    def to_tensorboard(self, logdir: str | os.PathLike[str]) -> None:
        """Writes summaries as an HParams table, curves as images, and the tables.

        A directory holds one result of its kind: writing again replaces the earlier
        one, and leaves a ranking that is there.
        """
        write_tensorboard(logdir, kind="sensitivity", **logs(self, self.summary()))
