"""`sensitivity` against a plain loop: each level laid by hand, the metric whole."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import surgery
from surgery import ops
from surgery.sensitivity import Point
from tests.sensitivity.conftest import Net, made

Pair = tuple[Tensor, Tensor]
BLOCKS = "blocks.*"
LEVELS = (0.0, 0.2, 0.7)


def curves(
    model: nn.Module, data: Any, targets: Any = BLOCKS, **options: Any
) -> surgery.Sensitivity:
    options.setdefault("metric", "cross_entropy")
    found: surgery.Sensitivity = surgery.sensitivity(
        model, data, targets, progress=False, **options
    )
    return found


def by_place(result: surgery.Sensitivity) -> dict[tuple[str, float], Point]:
    return {(p.component, p.level): p for p in result}


@torch.no_grad()
def loss(model: nn.Module, data: Pair) -> float:
    return float(nn.functional.cross_entropy(model(data[0]), data[1]))


def test_noise_is_a_mean_over_draws_that_are_those_of_ablate(
    model: Net, pairs: Pair
) -> None:
    found = by_place(curves(model, pairs, levels=LEVELS, repeats=1, seed=3))
    baseline = loss(model, pairs)
    for (name, level), point in found.items():
        operation = ops.Noise(std=level, on="parameters")
        with surgery.ablate(model, name, operation, seed=3):
            truth = loss(model, pairs)
        assert math.isclose(point.value, truth, rel_tol=1e-5)
        assert math.isclose(point.baseline, baseline, rel_tol=1e-5)
        assert math.isclose(point.delta, truth - baseline, rel_tol=1e-3, abs_tol=1e-6)
        assert point.low <= point.delta <= point.high and point.n == 80


def test_repeats_are_averaged_and_the_draws_differ(model: Net, pairs: Pair) -> None:
    seeds: list[int] = []

    def spied(parameter: Tensor, level: float) -> Tensor:
        seeds.append(int(torch.randint(10**9, ())))
        return parameter + level * torch.randn_like(parameter)

    result = curves(model, pairs, "head", perturb=spied, levels=(0.5,), repeats=4)
    (point,) = result
    assert point.repeats == 4 and point.perturb == "spied"
    assert len(set(seeds)) == 4 * 2  # draws x (weight and bias), the same in each batch
    single = curves(model, pairs, "head", perturb=spied, levels=(0.5,), repeats=1)
    assert single.rows[0].value != point.value
    assert point.high - point.low > 0


@pytest.mark.parametrize(
    ("perturb", "operation", "dial"),
    [
        ("scale", lambda level: ops.Scale(), True),
        ("prune", lambda level: ops.Prune(level), False),
        ("prune:structured", lambda level: ops.Prune(level, structured=True), False),
        ("noise:sign", lambda level: ops.Flip(level), False),
        (
            "noise:uniform",
            lambda level: ops.Noise(level, on="parameters", distribution="uniform"),
            False,
        ),
        ("init", lambda level: ops.Reinit(), True),
    ],
)
def test_every_named_perturbation_is_its_operation(
    model: Net, pairs: Pair, perturb: str, operation: Any, dial: bool
) -> None:
    repeats = 1 if operation(0.5).random else None
    found = curves(model, pairs, perturb=perturb, levels=(0.3, 1.0), repeats=repeats)
    assert len(found) == 6
    for (name, level), point in by_place(found).items():
        with surgery.ablate(model, name, operation(level), dial=level if dial else 1.0):
            assert math.isclose(point.value, loss(model, pairs), rel_tol=1e-5)
        assert point.effect == "full"


def test_quantize_goes_from_many_bits_to_few(model: Net, pairs: Pair) -> None:
    result = curves(model, pairs, perturb="quantize:channel", levels=(8, 4, 2))
    first = [p for p in result if p.component == result.rows[0].component]
    assert [p.level for p in first] == [8, 4, 2]
    assert [p.strength for p in first] == [1 / 127, 1 / 7, 1]
    for (name, level), point in by_place(result).items():
        with surgery.ablate(model, name, ops.Quantize(int(level), per="channel")):
            assert math.isclose(point.value, loss(model, pairs), rel_tol=1e-5)


def test_a_dial_of_one_is_the_ablation_that_a_ranking_measures(
    model: Net, pairs: Pair
) -> None:
    targets = ["blocks.*:branch", "blocks.0", "stem:channel#1-2"]
    for mode in ("zero", "mean", "noise"):
        ranking = surgery.rank(
            model, pairs, targets, mode=mode, metric="cross_entropy", progress=False
        )
        result = curves(
            model, pairs, targets, perturb="dial", mode=mode, levels=(1,), repeats=1
        )
        values = {row.component: (row.value, row.low, row.high) for row in ranking}
        assert {p.component: (p.value, p.low, p.high) for p in result} == values


def test_level_zero_is_the_baseline_to_the_last_bit(model: Net, pairs: Pair) -> None:
    outputs: list[Tensor] = []

    def kept(outputs_: Tensor, labels: Tensor) -> Tensor:
        outputs.append(outputs_.clone())
        return outputs_[:, 0]

    for perturb in ("noise", "scale", "prune", "noise:sign", "init", "dial"):
        outputs.clear()
        result = curves(
            model,
            pairs,
            "blocks.1",
            perturb=perturb,
            levels=(0, 1.0),
            metric=kept,
            higher_is_better=True,
            repeats=1 if perturb in ("noise", "noise:sign", "init") else None,
        )
        untouched, at_zero, at_one = outputs[:3]
        assert torch.equal(untouched, at_zero) and not torch.equal(untouched, at_one)
        zero = by_place(result)["blocks.1", 0.0]
        assert zero.delta == 0 and zero.effect == "none"


def test_draws_are_alike_over_levels_and_over_components_that_share_a_tensor(
    model: Net, pairs: Pair
) -> None:
    drawn: dict[float, dict[str, Tensor]] = {}
    names = {tuple(p.shape): n for n, p in model.named_parameters()}

    def spied(parameter: Tensor, level: float) -> Tensor:
        noise = torch.randn_like(parameter)
        found = drawn.setdefault(level, {})
        name = names[tuple(parameter.shape)]
        assert torch.equal(found.setdefault(name, noise), noise)
        return parameter + level * noise

    targets = ["head", "head.weight"]
    curves(model, pairs, targets, perturb=spied, levels=(0.1, 0.2), repeats=1)
    assert set(drawn) == {0.1, 0.2}
    for name, noise in drawn[0.1].items():
        assert torch.equal(noise, drawn[0.2][name])


def test_interpolation_to_a_checkpoint(model: Net, pairs: Pair) -> None:
    state = {k: v + 0.3 for k, v in made().state_dict().items() if "num" not in k}
    result = curves(model, pairs, "head", perturb=ops.Rewind(state), levels=(0.5, 1.0))
    moved = copy.deepcopy(model)
    with torch.no_grad():
        for name in ("head.weight", "head.bias"):
            moved.get_parameter(name).add_(0.15)
    point = by_place(result)["head", 0.5]
    assert math.isclose(point.value, loss(moved, pairs), rel_tol=1e-5)
    assert point.perturb == "rewind"


@pytest.mark.parametrize("perturb", ["noise", "quantize", "dial"])
def test_the_fused_program_gives_what_one_by_one_gives(
    model: Net, pairs: Pair, perturb: str
) -> None:
    targets = [BLOCKS, "stem"] + (["head.weight"] if perturb != "dial" else [])
    ways = [
        curves(
            model,
            pairs,
            targets,
            perturb=perturb,
            engine=surgery.Engine(backend=backend),
        )
        for backend in ("hooks", "fused")
    ]
    evaluators = [way.provenance["plan"]["evaluator"] for way in ways]  # type: ignore[index, call-overload]
    assert evaluators == ["one by one", "fused"]
    plain, fused = map(by_place, ways)
    assert plain.keys() == fused.keys()
    for key, point in plain.items():
        assert math.isclose(point.value, fused[key].value, rel_tol=1e-5)
        assert point.effect == fused[key].effect


def test_the_model_and_random_numbers_are_left_as_they_were(
    model: Net, pairs: Pair
) -> None:
    before = {k: v.clone() for k, v in model.state_dict().items()}
    torch.manual_seed(5)
    np.random.seed(5)
    state, legacy = torch.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[index]
    for perturb in ("noise", "init", "quantize", "dial"):
        curves(model, pairs, perturb=perturb)
    curves(model, pairs, perturb=lambda p, level: p + level * torch.randn_like(p))
    assert torch.equal(torch.get_rng_state(), state)
    assert np.array_equal(np.random.get_state()[1], legacy)  # type: ignore[index]
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_a_seed_sets_everything(model: Net, pairs: Pair) -> None:
    def values(seed: int) -> list[float]:
        return [p.value for p in curves(model, pairs, levels=(0.5,), seed=seed)]

    assert values(1) == values(1) != values(2)


def test_a_small_budget_makes_new_values_again_and_changes_nothing(
    model: Net, pairs: Pair
) -> None:
    made_: list[float] = []

    def spied(parameter: Tensor, level: float) -> Tensor:
        made_.append(level)
        return parameter * (1 + level)

    data = [(pairs[0][:40], pairs[1][:40]), (pairs[0][40:], pairs[1][40:])]
    results = []
    for budget in (1, 10**9):
        engine = surgery.Engine(memory_budget=budget)
        results.append(
            curves(model, data, "head", perturb=spied, levels=(1,), engine=engine)
        )
        # Once per tensor, or once per tensor and batch.
        assert len(made_) == (4 if budget == 1 else 2)
        made_.clear()
    assert results[0].rows == results[1].rows


def test_several_metrics_in_groups_come_from_one_sweep(model: Net, pairs: Pair) -> None:
    result = curves(
        model,
        pairs,
        levels=(0.1, 1.0),
        metric={"quality": ["accuracy", "f1:macro"], "loss": "perplexity"},
    )
    keys = {(p.group, p.metric) for p in result}
    assert keys == {
        ("quality", "accuracy"),
        ("quality", "f1:macro"),
        ("loss", "perplexity"),
    }
    assert len(result) == 3 * 2 * 3
    assert all(p.low <= p.delta <= p.high for p in result)
