"""Plans: where variants differ in a graph; passes: which of them a program does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from torch import Tensor, fx, nn

from surgery.ops import Edit
from surgery_backends._trial import Trial
from surgery_backends.fused._layout import ChannelsLast
from surgery_backends.fused._marked import MarkedGraph, held_tensor
from surgery_backends.fused._marks import MARK
from surgery_backends.fused._sizes import divergence, operands


@dataclass(frozen=True)
class Pass:
    """What one program computes.

    Attributes:
        chunks: Variants by number; those of a chunk are stacked along the batch.
        baseline: Whether it gives the baseline's output too.
        joined: Whether the baseline is in the stack with the variants, of which there
            is one chunk: half as many calls, and calls are what small models cost.
        channels_last: Whether images and kernels of convolutions lie so.
    """

    chunks: tuple[tuple[int, ...], ...] = ()
    baseline: bool = True
    joined: bool = False
    channels_last: bool = False

    @classmethod
    def of(cls, chunks: Sequence[Sequence[int]], **how: bool) -> Pass:
        """A pass over these chunks, those left out that are empty."""
        return cls(tuple(tuple(chunk) for chunk in chunks if chunk), **how)

    def without(self, variant: int) -> Pass:
        """The same but for one variant."""
        chunks = tuple(tuple(v for v in c if v != variant) for c in self.chunks)
        chunks = tuple(chunk for chunk in chunks if chunk)
        return replace(self, chunks=chunks, joined=self.joined and bool(chunks))


class Plan:
    """Where variants begin to differ, and what is done there.

    Attributes:
        differs: In which variants each node differs, as bits.
        edits: By variant, the operations at each mark's number.
        values: By variant, what makes new values of the model's tensors: of hundreds of
            variants, they are not all held at once.
        starts: By variant, the place of the first node in which it differs.
        channels_last: Lays images and kernels out.
    """

    def __init__(
        self, model: nn.Module, marked: MarkedGraph, trials: Sequence[Trial]
    ) -> None:
        self.marked = marked
        self.channels_last = ChannelsLast(model, marked)
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
