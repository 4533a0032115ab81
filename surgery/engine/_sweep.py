"""The sweep: baseline and all variants on each batch, while the batch is in memory."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from surgery.ablation import Variant, observing
from surgery.anatomy import close
from surgery.data import batch_length, keep_batch, put_samples
from surgery.engine._baseline import Baseline, measure_baseline
from surgery.engine._interrupt import interruptible
from surgery.engine._metric import AbstractMetric, AbstractOutcome
from surgery.engine._place import Place
from surgery.engine._resident import Resident
from surgery.engine._runner import Known, Runner
from surgery.engine._steps import failed_samples
from surgery.engine._swept import (
    ROUNDING,
    Failure,
    Swept,
    differ,
    forward_failed,
    span,
    words,
)
from surgery.engine._together import Together
from surgery.errors import SurgeryError
from surgery.evaluator import Evaluated
from surgery.ops import Clock
from surgery.report import Advance


@dataclass(frozen=True)
class Sweep:
    """Everything that stays the same from batch to batch.

    Attributes:
        runner: Runs the model, without wrappers and in eval mode, on a batch.
        names: Row names of the variants.
        variants: What is evaluated beside the baseline, in this order.
        metrics: What is measured.
        clock: Started at each forward of the model.
        place: Where batches go.
        skip_errors: Leave out samples that fail, instead of stopping.
        together: What evaluates whole batches at once, where that can be.
    """

    runner: Runner
    names: Sequence[str]
    variants: Sequence[Variant]
    metrics: Sequence[AbstractMetric]
    clock: Clock
    place: Place
    skip_errors: bool
    together: Together

    @torch.no_grad()
    def gather(self, batches: Iterable[Any], advance: Advance) -> None:
        """One pass for the statistics that variants need, on the samples that count."""
        model = self.runner.model
        seen = 0
        with observing(model, self.variants, self.clock) as observation:
            for number, batch in enumerate(batches):
                batch = self.place.put(batch)
                places = list(range(seen, seen + batch_length(batch)))
                seen += len(places)
                observation.save()
                self.runner.put_back()
                try:
                    outputs, _ = self.runner.forward(batch, number)
                    clean = not bool(failed_samples(outputs).any())
                except SurgeryError:
                    raise
                except Exception:  # told again, and judged, by the baseline below
                    clean = False
                if not clean:
                    observation.forget()
                    observation.pause(True)
                    base = self._baseline(batch, places, number)
                    observation.pause(False)
                    if base.places:
                        self.runner.forward(base.clean_batch(), number)
                advance()
        self.runner.put_back()

    @torch.no_grad()
    def run(
        self, batches: Iterable[Any], samples: int | None, advance: Advance
    ) -> Swept:
        """Score every variant over `batches`.

        An interrupt (Ctrl-C) ends it after the batch under way; what was measured
        stays. A second one ends it at once.
        """
        swept = Swept.start(self.metrics, len(self.variants), samples)
        resident = self._resident(swept)
        stop = self.clock.watch(self.runner.model)
        try:
            with interruptible() as interrupted:
                for number, batch in enumerate(batches):
                    if resident.take(number, batch):
                        advance(1 + len(self.variants))
                    else:
                        resident.settle()
                        self._batch(number, batch, swept, advance)
                    if interrupted():
                        swept.interrupted = True
                        break
                resident.settle()
        finally:
            stop()
            self.runner.put_back()
        return swept

    def _resident(self, swept: Swept) -> Resident:
        """What takes batches that need not be waited for."""

        def again(number: int, batch: Any) -> None:
            self._batch(number, batch, swept, _nothing)

        last: dict[int, Baseline] = {}

        def reaches(index: int, batch: Any, number: int) -> bool:
            if number not in last:
                last.clear()
                batch = self.place.put(batch)
                places = list(range(batch_length(batch)))
                last[number] = self._baseline(batch, places, number)
            base = last[number]
            return differ(base.outputs, self._outputs(index, base, number, None)[0])

        return Resident(
            self.runner,
            self.together,
            self.metrics,
            self.place.put,
            swept,
            again,
            reaches,
            self.names,
        )

    def _batch(self, number: int, batch: Any, swept: Swept, advance: Advance) -> None:
        batch = self.place.put(batch)
        start, size = sum(swept.batch_sizes), batch_length(batch)
        swept.batch_sizes.append(size)
        places = list(range(start, start + size))
        order = [i for i in range(len(self.variants)) if i not in swept.refused]
        advance(len(self.variants) - len(order))
        evaluated = self._evaluated(batch, number, order)
        base = self._baseline(batch, places, number, _known(evaluated, None))
        swept.failures += base.failures
        advance(1)
        if not base.places:
            advance(len(order))
            return
        for outcome in swept.baseline:
            outcome.update(base.outputs, base.labels)
        order = _ordered(evaluated, order)
        while order:
            index = order.pop(0)
            outcomes, known = swept.outcomes[index], _known(evaluated, index)
            exact = evaluated is None or evaluated.exact
            began = time.perf_counter()
            self._variant(index, base, number, swept, outcomes, known, exact=exact)
            advance(1)
            if evaluated is None and order:
                self.together.ran_plainly(time.perf_counter() - began)
                if self.together.pays_by_now(number, len(order)):
                    evaluated = self._evaluated(batch, number, order)
                    order = _ordered(evaluated, order)

    def _evaluated(
        self, batch: Any, number: int, wanted: Sequence[int]
    ) -> Evaluated | None:
        """Outputs for a batch; none where it has to run variant by variant."""
        self.runner.put_back()
        try:
            return self.together.evaluate(batch, number, wanted)
        except SurgeryError:
            raise
        except Exception as error:  # judged by the forwards themselves
            self.together.note(words(error))
            return None

    def _baseline(
        self,
        batch: Any,
        places: list[int],
        number: int,
        known: Known | None = None,
    ) -> Baseline:
        return measure_baseline(
            self.runner, batch, places, number, skip=self.skip_errors, known=known
        )

    def _variant(
        self,
        index: int,
        base: Baseline,
        number: int,
        swept: Swept,
        outcomes: Sequence[AbstractOutcome],
        known: Known | None,
        *,
        exact: bool,
    ) -> None:
        """Measure one variant on one batch."""
        try:
            outputs, causes = self._outputs(index, base, number, known)
        except SurgeryError as error:  # the operation does not fit: nobody's failure
            if not self.skip_errors:
                raise
            swept.refused[index] = str(error)
            return
        failed = failed_samples(outputs).cpu()
        for row in causes:
            failed[row * base.rows : (row + 1) * base.rows] = True
        if not swept.reached[index]:
            swept.reached[index] = differ(base.outputs, outputs) and (
                known is None
                or exact
                or not close(base.outputs, outputs, ROUNDING)
                or differ(base.outputs, self._outputs(index, base, number, None)[0])
            )
        ill = failed.nonzero().flatten().tolist()
        for row in dict.fromkeys(base.sample(row) for row in ill):
            cause = causes.get(row, "its output is not finite")
            failure = Failure(self.names[index], base.places[row], cause)
            swept.failures.append(failure)
        for outcome in outcomes:
            outcome.update(outputs, base.labels, failed if ill else None)

    def _outputs(
        self, index: int, base: Baseline, number: int, known: Known | None
    ) -> tuple[Any, dict[int, str]]:
        """A variant's outputs; samples that raise have the baseline's, and a cause."""
        if known is not None:
            return base.clean(self.runner.forward(base.batch, number, known)[0]), {}
        self.runner.put_back()
        undo = self.variants[index].apply()
        try:
            try:
                return base.clean(self.runner.forward(base.batch, number)[0]), {}
            except SurgeryError:
                raise
            except Exception as error:
                where = f"without {self.names[index]}, {span(base.places)}"
                if not self.skip_errors or not base.rows:
                    raise forward_failed(where, error) from error
                batch = base.clean_batch()
                causes = self.runner.causes(batch, len(base.places), number)
                well = torch.tensor([i not in causes for i in range(len(base.places))])
                if not bool(well.any()):
                    return base.outputs, causes
                try:
                    rest, _ = self.runner.forward(keep_batch(batch, well), number)
                except SurgeryError:
                    raise
                except Exception as again:  # it fails in company only: all count
                    return base.outputs, dict.fromkeys(range(len(well)), words(again))
                rows = well.repeat_interleave(base.rows)
                return put_samples(base.outputs, rows, rest), causes
        finally:
            undo()


def _ordered(evaluated: Evaluated | None, wanted: Sequence[int]) -> list[int]:
    """The same variants, first those that were evaluated together, in their order."""
    found = {} if evaluated is None else evaluated.outputs
    together = [index for index in found if index is not None]
    return [*together, *(i for i in wanted if i not in set(together))]


def _known(evaluated: Evaluated | None, index: int | None) -> Known | None:
    if evaluated is None or index not in evaluated.outputs:
        return None
    return Known(evaluated.outputs[index])


def _nothing(steps: int = 1, note: str | None = None) -> None:
    """For batches whose progress was shown before."""
