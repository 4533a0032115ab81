"""What a rewritten block keeps, and what becomes of a means that fails."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import surgery
from tests.excision.test_blocks import Block, Model, X, how, plain


class Own(nn.Module):
    """A block whose code reads the weights of the layers that it calls."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(4, 4)
        self.b = nn.ModuleDict({"c": nn.Linear(4, 4)})

    def forward(self, x: Tensor) -> Tensor:
        c: Any = self.b["c"]
        found: Tensor = x * c.weight.mean() + self.a(c(x) * self.a.weight.mean())
        return found


class Around(nn.Module):
    """A layer, and a block after it."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Linear(4, 4)
        self.block = block

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.block(self.first(x))
        return found


def given_and_wanted(model: nn.Module, target: str) -> tuple[nn.Module, Tensor]:
    made = surgery.excise(model, target, inputs=X)
    with surgery.ablate(model, target, inputs=X):
        wanted: Tensor = model(X)
    assert not torch.equal(wanted, model(X))
    return made, wanted


def test_a_layer_goes_together_with_its_weight_that_the_block_reads_too() -> None:
    made, wanted = given_and_wanted(Around(Own()), "block:branch")
    assert torch.equal(made(X), wanted)
    assert how(made) == ["rewritten"]
    # The layer in `b` is called no more, and its weight is still read.
    assert set(dict(made.named_parameters())) == {
        *("first.weight", "first.bias", "block.b.c.weight", "block.b.c.bias"),
    }


class Reads(nn.Module):
    """A block, and code outside of it that reads the weight of its layer."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Linear(4, 4)
        self.block = Block(plain)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.block(self.first(x))
        return y * self.block.a.weight.sum()


def test_what_code_outside_of_a_block_reads_stays_in_it() -> None:
    made, wanted = given_and_wanted(Reads(), "block:branch")
    assert torch.equal(made(X), wanted)
    assert how(made) == ["rewritten"]
    assert {"block.a.weight", "block.a.bias"} <= set(made.state_dict())
    assert "self.a" not in str(made.get_submodule("block").code)


class Hidden(nn.Module):
    """Reads a layer of its block in a way that cannot be watched."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Linear(4, 4)
        self.block = Block(plain)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.block(self.first(x))
        return y * dict(self.named_parameters())["block.a.weight"].sum()


def test_a_rewritten_block_that_breaks_the_model_is_not_taken() -> None:
    made, wanted = given_and_wanted(Hidden(), "block:branch")
    assert torch.equal(made(X), wanted)
    assert how(made) == ["cut built in"]


def test_a_means_that_fails_while_it_is_built_is_not_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fails(*_: object) -> None:
        raise AttributeError("not there")

    monkeypatch.setattr("surgery.excision._rewrite.finish", fails)
    made, wanted = given_and_wanted(Model(plain), "block:branch")
    assert torch.equal(made(X), wanted)
    assert how(made) == ["cut built in"]
