"""What a rewritten block keeps, and what becomes of a means that fails."""

from __future__ import annotations

import copy
import io
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


class Classy(nn.Module):
    """A block whose class does more than run forward."""

    expansion = 4

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(4, 4)
        self.norm = nn.BatchNorm1d(4)
        self.extra = 7.0
        self.bound = self.through_a

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return 2 * super().__call__(*args, **kwargs)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(x)
        return x + self.through_a(x)

    def through_a(self, x: Tensor) -> Tensor:
        found: Tensor = self.a(x)
        return found

    def train(self, mode: bool = True) -> Classy:
        super().train(mode)
        self.norm.eval()
        return self

    def get_extra_state(self) -> dict[str, float]:
        return {"extra": self.extra}

    def set_extra_state(self, state: dict[str, float]) -> None:
        self.extra = state["extra"]

    @property
    def width(self) -> int:
        return self.norm.num_features


def test_a_rewritten_block_stays_what_its_class_makes_of_it() -> None:
    model = Around(Classy()).eval()
    made, wanted = given_and_wanted(model, "block:branch")
    assert torch.equal(wanted, 2 * model.block.norm(model.first(X)))  # type: ignore[operator]
    file = io.BytesIO()
    torch.save(made, file)
    file.seek(0)
    loaded: nn.Module = torch.load(file, weights_only=False)
    for each in (made, copy.deepcopy(made), loaded, copy.deepcopy(loaded)):
        block = each.get_submodule("block")
        assert how(each) == ["rewritten"]
        assert isinstance(block, Classy) and type(block).__name__ == "Classy"
        assert torch.equal(each(X), wanted)
        assert not hasattr(block, "a")
        assert (block.width, block.expansion) == (4, 4)
        assert "block._extra_state" in each.state_dict()
        each.load_state_dict(made.state_dict())
        each.train()
        assert block.training and not block.norm.training


def test_nothing_in_a_rewritten_block_holds_on_to_the_block_that_was() -> None:
    made, _ = given_and_wanted(Around(Classy()).eval(), "block:branch")
    block: Any = made.get_submodule("block")
    assert block.bound.__self__ is block


class Needing(Classy):
    """A class that cannot do without a layer that the branch alone uses."""

    def train(self, mode: bool = True) -> Needing:
        super().train(mode)
        self.a.eval()
        return self


def test_a_block_keeps_what_its_class_needs() -> None:
    made, wanted = given_and_wanted(Around(Needing()).eval(), "block:branch")
    assert torch.equal(made(X), wanted)
    assert how(made) == ["cut built in"]
    made.train()


RUNS: list[nn.Module] = []


class Wrapping(nn.Module):
    """Wraps the forward of each subclass, as transformers' checkpointing does."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        inner: Any = cls.forward

        def outer(self: Any, x: Tensor) -> Tensor:
            found: Tensor = inner(self, x)
            if type(self).forward is outer:
                RUNS.append(self)
            return found

        cls.forward = outer


class WrappedBlock(Wrapping):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = x + self.a(x)
        return found


def test_a_class_that_wraps_the_forwards_of_its_subclasses_wraps_new_code_too() -> None:
    made, wanted = given_and_wanted(Around(WrappedBlock()).eval(), "block:branch")
    assert how(made) == ["rewritten"]
    RUNS.clear()
    assert torch.equal(made(X), wanted)
    assert RUNS == [made.get_submodule("block")]
