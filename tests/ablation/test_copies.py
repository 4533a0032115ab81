"""deepcopy and pickle of an ablated model: the copy stays ablated, the original not."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import surgery

X = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
COPIES: dict[str, Callable[[Any], Any]] = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda model: pickle.loads(pickle.dumps(model)),
}


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stage = nn.Sequential(nn.Linear(4, 4), nn.Tanh())
        self.act = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.stage:
            x = layer(x)
        y: Tensor = self.act(self.act(x) + 1)
        return y


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize(
    ("target", "mode"),
    [
        ("stage.0", "zero"),
        ("stage", "identity"),
        ("act@1", "zero"),
        ("stage.1", "mean"),
        ("stage.0", "noise"),
        ("stage.1", "resample"),
        ("input:x", "zero"),
        ("input:feature#1", "mean"),
        ("stage.0.weight", "zero"),
        ("stage.0", "reinit"),
    ],
)
def test_a_copy_is_ablated_for_good(target: str, mode: str, how: str) -> None:
    model = Net()
    data = [(X, None)] if mode in ("mean", "resample") else None
    plain = model(X)
    op = surgery.ablate(model, target, mode, data=data)
    twin = COPIES[how](model)
    ablated = model(X)
    assert torch.equal(twin(X), ablated) and not torch.equal(ablated, plain)
    op.restore()
    assert torch.equal(model(X), plain)
    if mode not in ("noise", "resample"):  # these draw anew in each forward
        assert torch.equal(twin(X), ablated)
    assert not torch.equal(twin(X), plain)
    # A copy is a model like any other.
    with surgery.ablate(twin, "act") as again:
        assert not twin(X).any()
        again.effect(strict=True)
    if mode not in ("noise", "resample"):
        assert torch.equal(twin(X), ablated)
    assert not any(m._forward_hooks for m in model.modules())


def test_a_copy_made_after_a_forward_that_raised_runs() -> None:
    model = Net()
    with surgery.ablate(model, "stage", "identity") as op:
        with pytest.raises(RuntimeError):
            model(torch.zeros(2, 3))
        twin = copy.deepcopy(model)
        assert torch.equal(twin(X), model(X))
        op.effect(strict=True)
