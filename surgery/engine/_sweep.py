"""The sweep: baseline and all variants on each batch, while the batch is in memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from surgery._random import derive, seed_all
from surgery.ablation import Variant
from surgery.data import batch_length, keep_samples, slice_batch, to_device
from surgery.engine._interrupt import interruptible
from surgery.engine._metric import AbstractMetric
from surgery.engine._steps import Step, failed_samples, main_output
from surgery.engine._swept import (
    Baseline,
    Failure,
    Swept,
    differ,
    forward_failed,
    kept_places,
    span,
    words,
)
from surgery.errors import DataError
from surgery.ops import Clock
from surgery.report import Advance


@dataclass(frozen=True)
class Sweep:
    """Everything that stays the same from batch to batch.

    Attributes:
        model: The model without wrappers, in eval mode.
        step: Runs it on a batch: `(outputs, labels)`.
        names: Row names of the variants.
        variants: What is evaluated beside the baseline, in this order.
        metrics: What is measured.
        clock: Started at each forward of the model.
        device: Where batches go.
        seed: Every forward on a batch starts from the same random numbers, so that
            dropout-like layers do not differ between variants.
        skip_errors: Leave out samples that fail, instead of stopping.
    """

    model: nn.Module
    step: Step
    names: Sequence[str]
    variants: Sequence[Variant]
    metrics: Sequence[AbstractMetric]
    clock: Clock
    device: torch.device
    seed: int
    skip_errors: bool

    @torch.no_grad()
    def run(
        self, batches: Iterable[Any], samples: int | None, advance: Advance
    ) -> Swept:
        """Score every variant over `batches`.

        An interrupt (Ctrl-C) ends it after the batch under way; what was measured
        stays. A second one ends it at once.
        """
        swept = Swept(
            baseline=[m.start(samples) for m in self.metrics],
            outcomes=[[m.start(samples) for m in self.metrics] for _ in self.variants],
            reached=[False] * len(self.variants),
        )
        handle = self.model.register_forward_pre_hook(
            self.clock.start, with_kwargs=True
        )
        try:
            with interruptible() as interrupted:
                for number, batch in enumerate(batches):
                    self._batch(number, batch, swept, advance)
                    if interrupted():
                        swept.interrupted = True
                        break
        finally:
            handle.remove()
            self.clock.fixed = None
        return swept

    def _batch(self, number: int, batch: Any, swept: Swept, advance: Advance) -> None:
        batch = to_device(batch, self.device)
        start, size = sum(swept.batch_sizes), batch_length(batch)
        swept.batch_sizes.append(size)
        self.clock.fixed = number
        base = self._baseline(batch, list(range(start, start + size)), swept)
        advance(1)
        if base is None:
            advance(len(self.variants))
            return
        for outcome in swept.baseline:
            outcome.update(base.outputs, base.labels)
        for index, outcomes in enumerate(swept.outcomes):
            outputs, failed = self._variant(index, base, swept)
            if not swept.reached[index]:
                swept.reached[index] = differ(base.outputs, outputs)
            for outcome in outcomes:
                outcome.update(outputs, base.labels, failed)
            advance(1)

    def _baseline(self, batch: Any, places: list[int], swept: Swept) -> Baseline | None:
        """The untouched model on the samples that it can do; `None` if there are none.

        Raises:
            DataError: It fails on some, and errors are not to be skipped.
        """
        try:
            outputs, labels = self._forward(batch)
        except DataError:
            raise
        except Exception as error:
            if not self.skip_errors:
                where = f"in the untouched model, {span(places)}"
                raise forward_failed(where, error) from error
            causes = self._causes(batch, len(places))
            swept.failures += [Failure(None, places[i], c) for i, c in causes.items()]
            mask = torch.tensor([i not in causes for i in range(len(places))])
            batch, places = keep_samples(batch, mask), kept_places(places, mask)
            if not places:
                return None
            outputs, labels = self._forward(batch)
        bad = failed_samples(outputs).cpu()
        if not bool(bad.any()):
            return Baseline(batch, outputs, labels, None, places)
        ill = kept_places(places, bad)
        if not self.skip_errors:
            raise DataError(
                f"the untouched model's output is not finite (NaN or infinite) for "
                f"{len(ill)} samples, e.g. sample {ill[0]}; mend the model or the "
                "data, or leave such samples out with on_error='skip'"
            )
        swept.failures += [Failure(None, i, "its output is not finite") for i in ill]
        keep = ~bad
        places = kept_places(places, keep)
        clean = keep_samples(outputs, keep), keep_samples(labels, keep)
        return Baseline(batch, *clean, keep, places) if places else None

    def _forward(self, batch: Any) -> tuple[Any, Any]:
        seed_all(derive(self.seed, "batch", self.clock.fixed))
        return self.step(self.model, batch)

    def _variant(
        self, index: int, base: Baseline, swept: Swept
    ) -> tuple[Any, Tensor | None]:
        """The outputs of one variant, and which of its samples failed only here."""
        causes: dict[int, str] = {}
        undo = self.variants[index].apply()
        try:
            outputs = base.kept(self._forward(base.batch)[0])
        except Exception as error:
            if not self.skip_errors:
                where = f"without {self.names[index]}, {span(base.places)}"
                raise forward_failed(where, error) from error
            outputs, causes = self._one_by_one(base)
        finally:
            undo()
        failed = failed_samples(outputs).cpu()
        for row in causes:
            failed[row] = True
        if not bool(failed.any()):
            return outputs, None
        for row in failed.nonzero().flatten().tolist():
            cause = causes.get(row, "its output is not finite")
            failure = Failure(self.names[index], base.places[row], cause)
            swept.failures.append(failure)
        return outputs, failed

    def _one_by_one(self, base: Baseline) -> tuple[Any, dict[int, str]]:
        """Samples alone; those that raise get the baseline's output and a cause."""
        batch = base.kept(base.batch)
        reference = main_output(base.outputs)
        rows: list[Tensor] = []
        causes: dict[int, str] = {}
        for row in range(len(base.places)):
            try:
                outputs, _ = self._forward(slice_batch(batch, row, row + 1))
                rows.append(main_output(outputs))
            except Exception as error:
                causes[row] = words(error)
                rows.append(reference[row : row + 1])
        return torch.cat(rows), causes

    def _causes(self, batch: Any, size: int) -> dict[int, str]:
        """Which samples raise when they run alone, and what."""
        causes: dict[int, str] = {}
        for row in range(size):
            try:
                self._forward(slice_batch(batch, row, row + 1))
            except Exception as error:
                causes[row] = words(error)
        return causes
