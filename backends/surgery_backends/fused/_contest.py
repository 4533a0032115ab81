"""The contest: which way to compute the variants of a batch is the fastest here."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from math import inf
from typing import final

from surgery_backends._budget import is_out_of_memory
from surgery_backends.fused._act import ActFailed
from surgery_backends.fused._batch import Batch
from surgery_backends.fused._bench import Bench
from surgery_backends.fused._choice import Choice
from surgery_backends.fused._memory import needed_bytes
from surgery_backends.fused._plan import Pass
from surgery_backends.fused._program import FusedProgram

_FEW = 3
_SECONDS = 2.0
"""So many of the fastest choices are timed whole, if they take no longer than that."""


@final
class Contest:
    """Times programs over variants from the middle of the model.

    What all variants would take is reckoned from what the baseline takes, and from what
    those take per operation: variants differ in how much of the model they need.

    Args:
        bench: Writes and runs programs.
        batch: On which they run.
        order: The variants, in the order in which they begin to differ.
        most: Bytes that a program may take.
    """

    def __init__(
        self, bench: Bench, batch: Batch, order: Sequence[int], most: int
    ) -> None:
        self._bench = bench
        self._batch = batch
        self._order = order
        self._most = most
        self._took: dict[Pass, float] = {}

    def ranked(self) -> list[Choice]:
        """The choices, the fastest first."""
        plan = self._bench.plan(self._batch)
        stacks = candidates(len(self._order)) if plan.marked.any_batch else [1]
        costs = self._costs(stacks, channels_last=False)
        if plan.channels_last.changes and plan.channels_last.nbytes < self._most:
            try:
                costs |= self._costs(stacks, channels_last=True)
            except (ActFailed, RuntimeError) as error:  # it wants images as they were
                if is_out_of_memory(error):
                    raise
        best = sorted(costs, key=costs.__getitem__)
        few = [choice for choice in best[:_FEW] if costs[choice] < _SECONDS]
        if len(few) > 1:
            few.sort(key={choice: self._whole(choice) for choice in few}.__getitem__)
        return few + best[len(few) :]

    def _costs(
        self, stacks: Collection[int], *, channels_last: bool
    ) -> dict[Choice, float]:
        """What choices cost in one layout, up to a stack that is too large."""
        found: dict[Choice, float] = {}
        for stack in stacks:
            choice = Choice(stack, channels_last=channels_last)
            try:
                found[choice] = self._cost(choice)
            except Exception as error:
                if not is_out_of_memory(error) or stack == 1:
                    raise
                break
            if found[choice] > 1.1 * min(found.values()):
                break
        return found

    def _cost(self, choice: Choice) -> float:
        """Seconds that all variants would take."""
        bench, batch, order = self._bench, self._batch, self._order
        stack, last = choice.stack, choice.channels_last
        first = (len(order) - stack) // 2
        joined = stack == len(order) > 1
        few = order[first : first + stack]
        program = bench.program(
            batch, Pass.of([few], joined=joined, channels_last=last)
        )
        if stack > 1 and sum(needed_bytes([program], batch.leaves)) > self._most:
            return inf
        base = bench.program(batch, Pass(channels_last=last))
        before, seconds = self._base(base), bench.seconds(program, batch)
        flops = bench.flops(batch, [base])
        done = bench.flops(batch, [program]) - flops
        left = bench.least_flops(batch, order) - flops
        share = done / left if done and left else stack / max(1, len(order))
        return before + max(0.0, seconds - before) / share

    def _base(self, program: FusedProgram) -> float:
        """What the baseline alone takes."""
        if program.made not in self._took:
            self._took[program.made] = self._bench.seconds(program, self._batch)
        return self._took[program.made]

    def _whole(self, choice: Choice) -> float:
        """Seconds that all variants take."""
        todo = choice.split(self._order)
        programs = [self._bench.program(self._batch, each) for each in todo]
        if sum(needed_bytes(programs, self._batch.leaves)) > self._most:
            return inf
        return sum(self._bench.seconds(each, self._batch) for each in programs)


def candidates(most: int) -> list[int]:
    """One, and parts of all of one size: a small rest costs as many calls."""
    return sorted({1, *(-(-most // parts) for parts in (16, 4, 2, 1))} - {0})
