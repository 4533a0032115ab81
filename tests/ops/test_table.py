"""The whole table of kinds and modes: what it allows works, all else is refused."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import nn

import surgery
from surgery.errors import OperationError
from surgery.ops import KIND_MODES

X = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
MODEL_STATE = nn.Sequential(nn.Linear(4, 4)).state_dict()


def double(output: torch.Tensor, inputs: tuple[Any, ...]) -> torch.Tensor:
    return output * 2


TARGETS = {"module": "0", "call": "0@0", "parameter": "0.weight", "input": "input"}
MODES: dict[str, Any] = {
    "zero": "zero",
    "identity": "identity",
    "mean": "mean",
    "resample": "resample",
    "noise": "noise",
    "constant": surgery.ops.Constant(3.0),
    "callable": double,
    "noise on parameters": surgery.ops.Noise(on="parameters"),
    "reinit": "reinit",
    "rewind": surgery.ops.Rewind(MODEL_STATE),
    "freeze": "freeze",
}


@pytest.mark.parametrize(("kind", "mode"), [*itertools.product(TARGETS, MODES)])
def test_the_table_holds(kind: str, mode: str) -> None:
    model = nn.Sequential(nn.Linear(4, 4))
    before = model(X)
    target = TARGETS[kind]
    data = [(X, None)] if mode == "mean" else None
    if mode not in KIND_MODES[kind]:
        with pytest.raises(OperationError) as caught:
            surgery.ablate(model, target, MODES[mode], data=data)
        message = str(caught.value)
        assert f"mode={mode!r} makes no sense on {target} (one {kind})" in message
        assert ", ".join(KIND_MODES[kind]) in message
        assert not model._forward_hooks and not model._forward_pre_hooks
        return
    with surgery.ablate(model, target, MODES[mode], data=data) as op:
        assert torch.equal(model(X), before) == (mode == "freeze")
        (row,) = op.effect(strict=True)
    assert row.fired >= 1 and row.changed is True
    assert torch.equal(model(X), before)


def test_the_table_names_every_kind_and_mode_of_this_test() -> None:
    assert set(KIND_MODES) == set(TARGETS)
    assert {mode for modes in KIND_MODES.values() for mode in modes} == set(MODES)


def test_a_constant_must_broadcast() -> None:
    model = nn.Sequential(nn.Linear(4, 4))
    with (
        pytest.raises(OperationError, match=r"the constant has shape \(3,\)"),
        surgery.ablate(model, "0", surgery.ops.Constant(torch.ones(3))),
    ):
        model(X)


def test_mean_refuses_an_axis_that_is_not_there() -> None:
    model = nn.Sequential(nn.Linear(4, 4))
    with pytest.raises(OperationError, match=r"Mean\(axis=5\) does not exist"):
        surgery.ablate(model, "0", surgery.ops.Mean("channel", 5), data=[(X, None)])
    with pytest.raises(OperationError, match="must be 'activation' or 'channel'"):
        surgery.ops.Mean(over="all")  # type: ignore[arg-type]
