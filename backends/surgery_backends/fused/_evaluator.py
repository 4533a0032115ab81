"""The fused evaluator: all variants of a batch by one program, made for the model."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, ClassVar, final

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_leaves, tree_map

from surgery.anatomy import tensors
from surgery.backend import AbstractEvaluator, Evaluated
from surgery.errors import BackendError
from surgery_backends._budget import default_budget
from surgery_backends._trial import Trial
from surgery_backends.fused._act import ActFailed
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
        self._chosen: dict[Any, int] = {}
        self._graphs: dict[Any, tuple[MarkedGraph, Plan]] = {}
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
        key = _shapes(args, kwargs)
        if key not in self._graphs:
            self._make_graph(key, args, kwargs, forward)
        marked, plan = self._graphs[key]
        leaves = leaves_of(marked, args, kwargs)
        while True:
            members = tuple(
                v for v in wanted if v not in self._left_out and plan.acts(v)
            )
            try:
                return self._run(key, leaves, members, args, kwargs)
            except ActFailed as failed:  # this one runs by itself, and is told of
                self._left_out.add(failed.variant)
            except torch.OutOfMemoryError:
                stack = self._chosen.get(_size(leaves), 1)
                if stack <= 1:
                    raise BackendError(
                        "memory does not suffice for one variant"
                    ) from None
                self._chosen[_size(leaves)] = stack // 2

    def plan(self) -> dict[str, Any]:
        """How many variants were computed together, by samples in a batch."""
        return {"stack": {str(size): stack for size, stack in self._chosen.items()}}

    def _run(
        self,
        key: Any,
        leaves: Sequence[Any],
        members: tuple[int, ...],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
    ) -> Evaluated:
        size = _size(leaves)
        if size not in self._chosen:
            self._chosen[size] = self._choose(key, leaves, members, args, kwargs)
        stack = self._chosen[size]
        program = self._program(key, leaves, members, stack)
        outputs = self._outputs(program, leaves, args, kwargs)
        return Evaluated(outputs, exact=self._bitwise and stack == 1)

    def _choose(
        self,
        key: Any,
        leaves: Sequence[Any],
        members: tuple[int, ...],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
    ) -> int:
        """How many variants to compute together: the fastest that fits the budget."""
        if self._stack is not None:
            return self._stack
        larger = [n for n in self._chosen if n >= _size(leaves)]
        if larger:  # a last batch, say
            return self._chosen[min(larger)]
        marked, _ = self._graphs[key]
        best, fastest = 1, float("inf")
        candidates = [1]
        while candidates[-1] < len(members) and marked.any_batch:
            candidates.append(min(candidates[-1] * 4, len(members)))
        expected: dict[int | None, Any] | None = None
        for stack in candidates:
            program = self._program(key, leaves, members, stack)
            if stack > 1 and peak_bytes(program.tape, leaves) > self._budget:
                break
            took, outputs = float("inf"), None
            for _ in range(2):
                start = time.perf_counter()
                outputs = self._outputs(program, leaves, args, kwargs)
                _wait(leaves)
                took = min(took, time.perf_counter() - start)
            if expected is None:
                expected = outputs
            elif not _alike(expected, outputs):
                break  # samples see each other, or variants do
            if took < fastest:
                best, fastest = stack, took
        return best

    def _program(
        self, key: Any, leaves: Sequence[Any], members: tuple[int, ...], stack: int
    ) -> FusedProgram:
        name = key, _size(leaves), members, stack
        if name not in self._programs:
            _, plan = self._graphs[key]
            order = sorted(members, key=plan.starts.__getitem__)
            chunks = [order[i : i + stack] for i in range(0, len(order), stack)]
            self._programs[name] = fuse(self._model, plan, chunks, leaves)
        return self._programs[name]

    def _outputs(
        self,
        program: FusedProgram,
        leaves: Sequence[Any],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
    ) -> dict[int | None, Any]:
        found: dict[int | None, Any] = {}
        clocks = {edit.clock for trial in self._trials for edit in trial.edits}
        for clock in clocks:
            clock.start(self._model, tuple(args), dict(kwargs))
        try:
            program.run(leaves, found.__setitem__)
        finally:
            for clock in clocks:
                clock.end(self._model, tuple(args), None)
        return found

    def _make_graph(
        self,
        key: Any,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        forward: Callable[..., Any],
    ) -> None:
        if len(self._graphs) == _GRAPHS:
            raise BackendError(f"inputs of more than {_GRAPHS} shapes")
        marked = self._marked(args, kwargs)
        plan = Plan(self._model, marked, self._trials)
        leaves = leaves_of(marked, args, kwargs)
        program = fuse(self._model, plan, [], leaves)
        ours = self._outputs(program, leaves, args, kwargs)
        theirs: dict[int | None, Any] = {None: forward(*args, **kwargs)}
        if not _alike(theirs, ours):
            raise BackendError("its graph gives other values than the model")
        self._bitwise = self._bitwise and _alike(theirs, ours, 0)
        self._check_variants(plan, leaves, args, kwargs, forward)
        self._graphs[key] = marked, plan

    def _marked(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> MarkedGraph:
        """The graph, for any number of samples: the exporter takes 1 as fixed."""
        if _size(tree_leaves((args, kwargs))) == 1:
            two: Any = tree_map(_doubled, (tuple(args), dict(kwargs)))
            try:
                return marked_graph(self._model, two[0], two[1], self._trials)
            except BackendError:  # it is not samples that were doubled
                pass
        return marked_graph(self._model, args, kwargs, self._trials)

    def _check_variants(
        self,
        plan: Plan,
        leaves: Sequence[Any],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        forward: Callable[..., Any],
    ) -> None:
        """Compare some variants with forwards of their own."""
        able = [v for v in range(len(self._trials)) if plan.acts(v)]
        some = sorted({able[0], able[len(able) // 2], able[-1]}) if able else []
        for variant in some:
            program = fuse(self._model, plan, [[variant]], leaves)
            try:
                ours = self._outputs(program, leaves, args, kwargs)[variant]
            except ActFailed:
                self._left_out.add(variant)
                continue
            undo = self._trials[variant].apply()
            try:
                theirs = forward(*args, **kwargs)
            finally:
                undo()
            if not _alike({variant: theirs}, {variant: ours}):
                names = ", ".join(str(c) for c in self._trials[variant].components[:3])
                raise BackendError(f"its graph gives other values without {names}")


def _shapes(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
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


def _alike(
    expected: Mapping[int | None, Any],
    found: Mapping[int | None, Any] | None,
    tolerance: float = TOLERANCE,
) -> bool:
    """Whether outputs agree, within a part of each tensor's largest value."""
    return found is not None and all(
        _close(a, b, tolerance)
        for variant, output in expected.items()
        for a, b in zip(tensors(output), tensors(found[variant]), strict=True)
    )


def _close(a: Tensor, b: Tensor, tolerance: float) -> bool:
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    if torch.equal(a, b) or not a.numel():
        return True
    if not tolerance or not a.is_floating_point():
        same = torch.equal(a.isnan(), b.isnan()) and torch.equal(
            a.nan_to_num(), b.nan_to_num()
        )
        return same
    finite = a.isfinite() & b.isfinite()
    if not torch.equal(a.isfinite(), b.isfinite()):
        return False
    scale = a[finite].abs().max() if bool(finite.any()) else a.new_ones(())
    allowed = max(tolerance, 8 * torch.finfo(a.dtype).eps)
    return bool(((a - b)[finite].abs() <= allowed * scale).all())


def _wait(leaves: Sequence[Any]) -> None:
    for leaf in leaves:
        if isinstance(leaf, Tensor) and leaf.is_cuda:
            torch.cuda.synchronize(leaf.device)
