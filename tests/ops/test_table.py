"""The whole table of kinds and modes: what it allows works, all else is refused."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import surgery
from surgery.errors import OperationError
from surgery.ops import KIND_MODES

X = torch.randn(6, 3, 4, generator=torch.Generator().manual_seed(0))


class Block(nn.Module):
    """An identity skip and a branch."""

    def __init__(self) -> None:
        super().__init__()
        self.mlp = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.tanh(self.mlp(x))


class Down(nn.Module):
    """A projected skip beside a longer branch."""

    def __init__(self) -> None:
        super().__init__()
        self.long = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
        self.short = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.long(x) + self.short(x)
        return out


class Gated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up = nn.Linear(4, 4)
        self.gate = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.up(x) * torch.sigmoid(self.gate(x))
        return out


class Joins(nn.Module):
    """Sides that are alike: neither is a skip, nor a gate."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(4, 4)
        self.b = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.a(x), self.b(x)
        pair = torch.cat([a * b, a + b], -1)
        return torch.stack([pair[..., :4], pair[..., 4:]]).mean(0)


class Scale(nn.Module):
    """A layer scale, whose multiplier holds no data."""

    def __init__(self) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(4))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.num_heads = 2
        self.qkv = nn.Linear(4, 12)
        self.proj = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).reshape(-1, 3, 3, 2, 2).permute(2, 0, 3, 1, 4)
        out = nn.functional.scaled_dot_product_attention(q, k, v)
        y: Tensor = self.proj(out.transpose(1, 2).reshape(-1, 3, 4))
        return y


def everything() -> nn.Module:
    """A model with a component of every kind, the same at every call."""
    torch.manual_seed(0)
    parts = {"linear": nn.Linear(4, 4), "block": Block(), "down": Down()}
    parts |= {"gated": Gated(), "joins": Joins(), "attn": Attention(), "scale": Scale()}
    model = nn.Sequential(OrderedDict(parts))
    for parameter in model.parameters():
        nn.init.normal_(parameter)
    return model


MODEL_STATE = {k: v + 1 for k, v in everything().state_dict().items()}


def double(output: torch.Tensor, inputs: tuple[Any, ...]) -> torch.Tensor:
    return output * 2


def stronger(parameter: torch.Tensor, level: float) -> torch.Tensor:
    return parameter * (1 + level)


TARGETS = {
    "module": "linear",
    "call": "linear@0",
    "parameter": "linear.weight",
    "input": "input",
    "skip": "block:skip",
    "projected skip": "down:skip",
    "branch": "down:branch",
    "gate": "gated:gate",
    "add": "joins:add#0.arg0",
    "mul": "joins:mul#0.arg1",
    "cat": "joins:cat#0.arg0",
    "stack": "joins:stack#0.arg1",
    "function": "block:tanh#0",
    "constant operand": "scale:gate",
    "head": "attn:head#1",
    "channel": "linear:channel#1-2",
}
MODES: dict[str, Any] = {
    "zero": "zero",
    "identity": "identity",
    "mean": "mean",
    "resample": "resample",
    "noise": "noise",
    "constant": surgery.ops.Constant(3.0),
    "callable": double,
    "noise on parameters": surgery.ops.Noise(on="parameters"),
    "flip": surgery.ops.Flip(0.5),
    "scale": surgery.ops.Scale(0.5),
    "quantize": surgery.ops.Quantize(bits=3),
    "prune": surgery.ops.Prune(0.5),
    "function of parameters": surgery.ops.Change(stronger),
    "reinit": "reinit",
    "rewind": surgery.ops.Rewind(MODEL_STATE),
    "freeze": "freeze",
}


@pytest.mark.parametrize(("kind", "mode"), [*itertools.product(TARGETS, MODES)])
def test_the_table_holds(kind: str, mode: str) -> None:
    model = everything()
    before = model(X)
    target = TARGETS[kind]
    data = [(X, None)] if mode == "mean" else None
    if mode not in KIND_MODES[kind]:
        with pytest.raises(OperationError) as caught:
            surgery.ablate(model, target, MODES[mode], data=data, inputs=X)
        message = str(caught.value)
        assert f"mode={mode!r} makes no sense on {target} (one {kind})" in message
        assert ", ".join(KIND_MODES[kind]) in message
        assert not any(m._forward_hooks for m in model.modules())
        assert not any(m._forward_pre_hooks for m in model.modules())
        return
    with surgery.ablate(model, target, MODES[mode], data=data, inputs=X) as op:
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


def test_one_call_of_a_part_has_no_parameters_of_its_own() -> None:
    model = everything()
    with pytest.raises(OperationError, match="makes no sense on down@0:branch") as no:
        surgery.ablate(model, "down@0:branch", "freeze", inputs=X)
    assert "freeze" not in str(no.value).partition("these do: ")[2]
    with surgery.ablate(model, "down@0:branch", "identity", inputs=X):
        assert model(X).shape == X.shape


def test_freezing_what_is_computed_in_a_block_needs_a_forward() -> None:
    model = everything()
    for target in ("down:branch", "down:skip"):
        with pytest.raises(OperationError, match=r"surgery.freeze\(model, target, in"):
            surgery.freeze(model, target)


@pytest.mark.parametrize(
    ("target", "owner"), [("down:branch", "down.long"), ("down:skip", "down.short")]
)
def test_freezing_a_side_of_a_block_freezes_the_modules_that_compute_it(
    target: str, owner: str
) -> None:
    model = everything()
    with surgery.freeze(model, target, inputs=X) as op:
        frozen = {n for n, p in model.named_parameters() if not p.requires_grad}
        assert frozen == {n for n, _ in model.named_parameters() if owner in n}
        (row,) = op.effect()
        assert row.fired == len(frozen)
    assert all(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize("dial", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("kind", sorted(set(TARGETS) - {"parameter", "input"}))
def test_the_dial_moves_every_kind_from_the_model_to_the_operation(
    kind: str, dial: float
) -> None:
    model = everything()
    seen: list[Tensor] = []

    def look(output: Tensor, inputs: tuple[Any, ...]) -> Tensor:
        seen.append(output)
        return output

    with (
        surgery.ablate(model, TARGETS[kind], inputs=X, dial=dial),
        surgery.ablate(model, TARGETS[kind], look, inputs=X),
    ):
        dialled = model(X)
    with surgery.ablate(model, TARGETS[kind], look, inputs=X):
        assert torch.equal(dialled, model(X)) == (dial == 0)
    torch.testing.assert_close(seen[0], (1 - dial) * seen[1])
