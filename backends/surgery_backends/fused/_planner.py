"""The planner: how many variants are computed together, and in how many passes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, final

from surgery.anatomy import close
from surgery.errors import BackendError
from surgery_backends.fused._batch import Batch
from surgery_backends.fused._bench import Bench, Chunks
from surgery_backends.fused._memory import peak_bytes
from surgery_backends.fused._tolerance import tolerance

Item = TypeVar("Item")


SHARE = 0.6
"""Of a budget, for values; the rest is for what libraries take beside them."""


@dataclass(frozen=True)
class Choice:
    """How the variants of batches of one size are computed.

    Attributes:
        stack: How many variants are stacked along the batch.
        passes: How many programs there are, each with a baseline of its own.
        peak_bytes: The most that the values of a program take at once.
        flops: Floating-point operations of all programs on one batch.
        least_flops: The same if nothing were computed twice.
    """

    stack: int
    passes: int = 1
    peak_bytes: int = 0
    flops: int = 0
    least_flops: int = 0


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

    def passes(self, batch: Batch, members: Sequence[int]) -> list[Chunks]:
        """The chunks of each pass."""
        choice = self.choice(batch, members)
        return _split(self._bench.order(batch, members), choice.stack, choice.passes)

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
            stack=max(1, old.stack // 2), passes=min(old.passes * more, left)
        )
        return True

    def _choose(self, batch: Batch, members: Sequence[int]) -> Choice:
        order = self._bench.order(batch, members)
        if batch.size in self._given:
            return self._given[batch.size]
        if self._stack is not None:
            return self._fitting(batch, order, self._stack)
        kind, size = batch.shape
        larger = [n for other, n in self.chosen if other == kind and n >= size]
        if larger:  # a last batch, say
            return self._fitting(batch, order, self.chosen[kind, min(larger)].stack)
        stack = self._fastest(batch, order)
        self._bench.forget(batch)
        return self._fitting(batch, order, stack)

    def _fastest(self, batch: Batch, order: Sequence[int]) -> int:
        """The fastest stack: each is tried on variants from the middle of the model."""
        bench = self._bench
        if len(order) < 2 or not bench.plan(batch).marked.any_batch:
            return 1
        alone = bench.program(batch, [])
        base, base_flops = bench.seconds(alone, batch), bench.flops(batch, [alone])
        best, fastest = 1, float("inf")
        for stack in _candidates(len(order)):
            first = (len(order) - stack) // 2
            program = bench.program(batch, [order[first : first + stack]])
            if stack > 1 and peak_bytes(program.tape, batch.leaves) > self._most:
                break
            # Per operation: variants differ in how much of the model they need.
            work = bench.flops(batch, [program]) - base_flops or stack
            cost = max(0.0, bench.seconds(program, batch) - base) / work
            if cost < fastest:
                best, fastest = stack, cost
            elif cost > 1.1 * fastest:
                break
        return best if best == 1 or self._agree(batch, order, best) else 1

    def _agree(self, batch: Batch, order: Sequence[int], stack: int) -> bool:
        """Whether stacked variants give what they give one after the other."""
        bench = self._bench
        allowed = tolerance(bench.plan(batch).marked)
        for chunk in _cut(order, stack):
            stacked = bench.run(bench.program(batch, [chunk]), batch)
            single = bench.run(bench.program(batch, [[v] for v in chunk]), batch)
            if not all(close(single[v], stacked[v], allowed) for v in single):
                return False  # samples see each other, or variants do
        return True

    def _fitting(self, batch: Batch, order: Sequence[int], stack: int) -> Choice:
        """With this stack, or a smaller one, in as few passes as fit the budget."""
        bench = self._bench
        passes = 1
        while True:
            groups = _split(order, stack, passes)
            programs = [
                bench.program(batch, chunks, baseline=not place)
                for place, chunks in enumerate(groups)
            ]
            peak = max(peak_bytes(p.tape, batch.leaves) for p in programs)
            if peak <= self._most or not order:
                flops = bench.flops(batch, programs)
                least = bench.least_flops(batch, order)
                return Choice(stack, len(groups), peak, flops, least)
            bench.forget(batch)
            if stack > 1:  # first what costs no operations
                stack //= 2
            elif passes < len(order):
                passes = min(2 * passes, len(order))
            else:
                break
        raise BackendError(
            f"one variant on a batch of {batch.size} takes {peak} bytes, more than "
            f"{SHARE:.0%} of memory_budget={self._budget} (libraries need the rest); "
            f"give Engine(memory_budget={int(peak / SHARE) + 1}) or smaller batches"
        )


def _split(order: Sequence[int], stack: int, passes: int) -> list[Chunks]:
    """Chunks of so many variants each, in so many passes or fewer."""
    chunks = _cut(order, stack)
    return _cut(chunks, -(-len(chunks) // passes)) if chunks else [[]]


def _cut(items: Sequence[Item], length: int) -> list[Sequence[Item]]:
    return [items[i : i + length] for i in range(0, len(items), length)]


def _candidates(most: int) -> list[int]:
    found = [1]
    while found[-1] < most:
        found.append(min(found[-1] * 4, most))
    return found
