"""Metrics of (prediction, label) pairs that are not means: r2 and correlations."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, cast, final

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from surgery.engine._blocks import MAX_BLOCKS
from surgery.engine._layout import RegressionLayout
from surgery.engine._metric import AbstractMetric, AbstractOutcome, blamed
from surgery.engine._series import Series, check_paired
from surgery.stats import Effect, paired_blocks

Array = NDArray[np.float64]
Score = Callable[[Array, Array], float]


def r2(predictions: Array, labels: Array) -> float:
    """Coefficient of determination, mean over columns."""
    residual = ((labels - predictions) ** 2).sum(0)
    total = ((labels - labels.mean(0)) ** 2).sum(0)
    with np.errstate(all="ignore"):
        return _mean_of_columns(1 - residual / total)


def pearson(predictions: Array, labels: Array) -> float:
    """Pearson's correlation, mean over columns."""
    x, y = predictions - predictions.mean(0), labels - labels.mean(0)
    with np.errstate(all="ignore"):
        scale = np.sqrt((x**2).sum(0)) * np.sqrt((y**2).sum(0))
        return _mean_of_columns(np.clip((x * y).sum(0) / scale, -1, 1))


def spearman(predictions: Array, labels: Array) -> float:
    """Spearman's correlation: Pearson's of average ranks, mean over columns."""
    from scipy.stats import rankdata

    return pearson(rankdata(predictions, axis=0), rankdata(labels, axis=0))


def _mean_of_columns(values: Array) -> float:
    return float(values.mean()) if np.all(np.isfinite(values)) else math.nan


@final
class PairsOutcome(AbstractOutcome):
    """Predictions and labels of all samples; NaN once a sample has failed."""

    def __init__(self, metric: PairsMetric) -> None:
        self._metric = metric
        self._predictions, self._labels = Series(), Series()
        self._failed: list[Tensor] = []
        self._drawn: dict[bytes, float] = {}
        self.samples = 0

    @property
    def failed(self) -> int:
        return sum(int(count) for count in self._failed)

    def measure(
        self, outputs: Any, labels: Any, failed: Tensor | None = None, ahead: int = 0
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        with blamed(self._metric.name, outputs, labels):
            return *self._metric.layout(outputs, labels), failed

    def add(self, piece: tuple[Tensor, Tensor, Tensor | None]) -> None:
        predictions, wanted, failed = piece
        if failed is not None:
            self._failed.append(failed.sum())
        self._predictions.append(predictions)
        self._labels.append(wanted)
        self._drawn.clear()
        self.samples = len(self._predictions)

    def values(self) -> dict[str, float]:
        return {self._metric.name: self.score(None)}

    def score(self, rows: NDArray[np.intp] | None) -> float:
        """The metric of some rows, with repeats, or of all."""
        if self.failed or not self.samples:
            return math.nan
        predictions, labels = self._predictions.numpy(), self._labels.numpy()
        if rows is not None:
            predictions, labels = predictions[rows], labels[rows]
        return self._metric.score(
            predictions.astype(np.float64), labels.astype(np.float64)
        )

    def remembered(self, key: bytes, rows: NDArray[np.intp]) -> float:
        """`score`, remembered: all variants draw the same rows of the baseline."""
        if key not in self._drawn:
            self._drawn[key] = self.score(rows)
        return self._drawn[key]


@final
class PairsMetric(AbstractMetric):
    """A score of all predictions and labels together; a failed sample is no number.

    Args:
        name: What it is called.
        group: Its group.
        higher_is_better: Its direction.
        score: Scores predictions `(N, D)` against labels `(N, D)`.
    """

    def __init__(
        self, name: str, group: str, higher_is_better: bool, score: Score
    ) -> None:
        super().__init__(name, group, higher_is_better)
        self.layout = RegressionLayout(name)
        self.score = score

    def start(self, total: int | None = None) -> PairsOutcome:
        return PairsOutcome(self)

    def compare(
        self,
        baseline: AbstractOutcome,
        variant: AbstractOutcome,
        *,
        confidence: float,
        seed: int,
    ) -> dict[str, Effect]:
        before, after = cast(PairsOutcome, baseline), cast(PairsOutcome, variant)
        check_paired(self.name, before.samples, after.samples)
        n = before.samples
        blocks = np.array_split(np.arange(n), min(n, MAX_BLOCKS))

        def statistic(indices: NDArray[np.intp], which: int) -> float:
            rows = np.concatenate([blocks[index] for index in indices])
            if which:
                return after.score(rows)
            return before.remembered(indices.tobytes(), rows)

        effect = paired_blocks(
            statistic, len(blocks), n, confidence=confidence, seed=seed
        )
        return {self.name: effect}
