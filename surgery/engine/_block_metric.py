"""Metrics from torchmetrics, compared through the states of blocks of samples."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, cast, final

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from surgery.data._samples import take
from surgery.engine._blocks import Blocks
from surgery.engine._feeds import AbstractFeed, Fed
from surgery.engine._metric import AbstractMetric, AbstractOutcome, blamed, describe
from surgery.engine._metric_states import move_to_data, reductions_of
from surgery.engine._replay import Replayed, own_samples
from surgery.engine._series import check_paired
from surgery.errors import DataError
from surgery.stats import Effect, paired_blocks

if TYPE_CHECKING:
    pass


class _Piece(NamedTuple):
    """What a batch adds; `kept` is `None` once failures have no meaning."""

    length: int
    failed: Tensor | int
    classes: int
    kept: Any


@final
class BlockOutcome(AbstractOutcome):
    """States of a `BlockMetric`; no number once a sample's failure has no meaning."""

    def __init__(self, metric: BlockMetric, total: int | None) -> None:
        self._metric = metric
        self._total = total
        self._meaningless = False
        self._failed: list[Tensor | int] = []
        self._drawn: dict[bytes, dict[str, float]] = {}
        self.blocks: Blocks | Replayed | None = None
        self.samples = 0

    @property
    def failed(self) -> int:
        return sum(int(count) for count in self._failed)

    def measure(
        self, outputs: Any, labels: Any, failed: Tensor | None = None, ahead: int = 0
    ) -> _Piece:
        metric = self._metric
        count = 0 if failed is None else failed.sum()
        with blamed(metric.name, outputs, labels):
            fed = metric.feed.feed(outputs, labels, failed)
            kept = None
            if not (self._meaningless or fed.meaningless):
                kept = self._kept(fed, ahead)
        return _Piece(fed.length, count, metric.feed.classes, kept)

    def add(self, piece: _Piece) -> None:
        self._drawn.clear()
        self._failed.append(piece.failed)
        self.samples += piece.length
        self._meaningless |= piece.kept is None
        if self._meaningless or piece.kept is None:
            return
        self._metric.feed.prepare(piece.classes)
        blocks = self._blocks()
        if isinstance(blocks, Replayed):
            predictions, labels = piece.kept
            blocks.append(predictions, labels, piece.length)
            return
        for state, count in piece.kept:
            blocks.append(state, count)

    def rows(self, outputs: Any, labels: Any) -> int:
        with blamed(self._metric.name, outputs, labels):
            return self._metric.feed.feed(outputs, labels, None).length

    def values(self) -> dict[str, float]:
        blocks = np.arange(len(self.blocks) if self.blocks else 0)
        # Without meaningful states there is one answer, whatever the metric's names.
        return self.drawn(blocks, remember=False) or {self._metric.name: math.nan}

    def drawn(self, indices: NDArray[np.intp], *, remember: bool) -> dict[str, float]:
        """The metric of some blocks, with repeats, by name."""
        if self._meaningless or self.blocks is None:
            return {}
        key = indices.tobytes() if remember else b""
        if key in self._drawn:
            return self._drawn[key]
        if isinstance(self.blocks, Replayed):
            values = self._metric.replay(*self.blocks.samples(indices))
        else:
            values = self._metric.compute(self.blocks.state(indices), len(indices))
        if remember:
            self._drawn[key] = values
        return values

    def forget(self) -> None:
        """Free what was kept to make draws fast."""
        self._drawn.clear()
        if isinstance(self.blocks, Blocks):
            self.blocks.forget()

    def _blocks(self) -> Blocks | Replayed:
        if self.blocks is None:
            reductions = reductions_of(self._metric.feed.metric)
            self.blocks = Blocks(reductions, self._total) if reductions else Replayed()
        return self.blocks

    def _kept(self, fed: Fed, ahead: int) -> Any:
        """States of runs, with their lengths; or the samples themselves."""
        blocks = self._blocks()
        if isinstance(blocks, Replayed):
            # Errors of a batch are to be raised with the batch.
            self._metric.states(fed.predictions, fed.labels)
            return own_samples(fed)
        return [
            (
                self._metric.states(
                    take(fed.predictions, fed.length, start, stop),
                    take(fed.labels, fed.length, start, stop),
                ),
                stop - start,
            )
            for start, stop in blocks.runs(fed.length, ahead)
        ]


