"""The untouched model on one batch: which samples count, and what they give."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from surgery.data import fresh, keep_batch, keep_samples
from surgery.engine._runner import Known, Runner
from surgery.engine._steps import failed_samples
from surgery.engine._swept import Failure, forward_failed, kept_places, span
from surgery.errors import DataError, SurgeryError


@dataclass(frozen=True)
class Baseline:
    """The untouched model on one batch.

    Attributes:
        batch: What every variant runs on.
        outputs: Of the samples that count.
        labels: Of the samples that count.
        keep: Which samples of the batch count; `None` for all.
        places: The places of those samples in the data.
        rows: Rows of the outputs per sample: more than one where the step flattens
            tokens or pixels, 0 where it gives unlike numbers of them.
        failures: Samples that fail in the untouched model.
    """

    batch: Any
    outputs: Any
    labels: Any
    keep: Tensor | None
    places: list[int]
    rows: int
    failures: list[Failure]

    def sample(self, row: int) -> int:
        """Which of the samples that count a row of the outputs is of."""
        return row // self.rows if self.rows else 0

    def clean_batch(self) -> Any:
        """The batch with the samples that count."""
        return self.batch if self.keep is None else keep_batch(self.batch, self.keep)

    def clean(self, outputs: Any) -> Any:
        """A variant's outputs with the samples that count."""
        if self.keep is None:
            return outputs
        return keep_samples(outputs, self.keep.repeat_interleave(self.rows))


def measure_baseline(
    runner: Runner,
    batch: Any,
    places: list[int],
    number: int,
    *,
    skip: bool,
    known: Known | None = None,
) -> Baseline:
    """Run the untouched model on the samples that it can do.

    Args:
        runner: Runs it.
        batch: All samples of the batch.
        places: Their places in the data.
        number: The batch's number.
        skip: Leave out samples that fail; else they are an error.
        known: What the model returns, where that is known.

    Raises:
        SurgeryError: A sample fails, and `skip` is false.
    """
    failures: list[Failure] = []
    runner.put_back()
    try:
        outputs, labels = runner.forward(batch, number, known)
    except SurgeryError:
        raise
    except Exception as error:
        if not skip:
            where = f"in the untouched model, {span(places)}"
            raise forward_failed(where, error) from error
        causes = runner.causes(batch, len(places), number)
        failures = [Failure(None, places[i], cause) for i, cause in causes.items()]
        good = torch.tensor([i not in causes for i in range(len(places))])
        batch, places = keep_batch(batch, good), kept_places(places, good)
        if not places:
            return Baseline(batch, None, None, None, [], 1, failures)
        runner.put_back()
        try:
            outputs, labels = runner.forward(batch, number)
        except Exception as again:
            where = f"in the untouched model, though alone it runs {span(places)}"
            raise forward_failed(where, again) from again
    bad_rows = failed_samples(outputs).cpu()
    rows, rest = divmod(len(bad_rows), len(places))
    rows = 0 if rest else rows
    # Models may return a tensor that they write into again: kept as it is now.
    outputs = fresh(outputs)
    if not bool(bad_rows.any()):
        return Baseline(batch, outputs, labels, None, places, rows, failures)
    if not rows:
        raise DataError(
            f"{int(bad_rows.sum())} of {len(bad_rows)} rows of the untouched model's "
            f"output are not finite, {span(places)}; which samples they are of cannot "
            "be told: let the step give one row per sample, or as many for each"
        )
    bad = bad_rows.view(-1, rows).any(1)
    ill = kept_places(places, bad)
    if not skip:
        raise DataError(
            f"the untouched model's output is not finite (NaN or infinite) for "
            f"{len(ill)} samples, e.g. sample {ill[0]}; mend the model or the "
            "data, or leave such samples out with on_error='skip'"
        )
    failures += [Failure(None, i, "its output is not finite") for i in ill]
    keep, kept_rows = ~bad, ~bad.repeat_interleave(rows)
    return Baseline(
        batch,
        keep_samples(outputs, kept_rows),
        keep_samples(labels, kept_rows),
        keep,
        kept_places(places, keep),
        rows,
        failures,
    )
