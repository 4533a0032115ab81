"""What a sweep of levels and draws computes and holds: the least that there is."""

from __future__ import annotations

import weakref
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import surgery
from surgery import ops
from surgery.ablation import Variant
from surgery.anatomy import record
from surgery.ops import Clock
from surgery.targets import resolve_each
from surgery_backends.fused._leaves import leaves_of
from surgery_backends.fused._marked import marked_graph
from surgery_backends.fused._memory import peak_bytes
from surgery_backends.fused._plan import Pass, Plan
from surgery_backends.fused._program import fuse
from tests.sensitivity.conftest import Net, made

LEVELS, DRAWS = (0.01, 0.03, 0.1, 0.3, 1.0), 3


def flops(run: Any) -> int:
    with FlopCounterMode(display=False) as counter:
        run()
    return int(counter.get_total_flops())


@torch.no_grad()
def planned(
    model: nn.Module, x: Tensor, targets: list[str]
) -> tuple[Plan, list[Any], list[Variant]]:
    """A plan for every target at every level and draw, and the leaves of `x`."""
    seen = record(model, (x,), {})
    rows = resolve_each(model, targets, seen, called_only=True)
    clock = Clock()
    variants = [
        Variant(model, found, ops.Noise(level, on="parameters"), clock, seed=draw)
        for _, found in rows
        for level in LEVELS
        for draw in range(DRAWS)
    ]
    marked = marked_graph(model, (x,), {}, variants)
    return Plan(model, marked, variants), leaves_of(marked, (x,), {}), variants


@torch.no_grad()
def least(model: Net, x: Tensor) -> int:
    """The baseline, and for every variant what comes after the start of its block."""
    stem = flops(lambda: model.stem(x))
    block = flops(lambda: model.blocks[0](model.stem(x))) - stem
    whole = flops(lambda: model(x))
    count = len(model.blocks)
    head = whole - stem - count * block
    variants = sum(head + block * (count - place) for place in range(count))
    return whole + len(LEVELS) * DRAWS * variants


@pytest.mark.parametrize("stack", [1, 4, 15])
def test_nothing_is_computed_twice(stack: int) -> None:
    model, x = made(8, 4), torch.randn(6, 1, 8, 8)
    plan, leaves, variants = planned(model, x, ["blocks.*"])
    assert len(variants) == 4 * 5 * 3
    order = list(range(len(variants)))
    chunks = [order[i : i + stack] for i in range(0, len(order), stack)]
    program = fuse(model, plan, Pass.of(chunks), leaves)
    outputs: dict[int | None, Tensor] = {}
    with torch.no_grad():
        spent = flops(lambda: program.run(leaves, outputs.__setitem__))
    assert len(outputs) == 61
    assert spent <= 1.05 * least(model, x)


@torch.no_grad()
def test_new_weights_are_held_no_longer_than_they_are_used() -> None:
    model, x = made(64, 2), torch.randn(2, 1, 4, 4)
    weights = sum(p.nbytes for p in model.blocks[0].parameters())
    plan, leaves, variants = planned(model, x, ["blocks.*"])
    order = [[v] for v in range(len(variants))]
    program = fuse(model, plan, Pass.of(order), leaves)
    peak = peak_bytes(program.tape, leaves)
    assert weights < peak + sum(x.nbytes for x in leaves) < 2 * weights
    assert len(variants) == 30


@torch.no_grad()
def test_a_sweep_keeps_new_weights_within_its_budget() -> None:
    model = made(16, 3)
    alive: list[int] = []
    held: list[Any] = []

    def noisy(parameter: Tensor, level: float) -> Tensor:
        new = parameter + level * torch.randn_like(parameter)
        values = [ref() for ref in held]
        alive.append(sum(x.nbytes for x in values if x is not None))
        held.append(weakref.ref(new))
        return new

    x, y = torch.randn(40, 1, 8, 8), torch.arange(40) % 4
    budget = 150_000
    surgery.sensitivity(
        model,
        list(zip(x.split(4), y.split(4), strict=True)),
        "blocks.*",
        perturb=noisy,
        levels=LEVELS,
        repeats=2,
        engine=surgery.Engine(backend="fused", memory_budget=budget),
        progress=False,
    )
    # A block has four tensors; 3 blocks x 5 levels x 2 draws have 120.
    block = sum(p.nbytes for p in model.get_submodule("blocks.0").parameters())
    assert len(alive) >= 120
    assert max(alive) <= budget // 8 + 2 * block < 10 * block