@final
class BlockMetric(AbstractMetric):
    """A torchmetrics metric, as states of blocks and a bootstrap over them.

    Args:
        name: What it is called.
        group: Its group.
        higher_is_better: Its direction.
        feed: Prepares batches, and owns the working copy of the metric.
        entries: Where `compute` gives a dict: which of its entries to report, and
            their directions. Empty: all that are numbers.
    """

    def __init__(
        self,
        name: str,
        group: str,
        higher_is_better: bool | Mapping[str, bool],
        feed: AbstractFeed,
        entries: Mapping[str, bool] | None = None,
    ) -> None:
        super().__init__(name, group, higher_is_better)
        self.feed = feed
        self._entries = entries or {}

    def start(self, total: int | None = None) -> BlockOutcome:
        return BlockOutcome(self, total)

    def compare(
        self,
        baseline: AbstractOutcome,
        variant: AbstractOutcome,
        *,
        confidence: float,
        seed: int,
    ) -> dict[str, Effect]:
        before, after = cast(BlockOutcome, baseline), cast(BlockOutcome, variant)
        check_paired(self.name, before.samples, after.samples)
        blocks = len(before.blocks) if before.blocks else 0
        names = list(before.values())
        # Remembered only here: 100 variants would remember too much.
        drawn: dict[bytes, dict[str, float]] = {}

        def values(indices: NDArray[np.intp], which: int) -> dict[str, float]:
            if not which:
                return before.drawn(indices, remember=True)
            key = indices.tobytes()
            if key not in drawn:
                drawn[key] = after.drawn(indices, remember=False)
            return drawn[key]

        effects: dict[str, Effect] = {}
        with warnings.catch_warnings():
            # A draw may lack a class; the data as a whole was computed above.
            warnings.simplefilter("ignore")
            for name in names:

                def statistic(
                    indices: NDArray[np.intp], which: int, name: str = name
                ) -> float:
                    return values(indices, which).get(name, math.nan)

                effects[name] = paired_blocks(
                    statistic, blocks, before.samples, confidence=confidence, seed=seed
                )
        if after is not before:
            after.forget()
        return effects

    def states(self, predictions: Any, labels: Any) -> dict[str, Any]:
        """States of the metric after these samples alone."""
        metric = self.feed.metric
        metric.reset()
        move_to_data(metric, predictions, labels)
        metric.update(predictions, labels)
        # Lists are emptied in place by the next reset.
        return {
            name: list(value) if isinstance(value, list) else value
            for name, value in metric.metric_state.items()
        }

    def replay(self, predictions: Any, labels: Any) -> dict[str, float]:
        """The metric of these samples, by name."""
        metric = self.feed.metric
        metric.reset()
        metric.to("cpu")
        metric.update(predictions, labels)
        return self._computed()

    def compute(self, state: Mapping[str, Any], updates: int) -> dict[str, float]:
        """The metric of some states, by name."""
        metric = self.feed.metric
        metric.reset()
        metric.to("cpu")
        for name, value in state.items():
            setattr(metric, name, value)
        # Without it `compute` warns that nothing was ever added.
        metric._update_count = updates
        return self._computed()

    def _computed(self) -> dict[str, float]:
        metric = self.feed.metric
        try:
            result = metric.compute()
        except Exception as error:
            raise DataError(
                f"the metric {self.name!r} took all batches, but its compute() raised "
                f"{type(error).__name__}: {error}"
            ) from error
        metric.reset()
        return self._named(result)

    def direction(self, name: str) -> bool:
        if name in self._entries:
            return self._entries[name]
        return super().direction(name)

    def _named(self, result: Any) -> dict[str, float]:
        if isinstance(result, Mapping):
            fields = cast("Mapping[str, Any]", result)
            numbers = {
                name: float(value)
                for name, value in fields.items()
                if not isinstance(value, Tensor)
                or (value.numel() == 1 and value.is_floating_point())
            }
            chosen = {name: numbers[name] for name in self._entries if name in numbers}
            if self._entries and not chosen:
                raise DataError(
                    f"higher_is_better names {sorted(self._entries)}, but "
                    f"{self.name} gives {sorted(numbers)}"
                )
            return chosen or numbers
        if isinstance(result, (int, float)):
            return {self.name: float(result)}
        if isinstance(result, Tensor) and result.numel() == 1:
            return {self.name: float(result)}
        raise DataError(
            f"{self.name} gives a result {describe(result)}, not one number; let it "
            "average, for example with average='macro'"
        )
