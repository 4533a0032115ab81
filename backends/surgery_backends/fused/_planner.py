"""The planner: how many variants are computed together, and in how many passes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, final

from surgery.anatomy import close
from surgery.errors import BackendError
from surgery_backends.fused._act import ActFailed
from surgery_backends.fused._batch import Batch
from surgery_backends.fused._bench import Bench
from surgery_backends.fused._choice import Choice
from surgery_backends.fused._contest import Contest
from surgery_backends.fused._memory import needed_bytes
from surgery_backends.fused._plan import Pass
from surgery_backends.fused._tolerance import tolerance

SHARE = 0.6
"""Of a budget, for values; the rest is for what libraries take beside them."""


@final
class Planner:
    """Chooses for each size of batches, once.

    Args:
        bench: Writes and runs programs.
        budget: Bytes that values in flight may take.
        stack: How many variants to stack; by default the fastest is found out.
        given: Choices made before, by number of samples.
    """

    def __init__(
        self,
        bench: Bench,
        budget: int,
        stack: int | None,
        given: Mapping[int, Choice],
    ) -> None:
        self._bench = bench
        self._budget = budget
        self._most = int(budget * SHARE)
        self._stack = stack
        self._given = given
        self.chosen: dict[tuple[Any, int], Choice] = {}

    def choice(self, batch: Batch, members: Sequence[int]) -> Choice:
        """How to compute these variants on batches like this one.

        Raises:
            BackendError: Not even one variant fits the budget.
        """
        if batch.shape not in self.chosen:
            self.chosen[batch.shape] = self._choose(batch, members)
        return self.chosen[batch.shape]

    def passes(
        self, batch: Batch, members: Sequence[int], *, baseline: bool = True
    ) -> list[Pass]:
        """The passes over a batch.

        Args:
            batch: The batch.
            members: What is computed.
            baseline: Whether the first of them gives the baseline too.
        """
        choice = self.choice(batch, members)
        order = self._bench.order(batch, members)
        return choice.split(order, baseline=baseline)

    def shrink(self, batch: Batch, left: int) -> bool:
        """Memory did not suffice: less at a time from now on, if that can be.

        Args:
            batch: On which it did not.
            left: How many variants are still to be computed.
        """
        old = self.chosen[batch.shape]
        if old.stack == 1 and old.passes >= left:
            return False
        more = 1 if old.stack > 1 else 2
        self.chosen[batch.shape] = Choice(
            stack=max(1, old.stack // 2),
            passes=min(old.passes * more, left),
            channels_last=old.channels_last,
        )
        return True

    def _choose(self, batch: Batch, members: Sequence[int]) -> Choice:
        order = self._bench.order(batch, members)
        if batch.size in self._given:
            return self._given[batch.size]
        if self._stack is not None:
            return self._fitting(batch, order, Choice(self._stack))
        kind, size = batch.shape
        larger = [n for other, n in self.chosen if other == kind and n >= size]
        if larger:  # a last batch, say
            return self._fitting(batch, order, self.chosen[kind, min(larger)])
        return self._fastest(batch, order)

    def _fastest(self, batch: Batch, order: Sequence[int]) -> Choice:
        """The fastest choice whose outputs agree with those of a plain program."""
        ranked = Contest(self._bench, batch, order, self._most).ranked()
        self._bench.forget(batch)
        for choice in ranked:
            if choice == Choice(1):
                break
            fitting = self._fitting(batch, order, choice)
            if self._agrees(batch, order, fitting):
                return fitting
        return self._fitting(batch, order, Choice(1))

    def _agrees(self, batch: Batch, order: Sequence[int], choice: Choice) -> bool:
        """Whether variants computed so give what they give one after the other."""
        bench = self._bench
        allowed = tolerance(bench.plan(batch).marked)
        for todo in choice.split(order):
            alone = [[v] for chunk in todo.chunks for v in chunk]
            plain = Pass.of(alone, baseline=todo.baseline)
            try:
                given = bench.run(bench.program(batch, todo), batch)
            except ActFailed:  # an operation that wants tensors as they were
                if choice.channels_last:
                    return False
                raise
            expected = bench.run(bench.program(batch, plain), batch)
            bench.forget(batch, plain)
            if not all(close(expected[v], given[v], allowed) for v in expected):
                return False  # samples see each other, or variants do
        return True

    def _fitting(self, batch: Batch, order: Sequence[int], wanted: Choice) -> Choice:
        """Like this, or with a smaller stack, in as few passes as fit the budget."""
        bench = self._bench
        choice = replace(wanted, passes=1)
        while True:
            todo = choice.split(order)
            programs = [bench.program(batch, each) for each in todo]
            peak, copied = needed_bytes(programs, batch.leaves)
            if peak + copied <= self._most or not order:
                return replace(
                    choice,
                    passes=len(todo),
                    peak_bytes=peak,
                    copied_bytes=copied,
                    flops=bench.flops(batch, programs),
                    least_flops=bench.least_flops(batch, order),
                )
            bench.forget(batch)
            if choice.stack > 1:  # first what costs no operations
                choice = replace(choice, stack=choice.stack // 2)
            elif choice.channels_last:
                choice = replace(wanted, passes=1, channels_last=False)
            elif choice.passes < len(order):
                choice = replace(choice, passes=min(2 * choice.passes, len(order)))
            else:
                break
        raise BackendError(
            f"one variant on a batch of {batch.size} takes {peak} bytes, more than "
            f"{SHARE:.0%} of memory_budget={self._budget} (libraries need the rest); "
            f"give Engine(memory_budget={int(peak / SHARE) + 1}) or smaller batches"
        )
