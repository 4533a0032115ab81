"""Metrics that are means of one value per sample, compared sample by sample."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from surgery.engine._formulas import AbstractFormula
from surgery.engine._metric import AbstractMetric, AbstractOutcome, blamed
from surgery.engine._series import Series, check_paired
from surgery.errors import DataError
from surgery.stats import Effect, combined, paired_transformed, repeated_means

Array = NDArray[np.float64]
Transform = Callable[[Array], Array]


@final
class Measured:
    """Values and weights of one metric, sample by sample.

    A sample that failed has the value given for that, or NaN until the worst value
    is known.
    """

    def __init__(self, on_failure: float | None = None) -> None:
        self.on_failure = on_failure
        self.values = Series()
        self._weights: Series | None = None
        self._marked: list[Tensor] = []

    def __len__(self) -> int:
        return len(self.values)

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self.values.nbytes + (self._weights.nbytes if self._weights else 0)

    @property
    def failed(self) -> int:
        """Samples marked as failed, or not finite."""
        if self.on_failure is None:
            return int(np.sum(~np.isfinite(self.values.numpy())))
        return sum(int(count) for count in self._marked)

    def append(
        self, values: Tensor, weights: Tensor | None, failed: Tensor | None
    ) -> None:
        """Add a batch."""
        if failed is not None:
            failed = failed.to(values.device)
            if self.on_failure is None:
                values = values.float() if not values.is_floating_point() else values
                values = values.masked_fill(failed, torch.nan)
            else:
                values = values.masked_fill(failed, self.on_failure)
                self._marked.append(failed.sum())
        if weights is not None and self._weights is None:
            self._weights = Series()
            if len(self.values):
                before = torch.ones(len(self.values), device=values.device)
                self._weights.append(before)
        if self._weights is not None:
            if weights is None:
                weights = torch.ones(len(values), device=values.device)
            self._weights.append(weights)
        self.values.append(values)

    def arrays(self) -> tuple[Array, Array | None]:
        """Values and weights as doubles."""
        values = self.values.numpy().astype(np.float64)
        if self._weights is None:
            return values, None
        return values, self._weights.numpy().astype(np.float64)


def compare_measured(
    name: str,
    baseline: Measured,
    variants: Sequence[Measured],
    higher_is_better: bool,
    transform: Transform | None,
    *,
    confidence: float,
    seed: int,
) -> Effect:
    """Compare sample by sample; failed samples count as the worst ones seen.

    Of several variants, draws of one, the mean is compared. What is not finite in the
    baseline leaves the comparison.
    """
    for variant in variants:
        check_paired(name, len(baseline), len(variant))
    before, weights = baseline.arrays()
    keep = np.isfinite(before)
    if weights is not None:
        keep &= weights > 0
    if not keep.any():
        raise DataError(
            f"{name}: no sample has a finite value with the model as it is; look at "
            "its outputs and labels"
        )
    before = before[keep]
    afters = [
        _filled(variant.arrays()[0][keep], before, higher_is_better)
        for variant in variants
    ]
    if weights is not None:
        weights = weights[keep]
        weights = None if np.all(weights == weights[0]) else weights
    if transform is None:
        return repeated_means(before, afters, weights, confidence=confidence, seed=seed)
    effects = [
        paired_transformed(
            before, after, weights, transform, confidence=confidence, seed=seed
        )
        for after in afters
    ]
    return combined(effects, confidence)


def mean_measured(
    measured: Measured, higher_is_better: bool, transform: Transform | None
) -> float:
    """The metric of one side alone; failed samples count as its own worst."""
    values, weights = measured.arrays()
    if weights is not None:
        values, weights = values[weights > 0], weights[weights > 0]
    values = _filled(values, values, higher_is_better)
    if not len(values):
        return float("nan")
    mean = np.asarray(np.average(values, weights=weights))
    return float(mean if transform is None else transform(mean))


def _filled(values: Array, others: Array, higher_is_better: bool) -> Array:
    bad = ~np.isfinite(values)
    if not bad.any():
        return values
    seen = np.concatenate([values[~bad], others[np.isfinite(others)]])
    if not len(seen):
        return values
    worst = seen.min() if higher_is_better else seen.max()
    return np.where(bad, worst, values)


@final
class PerSampleOutcome(AbstractOutcome):
    """One value per sample of a `PerSampleMetric`."""

    def __init__(self, metric: PerSampleMetric) -> None:
        self._metric = metric
        self.measured = Measured(metric.on_failure)
        self.samples = 0

    @property
    def failed(self) -> int:
        return self.measured.failed

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self.measured.nbytes

    def measure(
        self, outputs: Any, labels: Any, failed: Tensor | None = None, ahead: int = 0
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        with blamed(self._metric.name, outputs, labels):
            values, weights = self._metric.formula(outputs, labels)
            return values, weights, failed

    def add(self, piece: tuple[Tensor, Tensor | None, Tensor | None]) -> None:
        self.measured.append(*piece)
        self.samples = len(self.measured)

    def values(self) -> dict[str, float]:
        metric = self._metric
        value = mean_measured(self.measured, metric.higher_is_better, metric.transform)
        return {metric.name: value}


@final
class PerSampleMetric(AbstractMetric):
    """A mean of a formula per sample, or a transform of that mean.

    Args:
        name: What it is called.
        group: Its group.
        higher_is_better: Its direction.
        formula: Gives values and weights of a batch.
        on_failure: Value of a failed sample; `None`: the worst one seen.
        transform: Turns the mean into the metric.
    """

    def __init__(
        self,
        name: str,
        group: str,
        higher_is_better: bool | Mapping[str, bool],
        formula: AbstractFormula,
        on_failure: float | None = None,
        transform: Transform | None = None,
    ) -> None:
        super().__init__(name, group, higher_is_better)
        self.formula = formula
        self.on_failure = on_failure
        self.transform = transform

    def start(self, total: int | None = None) -> PerSampleOutcome:
        return PerSampleOutcome(self)

    def compare(
        self,
        baseline: AbstractOutcome,
        variant: AbstractOutcome,
        *,
        confidence: float,
        seed: int,
    ) -> dict[str, Effect]:
        return self.compare_repeats(
            baseline, [variant], confidence=confidence, seed=seed
        )

    def compare_repeats(
        self,
        baseline: AbstractOutcome,
        variants: Sequence[AbstractOutcome],
        *,
        confidence: float,
        seed: int,
    ) -> dict[str, Effect]:
        effect = compare_measured(
            self.name,
            cast(PerSampleOutcome, baseline).measured,
            [cast(PerSampleOutcome, variant).measured for variant in variants],
            self.higher_is_better,
            self.transform,
            confidence=confidence,
            seed=seed,
        )
        return {self.name: effect}
