"""Influence: how far a component turns what goes through it, without any gradient."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, final

import torch
from torch import Tensor
from torch.nn import functional

from surgery.anatomy import Component, find_main, is_recording, tensors
from surgery.backend import get_backend
from surgery.engine import Runner
from surgery.errors import OperationError
from surgery.measurement import Measurement, Plan
from surgery.ops import Clock, Inputs
from surgery.sensitivity._passes import Passed, PerSample, each_batch


@final
class Watcher:
    """Notes 1 - cosine of a component's input and output at each of its calls."""

    wants_inputs = True

    def __init__(self, component: Component, clock: Clock, row: list[Tensor]) -> None:
        self.component, self.clock = component, clock
        self._row = row

    def for_child(self, component: Component) -> Watcher:
        """The same at a child of its component."""
        return Watcher(component, self.clock, self._row)

    def __call__(self, output: object, inputs: Inputs, index: int) -> object:
        if is_recording():
            return output
        found = find_main(output)
        args, kwargs = inputs
        if found is None:
            raise OperationError(f"no tensor comes out of {self.component}")
        shape = found[1].shape
        given = next((x for x in tensors((args, kwargs)) if x.shape == shape), None)
        if given is None:
            raise OperationError(
                f"influence compares what goes into {self.component} with what comes "
                f"out, but it returns the shape {tuple(shape)} and no input is like "
                "it; score blocks that keep the shape, or use method='taylor'"
            )
        self._row.append(_turned(given, found[1]))
        return output


def _turned(given: Tensor, output: Tensor) -> Tensor:
    """By row of the first axis; tokens, where there are any, are averaged."""
    a, b = given.detach().double(), output.detach().double()
    if a.ndim != 3:
        a, b = a.flatten(1), b.flatten(1)
    turned = 1 - functional.cosine_similarity(a, b, dim=-1)
    return turned if turned.ndim == 1 else turned.mean(1)


def measure_influence(measurement: Measurement, plan: Plan) -> tuple[PerSample, Passed]:
    """1 - cosine of input and output, of every row and sample, in one pass.

    What runs several times in a forward, and the members of a group, are averaged.
    """
    found = PerSample()
    rows: list[list[Tensor]] = [[] for _ in plan.variants]

    def work(runner: Runner, batch: Any, number: int, size: int) -> None:
        for row in rows:
            row.clear()
        runner.forward(batch, number)
        values = torch.stack([_per_sample(row, size) for row in rows])
        found.add(values, torch.ones(size))

    title = f"Watching {len(plan.names)} components"
    watching = _watching(measurement, plan, rows)
    passed = each_batch(measurement, plan.names, plan.variants, title, work, watching)
    return found, passed


def _per_sample(calls: list[Tensor], samples: int) -> Tensor:
    """The mean over calls, and over what belongs to one sample (Swin's windows)."""
    if not calls:
        return torch.full((samples,), torch.nan, dtype=torch.float64)
    for call in calls:
        if not len(call) or len(call) % samples:
            raise OperationError(
                f"a component has {len(call)} rows for {samples} samples: without "
                "samples along its first axis, it has no influence for each"
            )
    return torch.stack([call.view(samples, -1).mean(1) for call in calls]).mean(0)


@contextmanager
def _watching(
    measurement: Measurement, plan: Plan, rows: Sequence[list[Tensor]]
) -> Generator[None]:
    with ExitStack() as stack:
        for row, variant in zip(rows, plan.variants, strict=True):
            for edit in variant.edits:
                component = edit.component
                placer = get_backend(measurement.engine.backend, component)
                watcher = Watcher(component, edit.clock, row)
                stack.callback(placer.attach(measurement.model, component, watcher))
        yield
