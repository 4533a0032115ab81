"""Noise of the stated strength, donors that are never the sample itself, seeds."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import surgery
from surgery.errors import DataError, OperationError, ShapeMismatchError
from surgery.ops._random_output import derangement

X = torch.randn(16, 500, generator=torch.Generator().manual_seed(0)) * 3


def under(mode: object, x: Tensor = X, seed: int = 0, forwards: int = 1) -> Tensor:
    model = nn.Sequential(nn.Identity())
    with surgery.ablate(model, "0", mode, seed=seed):  # type: ignore[arg-type]
        for _ in range(forwards):
            y: Tensor = model(x)
    return y


def test_absolute_noise_has_the_stated_deviation() -> None:
    noise = under(surgery.ops.Noise(std=0.5, relative=False)) - X
    assert abs(float(noise.std()) - 0.5) < 0.02 and abs(float(noise.mean())) < 0.02


def test_relative_noise_counts_in_each_sample_s_root_mean_square() -> None:
    x = X * torch.logspace(-2, 2, 16)[:, None]
    noise = under(surgery.ops.Noise(std=0.2), x) - x
    ratio = noise.square().mean(1).sqrt() / x.square().mean(1).sqrt()
    assert bool(((ratio - 0.2).abs() < 0.04).all())


def test_relative_noise_on_parameters_counts_in_each_tensor_s() -> None:
    model = nn.Sequential(nn.Linear(100, 100))
    with torch.no_grad():
        model[0].bias.mul_(50)  # type: ignore[operator]
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    with surgery.ablate(model, "0", surgery.ops.Noise(0.3, on="parameters")) as op:
        for name, p in model.named_parameters():
            noise = p.detach() - before[name]
            rms = before[name].square().mean().sqrt()
            assert abs(float(noise.std() / rms) - 0.3) < 0.1
        assert next(iter(op.effect())).mode == "noise on parameters"
    assert all(torch.equal(p, before[n]) for n, p in model.named_parameters())


@pytest.mark.parametrize("mode", ["noise", "resample"])
def test_draws_follow_the_seed_and_differ_between_forwards(mode: str) -> None:
    assert torch.equal(under(mode, seed=1), under(mode, seed=1))
    assert not torch.equal(under(mode, seed=1), under(mode, seed=2))
    assert not torch.equal(under(mode, seed=1), under(mode, seed=1, forwards=2))


@pytest.mark.parametrize("mode", ["noise", "resample"])
def test_no_global_generator_is_touched(mode: str) -> None:
    legacy: Any = np.random.get_state()
    states = torch.get_rng_state(), random.getstate(), legacy[1]
    under(mode)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    now: Any = np.random.get_state()
    assert np.array_equal(now[1], states[2])


@pytest.mark.parametrize("size", [2, 3, 7, 64])
def test_no_sample_is_its_own_donor_and_each_gives_once(size: int) -> None:
    for seed in range(50):
        donor = derangement(size, torch.Generator().manual_seed(seed))
        assert sorted(donor.tolist()) == list(range(size))
        assert all(i != d for i, d in enumerate(donor.tolist()))


def test_resample_permutes_whole_samples_of_the_batch() -> None:
    x = torch.arange(8.0).view(8, 1, 1).expand(8, 3, 2)
    y = under("resample", x)
    assert sorted(y[:, 0, 0].tolist()) == list(range(8))
    assert torch.equal(y, y[:, :1, :1].expand_as(y))
    assert bool((y != x).all())


def test_components_of_one_forward_take_the_same_donors() -> None:
    model = nn.Sequential(nn.Identity(), nn.Identity())
    x = torch.arange(8.0).view(8, 1)
    once = under("resample", x).flatten().long()
    with surgery.ablate(model, ["0", "1"], "resample"):
        assert torch.equal(model(x).flatten().long(), once[once])


def test_a_batch_of_one_has_no_donor() -> None:
    with pytest.raises(DataError, match="use larger batches, or pass data="):
        under("resample", X[:1])


def test_outputs_that_are_not_per_sample_are_refused() -> None:
    model = nn.Sequential(nn.Flatten(0), nn.Identity())
    with (
        pytest.raises(ShapeMismatchError, match=r"shape \(\) for 3 samples"),
        surgery.ablate(_Sum(), "total", "resample"),
    ):
        _run_sum()
    with surgery.ablate(model, "0", "resample"):
        model(X)


class _Sum(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.total = _Total()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.total(x)
        return y


class _Total(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.sum()


def _run_sum() -> None:
    model = _Sum()
    with surgery.ablate(model, "total", "resample"):
        model(torch.ones(3, 2))


def test_noise_needs_floating_values_and_resample_does_not() -> None:
    x = torch.arange(8).view(8, 1)
    with pytest.raises(OperationError, match="noise needs floating-point values"):
        under("noise", x)
    assert sorted(under("resample", x).flatten().tolist()) == list(range(8))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"std": -1.0}, "must be 0 or more"), ({"on": "inputs"}, "'output' or 'param")],
)
def test_noise_refuses_what_it_cannot_be(
    arguments: dict[str, object], message: str
) -> None:
    with pytest.raises(OperationError, match=message):
        surgery.ops.Noise(**arguments)  # type: ignore[arg-type]


def test_noise_lets_gradients_through() -> None:
    x = X.clone().requires_grad_()
    under("noise", x).sum().backward()
    assert x.grad is not None and torch.equal(x.grad, torch.ones_like(x))


def test_relative_noise_on_one_value_per_sample_counts_in_that_value() -> None:
    x = torch.logspace(-3, 3, 13)
    model = nn.Sequential(nn.Identity())
    with surgery.ablate(model, "0", surgery.ops.Noise(0.1)):
        ratios = torch.stack([(model(x) - x) / x for _ in range(400)])
    assert bool(((ratios.std(0) - 0.1).abs() < 0.02).all())
