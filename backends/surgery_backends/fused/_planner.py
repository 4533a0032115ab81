"""The planner: how many variants are computed together, and in how many passes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from operator import itemgetter
from typing import Any, TypeVar, final

from surgery.anatomy import close
from surgery.errors import BackendError
from surgery_backends._budget import is_out_of_memory
from surgery_backends.fused._act import ActFailed
from surgery_backends.fused._batch import Batch
from surgery_backends.fused._bench import Bench
from surgery_backends.fused._memory import peak_bytes
from surgery_backends.fused._program import FusedProgram, Pass
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
        channels_last: Whether images and kernels of convolutions lie so.
        peak_bytes: The most that the values of a program take at once.
        copied_bytes: What kernels take that are laid out otherwise.
        flops: Floating-point operations of all programs on one batch.
        least_flops: The same if nothing were computed twice.
    """

    stack: int
    passes: int = 1
    channels_last: bool = False
    peak_bytes: int = 0
    copied_bytes: int = 0
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
        return _split(order, choice, baseline=baseline)

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
        choice = self._fastest(batch, order)
        self._bench.forget(batch)
        return self._fitting(batch, order, choice)

    def _fastest(self, batch: Batch, order: Sequence[int]) -> Choice:
        """The fastest stack: each is tried on variants from the middle of the model."""
        found = [self._fastest_in(batch, order, channels_last=False)]
        layout = self._bench.plan(batch).channels_last
        if layout.changes and layout.nbytes < self._most:
            try:
                found.append(self._fastest_in(batch, order, channels_last=True))
            except Exception as error:  # an operation that wants tensors as they were
                if is_out_of_memory(error):
                    raise
        for _, choice in sorted(found, key=itemgetter(0)):
            if choice == Choice(1) or self._agree(batch, order, choice):
                return choice
        return Choice(1)

    def _fastest_in(
        self, batch: Batch, order: Sequence[int], *, channels_last: bool
    ) -> tuple[float, Choice]:
        """The fastest stack in one layout, and seconds per operation with it."""
        bench = self._bench

        def measured(chunks: Sequence[Sequence[int]]) -> tuple[float, int]:
            joined = stack == len(order) > 1
            todo = Pass.of(chunks, joined=joined, channels_last=channels_last)
            program = bench.program(batch, todo)
            if stack > 1 and sum(self._bytes(batch, [program])) > self._most:
                return inf, 1
            return bench.seconds(program, batch), bench.flops(batch, [program])

        stack, fastest, cost = 1, 1, inf
        base, base_flops = measured([])
        any_batch = bench.plan(batch).marked.any_batch
        for stack in _candidates(len(order)) if any_batch else [1]:
            first = (len(order) - stack) // 2
            seconds, flops = measured([order[first : first + stack]])
            # Per operation: variants differ in how much of the model they need.
            new = max(0.0, seconds - base) / (flops - base_flops or stack)
            if new < cost:
                fastest, cost = stack, new
            elif new > 1.1 * cost:
                break
        return cost, Choice(fastest, channels_last=channels_last)

    def _agree(self, batch: Batch, order: Sequence[int], choice: Choice) -> bool:
        """Whether variants computed so give what they give one after the other."""
        bench = self._bench
        allowed = tolerance(bench.plan(batch).marked)
        try:
            for todo in _split(order, choice):
                for chunk in todo.chunks:
                    mine = replace(todo, chunks=(chunk,))
                    given = bench.run(bench.program(batch, mine), batch)
                    plain = Pass.of([[v] for v in chunk])
                    single = bench.run(bench.program(batch, plain), batch)
                    if not all(close(single[v], given[v], allowed) for v in single):
                        return False  # samples see each other, or variants do
        except ActFailed:  # an operation that wants tensors as they were
            if choice.channels_last:
                return False
            raise
        return True

    def _bytes(self, batch: Batch, programs: Sequence[FusedProgram]) -> tuple[int, int]:
        """The most that values of these programs take at once, and copied kernels."""
        layout = self._bench.plan(batch).channels_last
        copied = layout.nbytes if any(p.made.channels_last for p in programs) else 0
        return max(peak_bytes(p.tape, batch.leaves) for p in programs), copied

    def _fitting(self, batch: Batch, order: Sequence[int], wanted: Choice) -> Choice:
        """Like this, or with a smaller stack, in as few passes as fit the budget."""
        bench = self._bench
        choice = replace(wanted, passes=1)
        while True:
            todo = _split(order, choice)
            programs = [bench.program(batch, each) for each in todo]
            peak, copied = self._bytes(batch, programs)
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


def _split(
    order: Sequence[int], choice: Choice, *, baseline: bool = True
) -> list[Pass]:
    """Chunks of so many variants each, in so many passes or fewer."""
    chunks = _cut(order, choice.stack)
    groups = _cut(chunks, -(-len(chunks) // choice.passes)) if chunks else [[]]
    joined = baseline and len(chunks) == 1 and len(chunks[0]) > 1
    return [
        Pass.of(
            group,
            baseline=baseline and not place,
            joined=joined,
            channels_last=choice.channels_last,
        )
        for place, group in enumerate(groups)
    ]


def _cut(items: Sequence[Item], length: int) -> list[Sequence[Item]]:
    return [items[i : i + length] for i in range(0, len(items), length)]


def _candidates(most: int) -> list[int]:
    """One, and parts of all of one size: a small rest costs as many calls."""
    return sorted({1, *(-(-most // parts) for parts in (16, 4, 2, 1))} - {0})
