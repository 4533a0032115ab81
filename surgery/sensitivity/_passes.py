"""Passes: work on each batch, with what fails counted and interrupts heeded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from surgery.ablation import Variant
from surgery.data import batch_length, slice_batch
from surgery.engine import Failure, Runner, forward_failed, interruptible
from surgery.errors import SurgeryError
from surgery.measurement import Measurement

Array = NDArray[np.float64]


@dataclass
class Passed:
    """What a pass left.

    Attributes:
        sizes: Samples of each batch.
        failures: Samples that failed.
        interrupted: Whether it was cut short.
    """

    sizes: list[int] = field(default_factory=list[int])
    failures: list[Failure] = field(default_factory=list[Failure])
    interrupted: bool = False


@dataclass
class PerSample:
    """One value per row and sample, and a weight per sample.

    Attributes:
        values: By batch, rows x samples.
        weights: By batch.
    """

    values: list[Array] = field(default_factory=list[Array])
    weights: list[Array] = field(default_factory=list[Array])

    def add(self, values: Tensor, weights: Tensor) -> None:
        """Keep those of a batch."""
        self.values.append(values.double().cpu().numpy())
        self.weights.append(weights.double().cpu().numpy())

    def all(self) -> tuple[Array, Array]:
        """All batches; samples of no weight left out."""
        values = np.concatenate(self.values, axis=1)
        weights = np.concatenate(self.weights)
        return values[:, weights > 0], weights[weights > 0]


Work = Callable[[Runner, Any, int, int], None]
"""Given what runs the model, a batch, its number, and its samples."""


def each_batch(
    measurement: Measurement,
    names: Sequence[str],
    variants: Sequence[Variant],
    title: str,
    work: Work,
    placing: AbstractContextManager[object],
) -> Passed:
    """Do the work on every batch; on each sample alone where that fails and may.

    Args:
        measurement: Running.
        names: Of the rows.
        variants: Likewise.
        title: Of the progress bar.
        work: What is done.
        placing: Holds what is placed in the model, once averages are gathered.

    Raises:
        SurgeryError: The work failed, and failures are not skipped.
    """
    passed = Passed()
    with (
        measurement.watched(names, variants, title) as (runner, batches, advance),
        placing,
        interruptible() as asked,
    ):
        for number, batch in enumerate(batches):
            size = batch_length(batch)
            runner.put_back()
            try:
                work(runner, batch, number, size)
            except SurgeryError:
                raise
            except Exception as error:
                if not measurement.skips:
                    where = f"in the gradient pass, on batch {number}"
                    raise forward_failed(where, error) from error
                _one_by_one(runner, batch, number, size, work, passed)
            passed.sizes.append(size)
            advance()
            if asked():
                passed.interrupted = True
                break
    return passed


def _one_by_one(
    runner: Runner, batch: Any, number: int, size: int, work: Work, passed: Passed
) -> None:
    first = sum(passed.sizes)
    for row in range(size):
        runner.put_back()
        try:
            work(runner, slice_batch(batch, row, row + 1), number, 1)
        except SurgeryError:
            raise
        except Exception as error:  # whatever it is, it is counted and shown
            cause = f"{type(error).__name__}: {error}"
            passed.failures.append(Failure(None, first + row, cause))
