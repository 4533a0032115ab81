"""One model through the fused program, against one forward after the other."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from benchmarks.agree import OFF, differences
from benchmarks.conformance.fused.trials import trials, words
from benchmarks.conformance.shake import shake
from benchmarks.conformance.zoo.cases import build
from benchmarks.conformance.zoo.outcome import Fused
from benchmarks.conformance.zoo.report import Report
from benchmarks.conformance.zoo.specimen import Case
from surgery.ablation import Variant
from surgery.data import fresh
from surgery.errors import BackendError
from surgery.ops import Clock, sweeping
from surgery_backends.fused import FusedEvaluator

CAP = 600.0
"""Seconds a model may take."""

Beat = Callable[[str, int, int], None]


def check(case: Case, sources: str, beat: Beat, cap: float = CAP) -> Report:
    """Compare the fused program with hooks, one after the other and stacked.

    Args:
        case: Which model.
        sources: Fingerprint of the code, kept with the report.
        beat: Told the stage, and how far it is.
        cap: For the farm, which ends what takes too long; here it is not looked at.
    """
    torch.set_num_threads(1)
    began = time.process_time()
    report = Report(case.name, case.family, case.group, sources)
    found: list[Fused] = []
    fault = ""
    try:
        beat("build", 0, 1)
        subject = _Subject(case)
        report = replace(report, input=subject.input)
        for alike in (True, False):
            beat("one after the other" if alike else "stacked", len(found), 2)
            found.append(subject.compare(alike))
            if found[-1].refused:
                break
    except Exception as error:  # whatever it is, it is told
        fault = f"{type(error).__name__}: {error}"
    took = {"fused": time.process_time() - began}
    return replace(report, fault=fault, fused=tuple(found), seconds=took)


class _Subject:
    """A model, its trials, and what each of them gives in a forward of its own."""

    def __init__(self, case: Case, seed: int = 0) -> None:
        specimen = build(case, seed)
        self.input = specimen.input
        self._model = specimen.model
        self._args, self._kwargs = specimen.args, dict(specimen.kwargs)
        shake(self._model, seed)
        self._clock = Clock()
        with torch.no_grad():
            self._forward()  # some models fill caches in their first forward
            self._trials = trials(self._model, specimen, self._clock)
            self._baseline = _leaves(self._forward())
            self._expected = self._truth()

    def compare(self, alike: bool) -> Fused:
        """The fused program's outputs, compared with these."""
        wanted = list(self._expected)
        how = "one after the other" if alike else "stacked"
        evaluator = FusedEvaluator(self._model, self._trials, alike=alike)
        with torch.no_grad(), sweeping(0):
            try:
                given = evaluator.evaluate(
                    self._args, self._kwargs, wanted, lambda *a, **k: self._call(a, k)
                )
            except BackendError as error:
                return Fused(how, len(wanted), refused=str(error))
        baseline = _leaves(given.outputs[None])
        exact = _same(self._baseline, baseline)
        made = Fused(
            how,
            len(wanted),
            exact=exact,
            claimed=given.exact,
            stack=_stack(evaluator.plan()),
        )
        return self._compared(made, given.outputs, strict=given.exact)

    def _compared(
        self, made: Fused, outputs: Mapping[Any, Any], *, strict: bool
    ) -> Fused:
        faults: list[str] = []
        bitwise = left_out = 0
        worst = 0.0
        for number, expected in self._expected.items():
            if number not in outputs:
                left_out += 1  # it is then run by itself
                continue
            found = _leaves(outputs[number])
            if _same(expected, found):
                bitwise += 1
                continue
            off, flips = _difference(expected, found)
            worst = max(worst, off)
            if strict or off > OFF or flips:
                what = f"off by {off:.1e}, {flips} classes"
                faults.append(f"{words(self._trials[number])}: {what}")
        return replace(
            made,
            bitwise=bitwise,
            left_out=left_out,
            worst=worst,
            faults=tuple(faults[:5]),
            faulty=len(faults),
        )

    def _truth(self) -> dict[int, list[Tensor]]:
        """What every trial that runs gives in a forward of its own."""
        found: dict[int, list[Tensor]] = {}
        for number, variant in enumerate(self._trials):
            try:
                found[number] = self._alone(variant)
            except Exception:  # it fails alone too: nothing to compare
                continue
        return found

    def _alone(self, variant: Variant) -> list[Tensor]:
        undo = variant.apply()
        try:
            return _leaves(self._forward())
        finally:
            undo()

    def _forward(self) -> Any:
        return self._call(self._args, self._kwargs)

    def _call(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """A forward in which operations draw as in every other one."""
        stop = self._clock.watch(self._model)
        try:
            with sweeping(0):
                return self._model(*fresh(tuple(args)), **fresh(dict(kwargs)))
        finally:
            stop()


def _leaves(output: Any) -> list[Tensor]:
    return [x.clone() for x in tree_leaves(output) if isinstance(x, Tensor)]


def _same(a: Sequence[Tensor], b: Sequence[Tensor]) -> bool:
    return len(a) == len(b) and all(
        x.dtype == y.dtype and x.shape == y.shape and _equal(x, y)
        for x, y in zip(a, b, strict=True)
    )


def _equal(x: Tensor, y: Tensor) -> bool:
    return bool(((x == y) | ((x != x) & (y != y))).all())


def _difference(a: Sequence[Tensor], b: Sequence[Tensor]) -> tuple[float, int]:
    if len(a) != len(b):
        return float("inf"), 0
    pairs = [differences(x, y) for x, y in zip(a, b, strict=True)]
    return max(off for off, _ in pairs), sum(flips for _, flips in pairs)


def _stack(plan: Mapping[str, Any]) -> int:
    """How many variants were computed together, if it says so."""
    stacks: Mapping[str, int] = plan.get("stack", {})
    return max(stacks.values(), default=1)
