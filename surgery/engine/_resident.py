"""Resident: batches evaluated and scored on the device, read a few batches later.

One after the other, variants are judged on the host: are their outputs finite, do they
differ, what does the metric say. Here a batch is handed over whole and nothing is
waited for; what came out is read when some batches are done, and added to the outcomes
as if it had just been measured. A batch in which a sample failed in the untouched
model, or whose labels a metric refuses, runs again in the general way, which tells.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, final

from torch import Tensor

from surgery.data import Form, batch_length, fresh, taken_apart
from surgery.engine._answers import require_no_hooks
from surgery.engine._callable import CallableMetric
from surgery.engine._metric import AbstractMetric
from surgery.engine._padding import padded
from surgery.engine._per_sample import PerSampleMetric
from surgery.engine._readout import Readout
from surgery.engine._runner import Runner
from surgery.engine._scoring import Scoring
from surgery.engine._steps import default_step
from surgery.engine._swept import ROUNDING, Swept, words
from surgery.engine._together import Together
from surgery.errors import BackendError, SurgeryError
from surgery.evaluator import AbstractExecutor, Recipe

_SLOTS = 64
_BYTES = 2**28
"""So many batches, or bytes of them, wait to be read: they may have to run again."""
_FORMS = 8
"""For so many forms of batches there is an executor; others run in the general way."""
_FAILURES = 3
_NOT_HERE = "scored one variant after the other: "


@dataclass(frozen=True)
class Waiting:
    """A batch that was handed over.

    Attributes:
        number: The batch's number.
        batch: A copy, should it have to run again.
        size: Its samples.
        slots: Where in the ledger it is; a batch that was filled up is there twice,
            with other samples in the room that it leaves.
    """

    number: int
    batch: Any
    size: int
    slots: tuple[int, ...]


@dataclass(frozen=True)
class _Station:
    """What batches of one form need."""

    form: Form
    size: int
    slots: int
    scoring: Scoring
    executor: AbstractExecutor
    evaluator: str


@final
class Resident:
    """The part of a sweep that runs on the device without being waited for.

    Args:
        runner: Runs the model.
        together: Has the evaluator.
        metrics: What is measured.
        put: Brings a batch to where the model is.
        swept: What is filled.
        again: Runs a batch in the general way.
        reaches: Whether a variant's own forward differs from the untouched model's.
        names: Of the variants.
    """

    def __init__(
        self,
        runner: Runner,
        together: Together,
        metrics: Sequence[AbstractMetric],
        put: Callable[[Any], Any],
        swept: Swept,
        again: Callable[[int, Any], None],
        reaches: Callable[[int, Any, int], bool],
        names: Sequence[str],
    ) -> None:
        self._runner = runner
        self._together = together
        self._metrics = metrics
        self._put = put
        self._swept = swept
        self._readout = Readout(metrics, swept, again, reaches, names)
        self._stations: dict[Form, _Station] = {}
        self._met: set[Form] = set()
        self._current: _Station | None = None
        self._waiting: list[Waiting] = []
        self._used = 0
        self._failures = 0
        self._off = False

    def take(self, number: int, batch: Any) -> bool:
        """Hand a batch over; false where it has to run in the general way.

        Raises:
            SurgeryError: As `settle`.
        """
        wanted = self._wanted()
        absent = self._together.absent(wanted)
        if self._off or not wanted or absent is None:
            return False
        if absent:
            self._together.note(_NOT_HERE + f"{len(absent)} variants run by themselves")
            return False
        try:
            self._require()
            if not self._together.records:  # else it is brought there meanwhile
                batch = self._put(batch)
            _, form = taken_apart(batch)
            size = batch_length(batch)
            station = self._station_for(form, size)
            if station is None and self._is_rare(form):
                return False
            if station is None:
                station = self._new_station(form, size, batch, number, wanted)
        except Exception as error:  # judged by the general way
            return self._refuse(error)
        # The general way runs on a copy too: kernels look at where memory begins.
        kept = fresh(batch)
        parts, _ = taken_apart(kept)
        runs = [parts] if station.size == size else padded(parts, size, station.size)
        if self._current is not station or self._used + len(runs) > station.slots:
            self.settle()
        self._current = station
        slots = tuple(range(self._used, self._used + len(runs)))
        item = Waiting(number, kept, size, slots)
        try:
            self._run(item, runs, station, wanted)
        except Exception as error:  # likewise
            self._stations.pop(station.form, None)
            return self._refuse(error)
        self._waiting.append(item)
        self._used += len(slots)
        return True

    def settle(self) -> None:
        """Read what was measured, and add it to the outcomes, in the order of batches.

        Raises:
            SurgeryError: What the general way raises for one of these batches.
        """
        station, waiting = self._current, self._waiting
        self._waiting, self._used = [], 0
        if station is not None and waiting:
            self._readout.add(waiting, station.scoring, exact=station.executor.exact)
            self._together.settled += len(waiting)

    def _wanted(self) -> list[int]:
        refused = self._swept.refused
        return [i for i in range(len(self._swept.outcomes)) if i not in refused]

    def _require(self) -> None:
        """Refuse sweeps whose scoring may look at values."""
        if self._runner.step is not default_step:
            raise BackendError("the step is the user's own")
        if self._together.records and self._together.unrecordable:
            raise BackendError(
                f"mode={self._together.unrecordable!r} may look at values"
            )
        for metric in self._metrics:
            if not isinstance(metric, (PerSampleMetric, CallableMetric)):
                raise BackendError(f"{metric.name} is no formula per sample")
        require_no_hooks(self._runner.model)

    def _refuse(self, error: Exception) -> bool:
        ours = isinstance(error, SurgeryError)
        why = str(error) if ours else words(error)
        self._failures += 1
        if not self._stations or self._failures == _FAILURES:
            self._off = True
            self._together.note(_NOT_HERE + why)
        return False

    def _run(
        self,
        item: Waiting,
        runs: Sequence[Sequence[Tensor]],
        station: _Station,
        wanted: Sequence[int],
    ) -> None:
        with self._runner.prepared(item.number):
            for run, slot in zip(runs, item.slots, strict=True):
                station.executor.run(run, slot)
        missing = len(set(wanted) - station.scoring.seen)
        if missing:
            raise BackendError(f"{missing} variants are not in the program")

    def _station_for(self, form: Form, size: int) -> _Station | None:
        """The one for batches of this form, or of a larger one that they can fill."""
        name = self._together.name
        stations = {k: s for k, s in self._stations.items() if s.evaluator == name}
        self._stations = stations
        if form in stations or not self._together.records or self._together.draws:
            return stations.get(form)
        for known, station in stations.items():
            if 1 < size < station.size and form == known.shortened(station.size, size):
                return station
        return None

    def _is_rare(self, form: Form) -> bool:
        """Whether recording does not pay for such batches yet: the last one, say."""
        rare = self._together.records and bool(self._stations) and form not in self._met
        self._met.add(form)
        return rare

    def _new_station(
        self, form: Form, size: int, batch: Any, number: int, wanted: Sequence[int]
    ) -> _Station:
        if len(self._stations) == _FORMS:
            raise BackendError(f"batches of more than {_FORMS} shapes")
        parts, _ = taken_apart(self._put(batch))
        held = sum(part.nbytes for part in parts)
        slots = max(2, min(_SLOTS, _BYTES // max(1, held)))
        scoring = Scoring(
            self._runner,
            form,
            size,
            self._metrics,
            self._swept.reached,
            slots,
            ROUNDING,
            recorded=self._together.records,
        )
        recipe = Recipe(scoring.call, scoring.score, wanted)
        executor = self._together.executor(recipe, parts, number)
        name = self._together.name
        station = _Station(form, size, slots, scoring, executor, name)
        self._stations[form] = station
        return station
