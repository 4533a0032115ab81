"""Metrics that are functions of the user's own."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast, final

import numpy as np
import torch
from torch import Tensor

from surgery.engine._feeds import fed_length
from surgery.engine._metric import AbstractMetric, AbstractOutcome, blamed, describe
from surgery.engine._per_sample import Measured, compare_measured, mean_measured
from surgery.engine._series import check_paired
from surgery.errors import DataError
from surgery.stats import Effect, repeated_means

Function = Callable[[Any, Any], Any]


@final
class CallableOutcome(AbstractOutcome):
    """What a function gave, batch by batch, by name."""

    def __init__(self, metric: CallableMetric) -> None:
        self._metric = metric
        self.per_sample: dict[str, Measured] = {}
        self.per_batch: dict[str, list[float]] = {}
        self.sizes: list[int] = []
        self._marked: list[Tensor] = []
        self.samples = 0

    @property
    def failed(self) -> int:
        if not self.per_sample:
            return sum(int(count) for count in self._marked)
        return max(measured.failed for measured in self.per_sample.values())

    def measure(
        self, outputs: Any, labels: Any, failed: Tensor | None = None, ahead: int = 0
    ) -> tuple[dict[str, Tensor], int, Tensor | None]:
        metric = self._metric
        length = fed_length(outputs, labels, failed)
        with blamed(metric.name, outputs, labels):
            named = metric.named(metric.function(outputs, labels))
            numbers = {k: _number(metric.name, value) for k, value in named.items()}
        return numbers, length, failed

    def add(self, piece: tuple[dict[str, Tensor], int, Tensor | None]) -> None:
        numbers, length, failed = piece
        known = self.per_sample.keys() | self.per_batch.keys()
        if self.sizes and numbers.keys() != known:
            raise DataError(
                f"{self._metric.name} gave {sorted(known)} at first, then "
                f"{sorted(numbers)}; give the same names for every batch"
            )
        for name, value in numbers.items():
            self._add(name, value, length, failed)
        if failed is not None:
            self._marked.append(failed.sum())
        self.sizes.append(length)
        self.samples += length

    def values(self) -> dict[str, float]:
        means = {
            name: mean_measured(item, self._metric.direction(name), None)
            for name, item in self.per_sample.items()
        }
        for name, item in self.per_batch.items():
            means[name] = float(np.average(item, weights=self.sizes))
        return means

    def _add(
        self, name: str, value: Tensor, length: int, failed: Tensor | None
    ) -> None:
        metric = self._metric.name
        self._metric.direction(name)
        if value.ndim == 0:
            if name in self.per_sample:
                raise DataError(f"{metric} gave a tensor at first, then a scalar")
            spoiled = failed is not None and bool(failed.any())
            self.per_batch.setdefault(name, []).append(
                math.nan if spoiled else float(value.detach())
            )
            return
        if tuple(value.shape) != (length,):
            raise DataError(
                f"{metric} gave a tensor of shape {tuple(value.shape)} for a batch of "
                f"{length}; return one value per sample, shape ({length},), or a "
                "scalar"
            )
        if name in self.per_batch:
            raise DataError(f"{metric} gave a scalar at first, then a tensor")
        self.per_sample.setdefault(name, Measured()).append(value, None, failed)


@final
class CallableMetric(AbstractMetric):
    """A function of outputs and labels.

    It returns one value per sample, which are compared as such; or one number per
    batch, averaged with the sizes of batches as weights and compared batch by batch,
    so that its interval is one over batches; or a dict of these by name.

    Args:
        name: What it is called.
        group: Its group.
        higher_is_better: Its direction, or the direction of each name.
        function: Gives the values of a batch.
    """

    def __init__(
        self,
        name: str,
        group: str,
        higher_is_better: bool | Mapping[str, bool],
        function: Function,
    ) -> None:
        super().__init__(name, group, higher_is_better)
        self.function = function

    def named(self, result: Any) -> dict[str, Any]:
        """What the function returned, by name."""
        if isinstance(result, Mapping):
            items = result
            return {str(name): value for name, value in items.items()}
        return {self.name: result}

    def start(self, total: int | None = None) -> CallableOutcome:
        return CallableOutcome(self)

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
        before = cast(CallableOutcome, baseline)
        afters = [cast(CallableOutcome, variant) for variant in variants]
        for after in afters:
            check_paired(self.name, before.samples, after.samples)
        effects = {
            name: compare_measured(
                name,
                item,
                [after.per_sample[name] for after in afters],
                self.direction(name),
                None,
                confidence=confidence,
                seed=seed,
            )
            for name, item in before.per_sample.items()
        }
        for name, item in before.per_batch.items():
            sizes = np.array(before.sizes, dtype=np.float64)
            effect = repeated_means(
                np.array(item),
                [np.array(after.per_batch[name]) for after in afters],
                None if np.all(sizes == sizes[0]) else sizes,
                confidence=confidence,
                seed=seed,
            )
            effects[name] = replace(
                effect, n=before.samples, method=f"{effect.method}, over batches"
            )
        return effects


def _number(metric: str, value: Any) -> Tensor:
    if isinstance(value, (int, float, np.number)):
        value = torch.tensor(float(value), dtype=torch.float64)
    elif isinstance(value, np.ndarray):
        value = torch.from_numpy(value)
    if not isinstance(value, Tensor) or value.is_complex():
        raise DataError(
            f"{metric} returned a value {describe(value)}; return a tensor with one "
            "value per sample, a number, or a dict of these"
        )
    return value
