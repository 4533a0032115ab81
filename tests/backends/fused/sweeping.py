"""Variants of a model, evaluated by a fused program and by forwards of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from surgery.ablation import Variant
from surgery.anatomy import Component, record, tensors
from surgery.ops import Clock, ModeLike, as_operation, sweeping
from surgery.targets import resolve_each
from surgery_backends.fused._leaves import leaves_of
from surgery_backends.fused._marked import marked_graph
from surgery_backends.fused._plan import Pass, Plan
from surgery_backends.fused._program import FusedProgram, fuse


class Sweep:
    """A model with variants, ready to be evaluated in both ways."""

    def __init__(
        self,
        model: nn.Module,
        args: Sequence[Any],
        targets: Sequence[Any],
        mode: ModeLike = "zero",
        *,
        kwargs: Mapping[str, Any] | None = None,
        dial: float = 1.0,
    ) -> None:
        self.model, self.args, self.kwargs = model.eval(), args, dict(kwargs or {})
        self.clock = Clock()
        seen = record(model, tuple(args), self.kwargs)
        operation = as_operation(mode)
        rows = resolve_each(model, list(targets), seen, called_only=True)
        self.names = [name for name, _ in rows]
        self.variants = [self._variant(row, operation, dial) for _, row in rows]
        with torch.no_grad():
            self.marked = marked_graph(model, args, self.kwargs, self.variants)
            self.plan = Plan(model, self.marked, self.variants)

    def _variant(
        self, components: Sequence[Component], operation: Any, dial: float
    ) -> Variant:
        made = Variant(self.model, components, operation, self.clock, dial=dial)
        made.prepare()
        return made

    def program(self, stack: int, *args: Any, **how: bool) -> FusedProgram:
        """The program for these inputs, with so many variants computed together."""
        order = sorted(range(len(self.variants)), key=self.plan.starts.__getitem__)
        chunks = [order[i : i + stack] for i in range(0, len(order), stack)]
        return self.program_of(Pass.of(chunks, **how), *args)

    def program_of(self, todo: Pass, *args: Any) -> FusedProgram:
        """The program for these inputs that computes these variants."""
        leaves = leaves_of(self.marked, args or self.args, self.kwargs)
        return fuse(self.model, self.plan, todo, leaves)

    @torch.no_grad()
    def fused(self, stack: int, *args: Any, **how: bool) -> list[list[Tensor]]:
        """Outputs of the baseline and of every variant, by the program."""
        given = args or tuple(self.args)
        found: dict[int | None, list[Tensor]] = {}

        def receive(variant: int | None, output: Any) -> None:
            found[variant] = [x.clone() for x in tensors(output)]

        program = self.program(stack, *given, **how)
        with sweeping(3):
            self.clock.start(self.model, given, self.kwargs)
            program.run(leaves_of(self.marked, given, self.kwargs), receive)
            self.clock.end(self.model, given, None)
        return [found[None], *(found[i] for i in range(len(self.variants)))]

    @torch.no_grad()
    def alone(self, *args: Any) -> list[list[Tensor]]:
        """The same by one forward each, with the operation in effect."""
        given = args or tuple(self.args)
        stop = self.clock.watch(self.model)
        try:
            return [self._forward(given, _nothing)] + [
                self._forward(given, variant.apply) for variant in self.variants
            ]
        finally:
            stop()

    def _forward(
        self, args: Sequence[Any], apply: Callable[[], Callable[[], None]]
    ) -> list[Tensor]:
        undo = apply()
        try:
            with sweeping(3):
                return [x.clone() for x in tensors(self.model(*args, **self.kwargs))]
        finally:
            undo()


def equal(a: list[list[Tensor]], b: list[list[Tensor]]) -> bool:
    """Whether all outputs are the same, bit for bit."""
    return all(
        torch.equal(x, y)
        for ours, theirs in zip(a, b, strict=True)
        for x, y in zip(ours, theirs, strict=True)
    )


def error(a: list[list[Tensor]], b: list[list[Tensor]]) -> float:
    """The largest difference, as a part of each tensor's largest value."""
    return max(
        float((x - y).abs().max() / x.abs().max().clamp_min(1e-20))
        for ours, theirs in zip(a, b, strict=True)
        for x, y in zip(ours, theirs, strict=True)
    )


def differing(outputs: list[list[Tensor]]) -> int:
    """How many variants give something else than the baseline."""
    return sum(not equal([outputs[0]], [other]) for other in outputs[1:])


def _nothing() -> Callable[[], None]:
    return lambda: None
