"""The fused evaluator: all variants of a batch by one program, made for the model."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_leaves, tree_map

from surgery.anatomy import close
from surgery.backend import AbstractEvaluator, AbstractExecutor, Evaluated, Recipe
from surgery.errors import BackendError
from surgery_backends._budget import default_budget
from surgery_backends._trial import Trial
from surgery_backends.fused._act import ActFailed
from surgery_backends.fused._direct import DirectExecutor, clocked
from surgery_backends.fused._marked import MarkedGraph, marked_graph
from surgery_backends.fused._memory import peak_bytes
from surgery_backends.fused._program import (
    FusedProgram,
    Plan,
    fuse,
    leaves_of,
)

TOLERANCE = 1e-5
"""How far stacked variants may be from their own forwards, of the largest value."""
_GRAPHS = 3
"""For so many shapes of inputs a graph is made; shapes beyond them run plainly."""


@final
class FusedEvaluator(AbstractEvaluator):
    """Evaluates by fused programs, one per shape of the inputs.

    Args:
        model: The model without wrappers.
        trials: What is evaluated beside the baseline.
        memory_budget: Bytes that values in flight may take; by default a quarter of
            what is free where the model is.
        alike: Whether several processes must compute the same bits: variants then run
            one after the other.
    """

    name: ClassVar[str] = "fused"

    def __init__(
        self,
        model: nn.Module,
        trials: Sequence[Trial],
        *,
        memory_budget: int | None = None,
        alike: bool = False,
    ) -> None:
        self._model = model
        self._trials = trials
        self._budget = memory_budget or default_budget(model)
        self._stack = 1 if alike else None
        self._chosen: dict[tuple[Any, int], int] = {}
        self._plans: dict[Any, Plan] = {}
        self._programs: dict[Any, FusedProgram] = {}
        self._left_out: set[int] = set()
        self._bitwise = True

    def evaluate(
        self,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        wanted: Collection[int],
        forward: Callable[..., Any],
    ) -> Evaluated:
        batch = self._batch(args, kwargs, forward)
        plan = self._plans[batch.kind]
        while True:
            members = tuple(
                v for v in wanted if v not in self._left_out and plan.acts(v)
            )
            try:
                return self._run(batch, members)
            except ActFailed as failed:  # this one runs by itself, and is told of
                self._left_out.add(failed.variant)
            except torch.OutOfMemoryError:
                stack = self._chosen.get(batch.shape, 1)
                if stack <= 1:
                    raise BackendError(
                        "memory does not suffice for one variant"
                    ) from None
                self._chosen[batch.shape] = stack // 2

    def executor(
        self,
        recipe: Recipe,
        tensors: Sequence[Tensor],
        forward: Callable[..., Any],
    ) -> AbstractExecutor:
        args, kwargs = recipe.call(tensors)
        programs = self.programs(args, kwargs, recipe.wanted, forward)
        exact = self.is_exact(args, kwargs, recipe.wanted, forward)
        return DirectExecutor(self._model, self._trials, programs, recipe, exact=exact)

    def programs(
        self,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        wanted: Collection[int],
        forward: Callable[..., Any],
    ) -> list[FusedProgram]:
        """What would evaluate such a batch, pass by pass; the first has the baseline.

        Raises:
            BackendError: It cannot be done exactly; says why.
        """
        batch = self._batch(args, kwargs, forward)
        plan = self._plans[batch.kind]
        members = tuple(v for v in wanted if v not in self._left_out and plan.acts(v))
        if batch.shape not in self._chosen:
            self._chosen[batch.shape] = self._choose(batch, members)
        name = batch.shape, members, self._chosen[batch.shape]
        if name not in self._programs:
            self._programs[name] = self._program(batch, members, name[2])
        return [self._programs[name]]

    def is_exact(
        self,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        wanted: Collection[int],
        forward: Callable[..., Any],
    ) -> bool:
        """Whether those programs give, bit for bit, what forwards would."""
        shape = self._batch(args, kwargs, forward).shape
        return self._bitwise and self._chosen[shape] == 1

    def shrink(
        self,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        wanted: Collection[int],
        forward: Callable[..., Any],
    ) -> bool:
        """Compute fewer variants at a time from now on; whether that can be."""
        shape = self._batch(args, kwargs, forward).shape
        before = self._chosen[shape]
        self._chosen[shape] = max(1, before // 2)
        self._programs.clear()
        return before > 1

    def _batch(
        self,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        forward: Callable[..., Any],
    ) -> _Batch:
        """The batch, with a graph for its kind."""
        kind = _kind(args, kwargs)
        if kind not in self._plans:
            self._plans[kind] = self._planned(args, kwargs, forward)
        marked = self._plans[kind].marked
        return _Batch(kind, args, kwargs, leaves_of(marked, args, kwargs))

    def plan(self) -> dict[str, Any]:
        """How many variants were computed together, by samples in a batch."""
        stacks: dict[str, int] = {}
        for (_, size), stack in self._chosen.items():
            stacks[str(size)] = min(stack, stacks.get(str(size), stack))
        return {"stack": stacks}

    def _run(self, batch: _Batch, members: tuple[int, ...]) -> Evaluated:
        if batch.shape not in self._chosen:
            self._chosen[batch.shape] = self._choose(batch, members)
        stack = self._chosen[batch.shape]
        name = batch.shape, members, stack
        if name not in self._programs:
            self._programs[name] = self._program(batch, members, stack)
        outputs = self._outputs(self._programs[name], batch)
        return Evaluated(outputs, exact=self._bitwise and stack == 1)

    def _choose(self, batch: _Batch, members: tuple[int, ...]) -> int:
        """How many variants to compute together: the fastest that fits the budget."""
        if self._stack is not None:
            return self._stack
        kind, size = batch.shape
        larger = [n for other, n in self._chosen if other == kind and n >= size]
        if larger:  # a last batch, say
            return self._chosen[kind, min(larger)]
        best, fastest = 1, float("inf")
        candidates = [1]
        while candidates[-1] < len(members) and self._plans[kind].marked.any_batch:
            candidates.append(min(candidates[-1] * 4, len(members)))
        expected: dict[int | None, Any] = {}
        for stack in candidates:
            program = self._program(batch, members, stack)
            if stack > 1 and peak_bytes(program.tape, batch.leaves) > self._budget:
                break
            took = float("inf")
            outputs: dict[int | None, Any] = {}
            for _ in range(2):
                start = time.perf_counter()
                outputs = self._outputs(program, batch)
                _wait(batch.leaves)
                took = min(took, time.perf_counter() - start)
            expected = expected or outputs
            if not all(close(expected[v], outputs[v], TOLERANCE) for v in expected):
                break  # samples see each other, or variants do
            if took < fastest:
                best, fastest = stack, took
        return best

    def _program(
        self, batch: _Batch, members: Sequence[int], stack: int
    ) -> FusedProgram:
        plan = self._plans[batch.shape[0]]
        order = sorted(members, key=plan.starts.__getitem__)
        chunks = [order[i : i + stack] for i in range(0, len(order), stack)]
        return fuse(self._model, plan, chunks, batch.leaves)

    def _outputs(self, program: FusedProgram, batch: _Batch) -> dict[int | None, Any]:
        found: dict[int | None, Any] = {}
        with clocked(self._model, self._trials, batch.args, batch.kwargs):
            program.run(batch.leaves, found.__setitem__)
        return found

    def _planned(
        self,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        forward: Callable[..., Any],
    ) -> Plan:
        """The graph for such inputs, compared with the model."""
        if len(self._plans) == _GRAPHS:
            raise BackendError(f"inputs of more than {_GRAPHS} shapes")
        marked = self._marked(args, kwargs)
        plan = Plan(self._model, marked, self._trials)
        batch = _Batch(None, args, kwargs, leaves_of(marked, args, kwargs))
        ours = self._outputs(fuse(self._model, plan, [], batch.leaves), batch)[None]
        theirs = forward(*args, **kwargs)
        if not close(theirs, ours, TOLERANCE):
            raise BackendError("its graph gives other values than the model")
        self._bitwise = self._bitwise and close(theirs, ours, 0)
        able = [v for v in range(len(self._trials)) if plan.acts(v)]
        for variant in {able[0], able[len(able) // 2], able[-1]} if able else ():
            self._check(variant, plan, batch, forward)
        return plan

    def _marked(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> MarkedGraph:
        """The graph, for any number of samples: the exporter takes 1 as fixed."""
        if _size(tree_leaves((args, kwargs))) == 1:
            two: Any = tree_map(_doubled, (tuple(args), dict(kwargs)))
            try:
                return marked_graph(self._model, two[0], two[1], self._trials)
            except BackendError:  # it is not samples that were doubled
                pass
        return marked_graph(self._model, args, kwargs, self._trials)

    def _check(
        self, variant: int, plan: Plan, batch: _Batch, forward: Callable[..., Any]
    ) -> None:
        """Compare a variant with a forward of its own."""
        program = fuse(self._model, plan, [[variant]], batch.leaves)
        try:
            ours = self._outputs(program, batch)[variant]
        except ActFailed:
            self._left_out.add(variant)
            return
        undo = self._trials[variant].apply()
        try:
            theirs = forward(*batch.args, **batch.kwargs)
        finally:
            undo()
        if not close(theirs, ours, TOLERANCE):
            names = ", ".join(str(c) for c in self._trials[variant].components[:3])
            raise BackendError(f"its graph gives other values without {names}")


@dataclass(frozen=True)
class _Batch:
    """Inputs of the model, their leaves, and what kind of inputs they are."""

    kind: Any
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    leaves: Sequence[Any]

    @property
    def shape(self) -> tuple[Any, int]:
        """The kind, and the number of samples."""
        return self.kind, _size(self.leaves)


def _kind(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """What a graph depends on of its inputs: everything but values and samples."""
    leaves, spec = tree_flatten((tuple(args), dict(kwargs)))
    kinds = [
        (x.dtype, tuple(x.shape[1:]), x.device) if isinstance(x, Tensor) else repr(x)
        for x in leaves
    ]
    return str(spec), tuple(kinds)


def _doubled(leaf: Any) -> Any:
    """A sample as two."""
    if isinstance(leaf, Tensor) and leaf.ndim and len(leaf) == 1:
        return torch.cat([leaf, leaf])
    return leaf


def _size(leaves: Sequence[Any]) -> int:
    return next((len(x) for x in leaves if isinstance(x, Tensor) and x.ndim), 0)


def _wait(leaves: Sequence[Any]) -> None:
    for leaf in leaves:
        if isinstance(leaf, Tensor) and leaf.is_cuda:
            torch.cuda.synchronize(leaf.device)
