"""The fused program: one graph that gives the baseline and all variants of a batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, fx, nn
from torch.utils._pytree import tree_unflatten

from surgery.ops import Edit
from surgery_backends._trial import Trial
from surgery_backends.fused._lowered import lowered
from surgery_backends.fused._marked import MarkedGraph, held_tensor
from surgery_backends.fused._marks import MARK
from surgery_backends.fused._reuse import reuse_memory
from surgery_backends.fused._sizes import Sizes, divergence, operands
from surgery_backends.fused._spread import Spread
from surgery_backends.fused._tape import Tape
from surgery_backends.fused._writer import Writer

Receive = Callable[[int | None, list[Any]], None]


@dataclass(frozen=True)
class FusedProgram:
    """A program for batches of one size.

    Attributes:
        tape: Takes the leaves of the inputs; hands the leaves of the baseline's
            output, and of every variant's, to `receiver` as soon as they are there.
        receiver: Where they go.
        plan: What it was made from.
        chunks: Which variants it computes, and which of them together.
        calls: For how many of baseline and variants each node is computed.
    """

    tape: Tape
    receiver: Receiver
    plan: Plan
    chunks: Sequence[Sequence[int]]
    calls: Mapping[fx.Node, int]

    @property
    def marked(self) -> MarkedGraph:
        """The graph of the model."""
        return self.plan.marked

    def module(self) -> fx.GraphModule:
        """The same as a module of torch.fx.

        It takes what the model takes, in batches of the size at hand, and gives what
        the model gives, with every tensor `[1 + N, ...]`: the baseline's first, then
        every variant's by its number.
        """
        return lowered(self)

    def run(
        self, leaves: Sequence[Any], receive: Callable[[int | None, Any], None]
    ) -> None:
        """Evaluate a batch.

        Args:
            leaves: Its inputs, leaf by leaf.
            receive: Called with `None` for the baseline or a variant's number, and the
                model's output there.
        """

        def nested(variant: int | None, leaves: list[Any]) -> None:
            receive(variant, tree_unflatten(leaves, self.marked.out_spec))

        self.receiver.hand = nested
        try:
            self.tape.run(leaves)
        finally:
            self.receiver.hand = None

    def outputs(self, leaves: Sequence[Any]) -> dict[int | None, Any]:
        """All outputs for a batch: the baseline's under `None`, variants' by number."""
        found: dict[int | None, Any] = {}
        self.run(leaves, found.__setitem__)
        return found


def fuse(
    model: nn.Module,
    plan: Plan,
    chunks: Sequence[Sequence[int]],
    leaves: Sequence[Any],
    *,
    baseline: bool = True,
) -> FusedProgram:
    """Write the program for batches of the size at hand.

    Args:
        model: Whose tensors it uses.
        plan: Its graph, and where variants differ.
        chunks: Which of them are computed together.
        leaves: Inputs of one batch.
        baseline: Whether it gives the baseline's output too.
    """
    sizes = Sizes(plan.marked, leaves)
    writer = Writer(plan.marked, sizes, plan.differs, plan.edits)
    emitter = _Emitter(model, plan, writer)
    for chunk in chunks:
        emitter.chunk(sorted(chunk, key=plan.starts.__getitem__))
    if baseline:
        emitter.baseline()
    return FusedProgram(emitter.finish(), emitter.receiver, plan, chunks, writer.calls)


class Plan:
    """Where variants begin to differ, and what is done there.

    Attributes:
        differs: In which variants each node differs, as bits.
        edits: By variant, the operations at each mark's number.
        values: By variant, what makes new values of the model's tensors: of hundreds of
            variants, they are not all held at once.
        starts: By variant, the place of the first node in which it differs.
    """

    def __init__(
        self, model: nn.Module, marked: MarkedGraph, trials: Sequence[Trial]
    ) -> None:
        self.marked = marked
        self._places = {node: i for i, node in enumerate(marked.nodes)}
        self.edits: list[dict[int, list[Edit]]] = []
        self.values: list[dict[fx.Node, Callable[[], Tensor]]] = []
        tensors = {node: held_tensor(model, path) for node, path in marked.held.items()}
        places = {n.args[2]: n for n in marked.nodes if n.target is MARK}
        seeds: dict[fx.Node, int] = {}
        for number, trial in enumerate(trials):
            found: dict[int, list[Edit]] = {}
            for edit in trial.edits:
                for place, mark in enumerate(marked.marks):
                    if mark.component == edit.component:
                        found.setdefault(place, []).append(edit)
            new = trial.tensors()
            values = {node: new[x] for node, x in tensors.items() if x in new}
            self.edits.append(found)
            self.values.append(values)
            # What nothing uses is not in the graph.
            marked_nodes = [places[place] for place in found if place in places]
            for node in (*values, *marked_nodes):
                seeds[node] = seeds.get(node, 0) | 1 << number
        self.differs = divergence(marked, seeds)
        self.starts = [0] * len(trials)
        for number in range(len(trials)):
            self.starts[number] = next(
                (
                    i
                    for i, n in enumerate(marked.nodes)
                    if self.differs[n] >> number & 1
                ),
                len(marked.nodes),
            )

    def acts(self, variant: int) -> bool:
        """Whether anything differs in a variant."""
        return self.starts[variant] < len(self.marked.nodes)

    def last_needed(self, chunk: Sequence[int]) -> int:
        """The place of the last node of the baseline that a chunk needs."""
        bits = sum(1 << v for v in chunk)
        last = -1
        for node in self.marked.nodes:
            mine = self.differs[node] & bits
            for operand in operands(node) if mine else ():
                theirs = self.differs.get(operand, 0) & bits
                if theirs != mine or node.target is MARK:
                    last = max(last, self._places.get(operand, -1))
        for node in self.marked.outputs:
            if isinstance(node, fx.Node) and self.differs.get(node, 0) & bits != bits:
                last = max(last, self._places.get(node, -1))
        return last


class _Emitter:
    """Writes baseline and chunks in an order in which nothing is computed twice."""

    def __init__(self, model: nn.Module, plan: Plan, writer: Writer) -> None:
        self._model = model
        self._plan = plan
        self._writer = writer
        self._nodes = plan.marked.nodes
        self._done = 0
        self.receiver = Receiver()
        tape = writer.tape
        for node in plan.marked.fields:
            writer.base[node] = tape.placeholder()
        for node, path in plan.marked.held.items():
            writer.base[node] = tape.hold(held_tensor(model, path))
        for node, value in plan.marked.constants.items():
            writer.base[node] = tape.hold(value)

    def chunk(self, chunk: Sequence[int]) -> None:
        """Write the baseline as far as these variants need it, and them to the end."""
        plan, writer = self._plan, self._writer
        first = min(plan.starts[v] for v in chunk)
        last = plan.last_needed(chunk)
        spreads: dict[fx.Node, Any] = {}
        self._baseline_to(first)
        for place in range(first, len(self._nodes)):
            if place <= last:
                self._baseline_to(place + 1)
            node = self._nodes[place]
            self._make(operands(node), chunk, spreads)
            writer.variants(node, chunk, spreads)
        outputs = [x for x in plan.marked.outputs if isinstance(x, fx.Node)]
        self._make(outputs, chunk, spreads)
        for variant in chunk:
            lookup = writer.lookup(variant, spreads)
            self._give(variant, lookup)

    def _make(
        self,
        needed: Sequence[fx.Node],
        chunk: Sequence[int],
        spreads: dict[fx.Node, Any],
    ) -> None:
        """Write what makes the new values of the model's tensors among these nodes."""
        held, values = self._plan.marked.held, self._plan.values
        for node in needed:
            if node not in held or node in spreads:
                continue
            size = held_tensor(self._model, held[node]).nbytes
            made = {
                variant: self._writer.tape.call(values[variant][node], (), size=size)
                for variant in chunk
                if node in values[variant]
            }
            if made:
                spreads[node] = Spread(each=made)

    def baseline(self) -> None:
        """Write the rest of the baseline, and its output."""
        self._baseline_to(len(self._nodes))
        self._give(None, self._writer.base.__getitem__)

    def finish(self) -> Tape:
        """Everything is written."""
        tape = self._writer.tape
        reuse_memory(tape, self._writer.reusable)
        tape.close()
        return tape

    def _baseline_to(self, end: int) -> None:
        for node in self._nodes[self._done : end]:
            self._writer.baseline(node)
        self._done = max(self._done, end)

    def _give(self, variant: int | None, lookup: Callable[[fx.Node], Any]) -> None:
        leaves = [
            lookup(x) if isinstance(x, fx.Node) else x
            for x in self._plan.marked.outputs
        ]
        self._writer.tape.call(self.receiver, (variant, leaves))


class Receiver:
    """Hands outputs on as soon as they are there."""

    def __init__(self) -> None:
        self.hand: Receive | None = None

    def __call__(self, variant: int | None, leaves: list[Any]) -> None:
        if self.hand is not None:
            self.hand(variant, leaves)
