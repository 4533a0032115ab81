"""Random small models: the fused program agrees with an interpreter at every part."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, Phase, assume, given, settings
from torch import Tensor

from surgery.ablation import Variant
from surgery.ops import Call, Clock
from surgery_backends.fused import FusedEvaluator
from tests.backends.graphs import Graph, Interpreter, Program, programs
from tests.backends.test_random_graphs import batch, build, edit, editable, editing

# An export takes most of a second: shrinking would take minutes.
FEW = settings(
    max_examples=15,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


@torch.no_grad()
def evaluated(
    graph: Graph, clock: Clock, variants: list[Variant], stack: int
) -> dict[int | None, Tensor]:
    stop = clock.watch(graph)
    size = str(len(batch()))
    plan = {"stack": {size: stack}, "passes": {size: 1}}
    made = FusedEvaluator(graph.eval(), variants, plan=plan)
    found: Any = made.evaluate((batch(),), {}, range(len(variants)), graph).outputs
    stop()
    return {variant: found[variant].clone() for variant in found}


@pytest.mark.parametrize("stack", [1, 100])
@FEW
@given(program=programs())
def test_all_parts_at_once_are_as_the_interpreter_has_them(
    stack: int, program: Program
) -> None:
    graph, clock = build(program), Clock()
    parts = editable(graph)
    assume(parts)
    variants = [Variant(graph, [part], Call(editing), clock) for part in parts]
    found = evaluated(graph, clock, variants, stack)
    with torch.no_grad():
        torch.testing.assert_close(found[None], graph(batch()))
        compared = 0
        for number, part in enumerate(parts):
            truth = Interpreter(part, edit)
            right = truth.run(graph, batch())
            # A part whose value nothing uses is not in the graph: it runs by itself.
            if number in found:
                torch.testing.assert_close(found[number], right, rtol=1e-9, atol=1e-12)
                compared += 1
            else:
                torch.testing.assert_close(right, graph(batch()))
    assert compared or all(n not in found for n in range(len(parts)))
