"""The recorded executor: what a batch launches, recorded once and launched again.

It does not know how that is done: a recorder runs a function once and returns what
repeats its launches in the same memory. Python runs for the first batch only.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Protocol, final

import torch
from torch import Tensor, nn

from surgery.errors import BackendError
from surgery.evaluator import AbstractExecutor, Recipe
from surgery.ops import Draws, drawn_before
from surgery_backends._trial import Trial
from surgery_backends.fused._direct import Body
from surgery_backends.fused._intake import Intake
from surgery_backends.fused._program import FusedProgram


class Recorder(Protocol):
    """Runs a function, records what it launches, and returns what launches it again.

    The function is called at least once so that it takes effect; effects of further
    calls are the same.
    """

    def __call__(self, body: Callable[[], None]) -> Callable[[], None]: ...


class Source(Protocol):
    """Has the programs, and makes them smaller where memory does not suffice."""

    def programs(self) -> Sequence[FusedProgram]:
        """The passes over a batch."""
        ...

    def is_exact(self) -> bool:
        """Whether they give, bit for bit, what forwards would."""
        ...

    def shrink(self) -> bool:
        """Compute fewer variants at once from now on; whether that could be."""
        ...


@final
class RecordedExecutor(AbstractExecutor):
    """Records each pass with the first batch, and repeats it for the others.

    Args:
        model: The model.
        trials: What is evaluated beside the baseline.
        source: Has the programs.
        recipe: What is done with a batch.
        intake: Where batches lie.
        recorder: How to record.
    """

    def __init__(
        self,
        model: nn.Module,
        trials: Sequence[Trial],
        source: Source,
        recipe: Recipe,
        intake: Intake,
        recorder: Recorder,
    ) -> None:
        self._model = model
        self._trials = trials
        self._source = source
        self._recipe = recipe
        self._intake = intake
        self._recorder = recorder
        self._draws = Draws()
        self._passes: list[Callable[[], None]] = []

    @property
    def exact(self) -> bool:  # type: ignore[override]
        return self._source.is_exact()

    def run(self, tensors: Sequence[Tensor], place: int) -> None:
        self._intake.fill(tensors, place)
        if not self._passes:
            self._passes = self._recorded()
            return
        self._draws.refill()
        for launch in self._passes:
            launch()

    def _recorded(self) -> list[Callable[[], None]]:
        for trial in self._trials:
            for edit in trial.edits:
                for proof in edit.proofs():
                    proof.hold(self._intake.place.device)
        while True:
            try:
                with _recordable():
                    return [self._pass(one) for one in self._source.programs()]
            except Exception as error:
                if not _ran_out_of_memory(error):
                    raise
            if not self._source.shrink():
                raise BackendError("memory does not suffice to record one variant")
            self._draws = Draws()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()

    def _pass(self, program: FusedProgram) -> Callable[[], None]:
        body = Body(self._model, self._trials, program, self._recipe)

        def run() -> None:
            with drawn_before(self._draws):
                body(self._intake.tensors, self._intake.place)

        return self._recorder(run)


@contextmanager
def _recordable() -> Generator[None]:
    """Let nothing be computed once and kept aside: autocast keeps copies of weights."""
    kept = torch.is_autocast_cache_enabled()
    torch.set_autocast_cache_enabled(False)
    try:
        yield
    finally:
        torch.set_autocast_cache_enabled(kept)


def _ran_out_of_memory(error: BaseException | None) -> bool:
    """Whether memory was the cause: a broken recording hides it behind other errors."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, torch.OutOfMemoryError):
            return True
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return False
