"""Ten thousand cycles leave no hook, no reference and no memory behind."""

from __future__ import annotations

import gc
import tracemalloc
import weakref
from typing import Any

import torch
from torch import nn

import surgery
from surgery.ops import _freeze, _overlay

X = torch.randn(3, 2)
MODES: list[tuple[str, Any]] = [
    ("0", "zero"),
    ("0", "identity"),
    ("1", "noise"),
    ("0.weight", "zero"),
    ("0", "freeze"),
]


def cycle(model: nn.Module, count: int) -> None:
    for i in range(count):
        target, mode = MODES[i % len(MODES)]
        with surgery.ablate(model, target, mode):
            if i % 20 < 5:
                model(X)


def test_ten_thousand_cycles_leave_nothing_behind() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)).eval()
    state = {k: v.clone() for k, v in model.state_dict().items()}
    attributes = [dict(m.__dict__) for m in model.modules()]
    cycle(model, 500)  # caches fill
    gc.collect()
    tracemalloc.start()
    before, objects = tracemalloc.get_traced_memory()[0], len(gc.get_objects())
    cycle(model, 9500)
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0] - before
    more = len(gc.get_objects()) - objects
    tracemalloc.stop()
    assert grown < 100_000, f"{grown} bytes in 9,500 cycles"
    assert more < 500, f"{more} objects in 9,500 cycles"
    for module, then in zip(model.modules(), attributes, strict=True):
        assert list(module.__dict__) == list(then)
        assert not module._forward_hooks and not module._forward_pre_hooks
        assert not module._forward_hooks_with_kwargs
    assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())
    assert not len(_overlay._LAYERS) and not len(_freeze._TENSORS)


def test_no_reference_to_model_or_operation_is_kept() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    watched: list[weakref.ref[Any]] = [weakref.ref(model), weakref.ref(model[0])]
    for target, mode in MODES:
        op = surgery.ablate(model, target, mode)
        model(X)
        watched.append(weakref.ref(op))
        watched.append(weakref.ref(op._variant))
        op.restore()
    del op
    gc.collect()
    assert all(ref() is None for ref in watched[2:])
    del model
    gc.collect()
    assert all(ref() is None for ref in watched)


def test_a_model_dropped_while_ablated_is_freed() -> None:
    model = nn.Sequential(nn.Linear(2, 2))
    ref = weakref.ref(model)
    for target, mode in MODES[:2] + MODES[3:]:
        surgery.ablate(model, target, mode)
    del model
    gc.collect()
    assert ref() is None
