"""Ours: every evaluator there is on one batch, without what a ranking adds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.sweep.parts import Part
from benchmarks.sweep.ways import AbstractWay, Job, Unavailable, classified
from surgery.ablation import Variant
from surgery.anatomy import record
from surgery.backend import EVALUATORS, evaluator_class
from surgery.errors import SurgeryError
from surgery.evaluator import AbstractEvaluator
from surgery.ops import Clock, Zero
from surgery.targets import resolve_each

ONLY_CUDA = ("cudagraph",)
UNCOUNTED = ("compiled", "cudagraph")
"""Evaluators whose operations torch does not show one by one."""


def variants_of(model: nn.Module, parts: Sequence[Part], x: Tensor) -> list[Variant]:
    """A variant per part, in the order of the parts."""
    with torch.no_grad():
        seen = record(model, (x[:2],), {})
        clock = Clock()
        return [
            Variant(model, found, Zero(), clock)
            for part in parts
            for _, found in resolve_each(model, [part.target], seen, called_only=True)
        ]


class Hooks(AbstractWay):
    """Our operations one at a time, which is what there is for any model."""

    name = "hooks"

    def prepare(self) -> None:
        self._variants = variants_of(self.job.model, self.job.parts, self.job.x)

    def run(self) -> list[Tensor]:
        job = self.job
        with torch.no_grad():
            found = [job.model(job.x)]
            for variant in self._variants:
                undo = variant.apply()
                found.append(job.model(job.x))
                undo()
        return list(map(classified, found))


class Evaluated(AbstractWay):
    """One of `surgery.backend.EVALUATORS`."""

    evaluator: AbstractEvaluator

    def __init__(self, job: Job, name: str, budget: int | None = None) -> None:
        super().__init__(job)
        self._evaluator_name = name
        self._budget = budget

    def prepare(self) -> None:
        job, name = self.job, self._evaluator_name
        if name in ONLY_CUDA and job.x.device.type != "cuda":
            raise Unavailable("it needs CUDA")
        self._variants = variants_of(job.model, job.parts, job.x)
        make = evaluator_class(name)
        try:
            self.evaluator = make(job.model, self._variants, memory_budget=self._budget)
            self.run()
        except SurgeryError as error:
            raise Unavailable(str(error)) from error

    def run(self) -> list[Tensor]:
        job, count = self.job, len(self._variants)
        with torch.no_grad():
            given = self.evaluator.evaluate((job.x,), {}, range(count), job.model)
            order = list(given.outputs)  # each is let go of after the next
            found = {
                v: classified(given.outputs[v]) for v in order if v in given.outputs
            }
            if left_out := count + 1 - len(found):
                raise Unavailable(f"it left {left_out} variants out")
            return [found[v] for v in (None, *range(count))]

    def plan(self) -> Mapping[str, Any]:
        """What it chose."""
        return self.evaluator.plan()


def ours() -> dict[str, Callable[[Job], AbstractWay]]:
    """Our ways by name."""

    def made(name: str) -> Callable[[Job], AbstractWay]:
        return lambda job: Evaluated(job, name)

    return {"hooks": Hooks, **{name: made(name) for name in EVALUATORS}}


def chosen(evaluator: AbstractEvaluator) -> str:
    """How many variants it computed together, if it says so, and in what layout."""
    plan = evaluator.plan()
    stacks: Mapping[str, Any] = plan.get("stack", {})
    layouts: Mapping[str, Any] = plan.get("channels_last", {})
    laid_out = ", channels last" if any(layouts.values()) else ""
    return f"{next(iter(stacks.values()))} stacked{laid_out}" if stacks else ""
