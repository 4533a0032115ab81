"""The fused program: one graph that gives the baseline and all variants of a batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import fx, nn
from torch.utils._pytree import tree_unflatten

from surgery_backends.fused._heap import Heap
from surgery_backends.fused._layout import ChannelsLast
from surgery_backends.fused._lowered import lowered
from surgery_backends.fused._marked import MarkedGraph, held_tensor
from surgery_backends.fused._plan import Pass, Plan
from surgery_backends.fused._reuse import reuse_memory
from surgery_backends.fused._sizes import Sizes, operands
from surgery_backends.fused._spread import BASELINE, Spread
from surgery_backends.fused._tape import Slot, Tape
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
        made: Which variants it computes, and how.
        calls: For how many of baseline and variants each node is computed.
        heap: Kept within the budget while it runs.
    """

    tape: Tape
    receiver: Receiver
    plan: Plan
    made: Pass
    calls: Mapping[fx.Node, int]
    heap: Heap | None = None

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
            self.tape.run(leaves, self.heap)
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
    todo: Pass,
    leaves: Sequence[Any],
    heap: Heap | None = None,
) -> FusedProgram:
    """Write the program for batches of the size at hand.

    Args:
        model: Whose tensors it uses.
        plan: Its graph, and where variants differ.
        todo: Which of them are computed, and how.
        leaves: Inputs of one batch.
        heap: Kept within the budget while it runs.
    """
    sizes = Sizes(plan.marked, leaves)
    writer = Writer(plan.marked, sizes, plan.differs, plan.edits)
    layout = plan.channels_last if todo.channels_last else None
    emitter = _Emitter(model, plan, writer, layout)
    write = emitter.joined if todo.joined else emitter.chunk
    for chunk in todo.chunks:
        write(sorted(chunk, key=plan.starts.__getitem__))
    if todo.baseline and not todo.joined:
        emitter.baseline()
    tape = emitter.finish()
    return FusedProgram(tape, emitter.receiver, plan, todo, writer.calls, heap)


class _Emitter:
    """Writes baseline and chunks in an order in which nothing is computed twice."""

    def __init__(
        self,
        model: nn.Module,
        plan: Plan,
        writer: Writer,
        layout: ChannelsLast | None,
    ) -> None:
        self._model = model
        self._plan = plan
        self._writer = writer
        self._layout = layout
        self._nodes = plan.marked.nodes
        self._done = 0
        self.receiver = Receiver()
        tape = writer.tape
        for node in plan.marked.fields:
            writer.base[node] = tape.placeholder()
        for node, path in plan.marked.held.items():
            tensor = held_tensor(model, path)
            laid_out = layout.held(node, tensor) if layout else tensor
            writer.base[node] = tape.hold(laid_out)
        for node, value in plan.marked.constants.items():
            writer.base[node] = tape.hold(value)
        for node in plan.marked.fields if layout else ():
            size = writer.sizes.nbytes(node)
            writer.base[node] = self._laid_out(node, writer.base[node], size)

    def joined(self, chunk: Sequence[int]) -> None:
        """Write the variants and the baseline, all together, to the end."""
        writer = self._writer
        spreads: dict[fx.Node, Any] = {}
        for node in self._nodes:
            if writer.members(node, chunk):
                self._make(operands(node), chunk, spreads)
                writer.variants(node, chunk, spreads, joined=True)
            else:
                writer.baseline(node)
        self._give_all((BASELINE, *chunk), spreads)

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
        self._give_all(chunk, spreads)

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
                each = {v: self._laid_out(node, slot, size) for v, slot in made.items()}
                spreads[node] = Spread(each=each)

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

    def _laid_out(self, node: fx.Node, slot: Slot, size: int) -> Slot:
        if self._layout is None:
            return slot
        return self._layout.given(self._writer.tape, node, slot, size)

    def _baseline_to(self, end: int) -> None:
        for node in self._nodes[self._done : end]:
            self._writer.baseline(node)
        self._done = max(self._done, end)

    def _give_all(self, members: Sequence[int], spreads: dict[fx.Node, Any]) -> None:
        outputs = [x for x in self._plan.marked.outputs if isinstance(x, fx.Node)]
        self._make(outputs, [v for v in members if v != BASELINE], spreads)
        for variant in members:
            lookup = self._writer.lookup(variant, spreads)
            self._give(None if variant == BASELINE else variant, lookup)

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
