"""Makeshift: what needs no preparation, until more than that is worth it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from surgery.evaluator import AbstractEvaluator, Evaluated

NAME = "replay"
"""It needs a few forwards to begin with, and gives the same bits."""
_TIMED = 3
_FORWARDS, _SECONDS = 20, 1.0
"""So much must be left, else what it begins with is not worth it."""


class Makeshift:
    """Evaluates what is left of a sweep, as soon as it is seen that this pays.

    Args:
        make: Makes the evaluator.
        count: How many variants there are.
        batches: How many batches there are, if known.
    """

    def __init__(
        self, make: Callable[[], AbstractEvaluator], count: int, batches: int | None
    ) -> None:
        self._make = make
        self._count = count
        self._batches = batches
        self._times: list[float] = []
        self._evaluator: AbstractEvaluator | None = None
        self._off = False
        self.since: int | None = None
        """The first batch of which it evaluated anything."""

    def ran_plainly(self, seconds: float) -> None:
        """A variant was run by itself on a batch, in so much time."""
        if len(self._times) < _TIMED:
            self._times.append(seconds)

    def pays(self, number: int, left: int) -> bool:
        """Whether it should evaluate these variants of a batch, or does already."""
        if self._off or self._evaluator is not None:
            return not self._off
        if len(self._times) < _TIMED:
            return False
        later = max(0, (self._batches or 0) - number - 1)
        forwards = left + later * (1 + self._count)
        return forwards >= _FORWARDS and forwards * min(self._times) >= _SECONDS

    def evaluate(
        self, number: int, by: Callable[[AbstractEvaluator], Evaluated]
    ) -> Evaluated:
        """What `by` gives; whatever it raises, there is no further try.

        Args:
            number: The batch's.
            by: Has the batch evaluated.
        """
        try:
            if self._evaluator is None:
                self._evaluator = self._make()
            found = by(self._evaluator)
        except Exception:
            self._off, self._evaluator, self.since = True, None, None
            raise
        if self.since is None:
            self.since = number
        return found

    def plan(self) -> dict[str, Any]:
        """What was chosen, as plain JSON; nothing if it was never used."""
        if self._evaluator is None:
            return {}
        return {"since": self.since, **self._evaluator.plan()}
