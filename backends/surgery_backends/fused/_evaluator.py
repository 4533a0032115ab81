"""The fused evaluator: all variants of a batch by one program, made for the model."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, ClassVar, final

from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from surgery.anatomy import close
from surgery.errors import BackendError
from surgery.evaluator import AbstractEvaluator, AbstractExecutor, Evaluated, Recipe
from surgery_backends._budget import default_budget, is_out_of_memory
from surgery_backends._outputs import Outputs
from surgery_backends._trial import Trial
from surgery_backends.fused._act import ActFailed
from surgery_backends.fused._batch import Batch, doubled, kind_of, length_of
from surgery_backends.fused._bench import Bench
from surgery_backends.fused._choice import choices_of
from surgery_backends.fused._direct import DirectExecutor
from surgery_backends.fused._heap import heap_within
from surgery_backends.fused._leaves import leaves_of
from surgery_backends.fused._marked import MarkedGraph, marked_graph
from surgery_backends.fused._plan import Pass, Plan
from surgery_backends.fused._planner import Planner
from surgery_backends.fused._program import FusedProgram
from surgery_backends.fused._tolerance import tolerance

_GRAPHS = 3
"""For so many shapes of inputs a graph is made; shapes beyond them run plainly."""


@final
class FusedEvaluator(AbstractEvaluator):
    """Evaluates by fused programs, one or a few per shape of the inputs.

    Args:
        model: The model without wrappers.
        trials: What is evaluated beside the baseline.
        memory_budget: Bytes that values in flight may take; by default a quarter of
            what is free where the model is.
        alike: Whether several processes must compute the same bits: variants then run
            one after the other, unless `plan` says how.
        plan: What `plan()` gave before: choices are as they were then.
    """

    name: ClassVar[str] = "fused"

    def __init__(
        self,
        model: nn.Module,
        trials: Sequence[Trial],
        *,
        memory_budget: int | None = None,
        alike: bool = False,
        plan: Mapping[str, Any] | None = None,
    ) -> None:
        self._model = model
        self._trials = trials
        budget = default_budget(model) if memory_budget is None else memory_budget
        self._bench = Bench(model, trials, heap_within(budget, model))
        self._planner = Planner(
            self._bench, budget, 1 if alike else None, choices_of(plan or {})
        )
        self._left_out: set[int] = set()
        self._notes: list[str] = []
        self._bitwise = True

    def evaluate(
        self,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        wanted: Collection[int],
        forward: Callable[..., Any],
    ) -> Evaluated:
        batch, members = self._prepared(args, kwargs, wanted, forward)
        todo = self._planner.passes(batch, members)
        expected = _variants(todo)
        begun = False

        def proceed() -> Mapping[int | None, Any] | None:
            nonlocal todo, begun
            while todo:
                try:
                    program = self._bench.program(batch, todo[0])
                    found = self._bench.run(program, batch)
                except ActFailed as failed:  # this one runs by itself, and is told of
                    self._leave_out(failed.variant, expected)
                    todo = [each.without(failed.variant) for each in todo]
                except Exception as error:
                    if not is_out_of_memory(error) and not begun:
                        raise
                    todo = self._smaller(batch, todo, expected, error, begun=begun)
                else:
                    todo, begun = todo[1:], True
                    return found
            return None

        outputs = Outputs(expected, proceed)
        return Evaluated(outputs, self.is_exact(args, kwargs, wanted, forward))

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
        batch, members = self._prepared(args, kwargs, wanted, forward)
        return [
            self._bench.program(batch, todo)
            for todo in self._planner.passes(batch, members)
        ]

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

    def is_exact(
        self,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        wanted: Collection[int],
        forward: Callable[..., Any],
    ) -> bool:
        """Whether those programs give, bit for bit, what forwards would."""
        choice = self._planner.choice(*self._prepared(args, kwargs, wanted, forward))
        return self._bitwise and choice.stack == 1 and not choice.channels_last

    def shrink(
        self,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        wanted: Collection[int],
        forward: Callable[..., Any],
    ) -> bool:
        """Compute fewer variants at a time from now on; whether that can be."""
        batch, members = self._prepared(args, kwargs, wanted, forward)
        self._bench.forget(batch)
        return self._planner.shrink(batch, len(members))

    def plan(self) -> dict[str, Any]:
        """What was chosen, each by the number of samples in a batch."""
        found: dict[str, Any] = {}
        for (_, size), choice in self._planner.chosen.items():
            for name, value in vars(choice).items():
                found.setdefault(name, {})[str(size)] = value
        notes = [*self._notes]
        notes += [
            f"operations of {name} are not counted" for name in self._bench.uncounted
        ]
        return {**found, "notes": notes} if notes else found

    def _prepared(
        self,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        wanted: Collection[int],
        forward: Callable[..., Any],
    ) -> tuple[Batch, list[int]]:
        """The batch, with a graph and a choice for its kind, and what it can do."""
        kind, plans = kind_of(args, kwargs), self._bench.plans
        if kind not in plans:
            plans[kind] = self._planned(args, kwargs, forward)
        plan = plans[kind]
        batch = Batch(kind, args, kwargs, leaves_of(plan.marked, args, kwargs))
        while True:
            members = [v for v in wanted if v not in self._left_out and plan.acts(v)]
            try:
                self._planner.choice(batch, members)
            except ActFailed as failed:  # while choices were tried out
                self._left_out.add(failed.variant)
            else:
                return batch, members

    def _planned(
        self,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        forward: Callable[..., Any],
    ) -> Plan:
        """The graph for such inputs, compared with the model."""
        bench = Bench(self._model, self._trials, self._bench.heap)
        if len(self._bench.plans) == _GRAPHS:
            raise BackendError(f"inputs of more than {_GRAPHS} shapes")
        marked = self._marked(args, kwargs)
        plan = bench.plans[None] = Plan(self._model, marked, self._trials)
        batch = Batch(None, args, kwargs, leaves_of(marked, args, kwargs))
        ours = bench.run(bench.program(batch, Pass()), batch)[None]
        theirs = forward(*args, **kwargs)
        if not close(theirs, ours, tolerance(marked)):
            raise BackendError("its graph gives other values than the model")
        self._bitwise = self._bitwise and close(theirs, ours, 0)
        able = [v for v in range(len(self._trials)) if plan.acts(v)]
        for variant in {able[0], able[len(able) // 2], able[-1]} if able else ():
            self._check(variant, bench, batch, forward)
        return plan

    def _marked(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> MarkedGraph:
        """The graph, for any number of samples: the exporter takes 1 as fixed."""
        if length_of(tree_leaves((args, kwargs))) == 1:
            two: Any = tree_map(doubled, (tuple(args), dict(kwargs)))
            try:
                return marked_graph(self._model, two[0], two[1], self._trials)
            except BackendError:  # it is not samples that were doubled
                pass
        return marked_graph(self._model, args, kwargs, self._trials)

    def _check(
        self, variant: int, bench: Bench, batch: Batch, forward: Callable[..., Any]
    ) -> None:
        """Compare a variant with a forward of its own."""
        try:
            alone = bench.program(batch, Pass.of([[variant]]))
            ours = bench.run(alone, batch)[variant]
        except ActFailed:
            self._leave_out(variant, [])
            return
        undo = self._trials[variant].apply()
        try:
            theirs = forward(*batch.args, **batch.kwargs)
        finally:
            undo()
        if not close(theirs, ours, tolerance(bench.plan(batch).marked)):
            names = ", ".join(str(c) for c in self._trials[variant].components[:3])
            raise BackendError(f"its graph gives other values without {names}")

    def _leave_out(self, variant: int, expected: list[int]) -> None:
        self._left_out.add(variant)
        if variant in expected:
            expected.remove(variant)

    def _smaller(
        self,
        batch: Batch,
        todo: Sequence[Pass],
        expected: list[int],
        error: Exception,
        *,
        begun: bool,
    ) -> list[Pass]:
        """What is left to do after an error: with less at a time, or nothing."""
        left = _variants(todo)
        note = f"{type(error).__name__}: {error}"
        if is_out_of_memory(error):
            if self._planner.shrink(batch, len(left)):
                self._bench.forget(batch)
                return self._planner.passes(batch, left, baseline=not begun)
            note = f"memory did not suffice for one variant on a batch of {batch.size}"
            if not begun:
                raise BackendError(note) from None
        if note not in self._notes:
            self._notes.append(note)
        for variant in left:  # each runs by itself, as it can
            expected.remove(variant)
        return []


def _variants(todo: Sequence[Pass]) -> list[int]:
    return [v for each in todo for chunk in each.chunks for v in chunk]
