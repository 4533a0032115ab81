"""The bench: programs of one model, written once for each batch size and run."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, final

from torch import fx, nn

from surgery_backends._trial import Trial, clocked
from surgery_backends.fused._batch import Batch
from surgery_backends.fused._flops import flops_by_node
from surgery_backends.fused._heap import Heap
from surgery_backends.fused._plan import Pass, Plan
from surgery_backends.fused._program import FusedProgram, fuse
from surgery_backends.fused._sizes import Sizes

_SECONDS, _RUNS = 0.1, 5
"""So long, or so often, a program runs that is timed: others use the machine too."""


@final
class Bench:
    """Writes programs for batches of a model, keeps them, and runs them.

    Args:
        model: The model without wrappers.
        trials: What is evaluated beside the baseline.
        heap: Kept within the budget while programs run.
    """

    def __init__(
        self, model: nn.Module, trials: Sequence[Trial], heap: Heap | None = None
    ) -> None:
        self.model = model
        self.trials = trials
        self.heap = heap
        self.plans: dict[Any, Plan] = {}
        self._programs: dict[Any, FusedProgram] = {}
        self._flops: dict[Any, Mapping[fx.Node, int]] = {}
        self.uncounted: dict[str, None] = {}
        """Functions of which it is not known how many operations they are."""

    def plan(self, batch: Batch) -> Plan:
        """Where variants differ in the graph for such batches."""
        return self.plans[batch.kind]

    def order(self, batch: Batch, members: Iterable[int]) -> list[int]:
        """Variants in the order in which they begin to differ."""
        return sorted(members, key=self.plan(batch).starts.__getitem__)

    def program(self, batch: Batch, todo: Pass) -> FusedProgram:
        """The program for batches of this size that computes these variants."""
        name = batch.shape, todo
        if name not in self._programs:
            plan = self.plan(batch)
            program = fuse(self.model, plan, todo, batch.leaves, self.heap)
            self._programs[name] = program
        return self._programs[name]

    def forget(self, batch: Batch, todo: Pass | None = None) -> None:
        """Let go of a program, or of all that there are for such batches."""
        for name in [n for n in self._programs if n[0] == batch.shape]:
            if todo in (None, name[1]):
                del self._programs[name]

    def run(self, program: FusedProgram, batch: Batch) -> dict[int | None, Any]:
        """Outputs of the variants of a program, and of the baseline under `None`."""
        with clocked(self.model, self.trials, batch.args, batch.kwargs):
            return program.outputs(batch.leaves)

    def seconds(self, program: FusedProgram, batch: Batch) -> float:
        """How long a program takes on a batch: the best of a few times."""
        took: list[float] = []
        while not took or (sum(took) < _SECONDS and len(took) < _RUNS):
            start = time.perf_counter()
            self.run(program, batch)
            batch.wait()
            took.append(time.perf_counter() - start)
        return min(took)

    def flops(self, batch: Batch, programs: Iterable[FusedProgram]) -> int:
        """Floating-point operations of programs on a batch."""
        cost = self._cost(batch)
        return sum(
            cost.get(node, 0) * times
            for program in programs
            for node, times in program.calls.items()
        )

    def least_flops(self, batch: Batch, members: Iterable[int]) -> int:
        """Those of the baseline, and of each variant where it differs."""
        plan, bits = self.plan(batch), sum(1 << v for v in members)
        return sum(
            flops * (1 + (plan.differs[node] & bits).bit_count())
            for node, flops in self._cost(batch).items()
        )

    def _cost(self, batch: Batch) -> Mapping[fx.Node, int]:
        if batch.shape not in self._flops:
            marked = self.plan(batch).marked
            sizes = Sizes(marked, batch.leaves)
            self._flops[batch.shape], unknown = flops_by_node(marked, sizes)
            self.uncounted |= dict.fromkeys(unknown)
        return self._flops[batch.shape]
