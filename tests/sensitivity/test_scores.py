"""Scores from one pass against differences, exact effects and a dense Hessian."""

from __future__ import annotations

import importlib.resources
import json
import math
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import torch
from torch import Tensor, nn

import surgery
from surgery.errors import DataError, OperationError
from tests.sensitivity.conftest import Net, made

Pair = tuple[Tensor, Tensor]
PARTS = ["blocks.*", "blocks.*:branch", "stem:channel#0-2"]


@pytest.fixture
def double() -> Net:
    return made().double()


@pytest.fixture
def doubles(pairs: Pair) -> Pair:
    return pairs[0].double(), pairs[1]


def scores(
    model: nn.Module, data: Any, targets: Any = PARTS, **options: Any
) -> surgery.Scores:
    options.setdefault("metric", "cross_entropy")
    options.setdefault("check", 0)
    options.setdefault("method", "taylor")
    found: surgery.Scores = surgery.sensitivity(
        model, data, targets, progress=False, **options
    )
    return found


def by_name(found: surgery.Scores) -> dict[str, float]:
    return {row.component: row.score for row in found}


@torch.no_grad()
def loss(model: nn.Module, data: Pair) -> float:
    return float(nn.functional.cross_entropy(model(data[0]), data[1]))


def at_dial(model: nn.Module, data: Pair, name: Any, mode: Any, dial: float) -> float:
    with surgery.ablate(model, name, mode, dial=dial, data=data):
        return loss(model, data)


@pytest.mark.parametrize("mode", ["zero", "mean"])
def test_taylor_is_the_slope_of_the_dial_at_zero(
    double: Net, doubles: Pair, mode: str
) -> None:
    found = by_name(scores(double, doubles, mode=mode))
    assert len(found) == 7
    base, step = loss(double, doubles), 1e-6  # small: few ReLUs switch on the way
    for name, score in found.items():
        # A dial is never below 0: a one-sided difference, of second order.
        one, two = (
            at_dial(double, doubles, name, mode, k * step) - base for k in (1, 2)
        )
        slope = (4 * one - two) / (2 * step)
        assert math.isclose(score, slope, rel_tol=1e-4, abs_tol=1e-8)


def test_intervals_and_n_are_those_of_a_mean_over_samples(
    double: Net, doubles: Pair
) -> None:
    """Each sample's own derivative, from a loss of that sample alone."""
    (row,) = scores(double, doubles, "blocks.1")
    alone = np.array(
        [
            by_name(scores(double, (doubles[0][[i]], doubles[1][[i]]), "blocks.1"))[
                "blocks.1"
            ]
            for i in range(12)
        ]
    )
    few = doubles[0][:12], doubles[1][:12]
    (mean,) = scores(double, few, "blocks.1")
    assert math.isclose(mean.score, alone.mean(), rel_tol=1e-9) and mean.n == 12
    assert math.isclose(mean.error, alone.std(ddof=1) / math.sqrt(12), rel_tol=1e-6)
    assert row.n == 80 and row.low < row.score < row.high


class Sum(nn.Module):
    """Linear in everything: the sum of some linear maps."""

    def __init__(self) -> None:
        super().__init__()
        self.maps = nn.ModuleList(nn.Linear(5, 1) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([one(x) for one in self.maps]).sum(0)


def signed(outputs: Tensor, labels: Tensor) -> Tensor:
    return (outputs * labels).sum(1)


def linear() -> tuple[nn.Module, Pair]:
    generator = torch.Generator().manual_seed(1)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Sum().double().eval()
    x = torch.randn(40, 5, dtype=torch.float64, generator=generator)
    return model, (x, torch.randn(40, 1, dtype=torch.float64, generator=generator))


@pytest.mark.parametrize("method", ["taylor", "integrated"])
def test_on_a_linear_model_scores_are_exact(method: Any) -> None:
    model, data = linear()
    metric: dict[str, Any] = {"metric": signed, "higher_is_better": True}
    found = scores(model, data, "maps.*", method=method, check=9, **metric)
    ranking = surgery.rank(model, data, "maps.*", progress=False, **metric)
    exact = {row.component: row.delta for row in ranking}
    assert len(exact) == 4
    for row in found:
        assert math.isclose(row.score, exact[row.component], rel_tol=1e-9)
    assert found.check["spearman"] == 1 and found.check["missed"] == []
    assert float(found.check["largest"]) < 1e-12  # type: ignore[arg-type]
    # The most harmful first, though higher is better.
    assert [r.score for r in found] == sorted(r.score for r in found)


def test_integrated_scores_sum_to_the_effect_of_ablating_all(
    double: Net, doubles: Pair
) -> None:
    parts = ["blocks.*:branch", "stem:channel#0-2"]
    names = ["blocks.0:branch", "blocks.1:branch", "blocks.2:branch", parts[1]]
    exact = at_dial(double, doubles, names, "zero", 1.0) - loss(double, doubles)
    found = scores(double, doubles, parts, method="integrated", points=64)
    assert len(found) == 4
    total = sum(row.score for row in found)
    assert math.isclose(total, exact, rel_tol=1e-3)
    joint = found.provenance["joint"]
    assert isinstance(joint, dict)
    assert math.isclose(float(str(joint["exact"])), exact, rel_tol=1e-9)
    assert joint["scores"] == total


def test_along_one_dial_the_mean_slope_is_its_exact_effect(
    double: Net, doubles: Pair
) -> None:
    (row,) = scores(double, doubles, "blocks.0", method="integrated", points=64)
    exact = at_dial(double, doubles, "blocks.0", "zero", 1.0) - loss(double, doubles)
    assert math.isclose(row.score, exact, rel_tol=1e-3)


def test_fisher_is_half_the_mean_square_of_slopes(double: Net, doubles: Pair) -> None:
    few = doubles[0][:6], doubles[1][:6]
    slopes = [
        by_name(scores(double, (few[0][[i]], few[1][[i]]), "blocks.*"))
        for i in range(6)
    ]
    for row in scores(double, few, "blocks.*", method="fisher"):
        wanted = np.mean([s[row.component] ** 2 for s in slopes]) / 2
        assert math.isclose(row.score, wanted, rel_tol=1e-9)


def test_influence_is_one_minus_the_cosine_of_input_and_output(
    double: Net, doubles: Pair
) -> None:
    seen: list[tuple[Any, Any]] = []
    hook = double.blocks[1].register_forward_hook(
        lambda module, args, output: seen.append((args[0], output))
    )
    with torch.no_grad():
        double(doubles[0])
    hook.remove()
    a, b = (x.flatten(1) for x in seen[0])
    wanted = 1 - nn.functional.cosine_similarity(a, b)
    found = scores(double, doubles, "blocks.*", method="influence", metric="accuracy")
    row = next(row for row in found if row.component == "blocks.1")
    assert math.isclose(row.score, float(wanted.mean()), rel_tol=1e-9)
    assert len(found) == 3 and not row.note
    with pytest.raises(OperationError, match="no input is like it"):
        scores(double, doubles, "head", method="influence", mode="zero")


class Smooth(nn.Module):
    """Small, with second derivatives everywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.parts = nn.ModuleList(nn.Linear(4, 4) for _ in range(10))
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        for part in self.parts:
            x = x + torch.tanh(part(x))
        return self.head(x)  # type: ignore[no-any-return]


def test_hutchinson_finds_the_traces_of_the_dense_hessian() -> None:
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(30, 4, dtype=torch.float64, generator=generator)
    labels = torch.randint(0, 3, (30,), generator=generator)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Smooth().double().eval().requires_grad_(False)
    found = scores(
        model, (x, labels), ["parts.*", "head"], method="hessian", repeats=64
    )
    assert len(found) == 11 and not any(p.requires_grad for p in model.parameters())
    distances: list[float] = []
    for row in found:
        names = [f"{row.component}.weight", f"{row.component}.bias"]
        values = [model.get_parameter(name) for name in names]
        sizes = [value.numel() for value in values]

        def of(flat: Tensor) -> Tensor:
            parts = zip(names, flat.split(sizes), values, strict=True)  # noqa: B023
            given = {name: part.view_as(value) for name, part, value in parts}
            out = torch.func.functional_call(model, given, (x,))
            return nn.functional.cross_entropy(out, labels)

        point = torch.cat([value.flatten() for value in values])
        hessian: Any = torch.autograd.functional.hessian(of, point)
        distances.append(abs(row.score - float(hessian.trace())) / row.error)
        assert row.n == 64 and row.low < row.score < row.high
    assert sum(d <= 2 for d in distances) >= 0.9 * len(distances)
    assert max(distances) <= 4


class Saturated(nn.Module):
    """A gate so far open that its slope is nothing, though all depends on it."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Linear(3, 2)
        self.value = nn.Linear(3, 1)
        with torch.no_grad():
            self.gate.weight.zero_()
            self.gate.bias.copy_(torch.tensor([60.0, 0.0]))

    def forward(self, x: Tensor) -> Tensor:
        return torch.softmax(self.gate(x), 1)[:, :1] * self.value(x)  # type: ignore[no-any-return]


def test_the_check_tells_what_taylor_misses_in_a_saturated_softmax() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(60, 3, dtype=torch.float64, generator=generator)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Saturated().double().eval()
    with torch.no_grad():
        data = x, model(x)
    data = x, data[1] * 1.2
    options: dict[str, Any] = {"metric": "mse", "check": 10}
    found = scores(model, data, ["gate", "value"], **options)
    assert abs(by_name(found)["gate"]) < 1e-12
    check: Any = found.check
    assert "gate" in check["missed"] and check["n"] == 2
    gate = next(c for c in check["components"] if c["component"] == "gate")
    assert gate["exact"] > 0.01 and gate["missed"]
    assert "wrong for" in str(found) and "missed" in str(found)


def test_a_metric_without_gradient_asks_for_a_surrogate(
    model: Net, pairs: Pair
) -> None:
    for metric in ("accuracy", "f1", "spearman"):
        with pytest.raises((OperationError, DataError), match="surrogate='cross_ent"):
            scores(model, pairs, metric=metric)
    with pytest.raises(OperationError, match="surrogate='cross_entropy'"):
        scores(model, pairs, metric="perplexity")
    with pytest.raises(OperationError, match="one metric, or one surrogate"):
        scores(model, pairs, metric=["cross_entropy", "accuracy"])
    found = scores(model, pairs, metric="accuracy", surrogate="cross_entropy")
    assert by_name(found) == by_name(scores(model, pairs))
    assert found.provenance["loss"] == "cross_entropy"


def test_options_of_curves_and_of_methods_are_told_apart(
    model: Net, pairs: Pair
) -> None:
    for wrong in (
        {"levels": (0.1,)},
        {"perturb": "prune"},
        {"repeats": 3},
        {"points": 0},
        {"check": 1},
        {"mode": "reinit"},
        {"method": "hessian", "mode": "zero"},
        {"method": "taylr"},
    ):
        with pytest.raises(OperationError):
            scores(model, pairs, **wrong)
    with pytest.raises(OperationError, match="surrogate= is the loss of a method"):
        scores(model, pairs, method=None, check=10, surrogate="mse")


@pytest.mark.parametrize("method", ["integrated", "hessian"])
def test_the_model_stays_as_it_was_and_draws_repeat(
    model: Net, pairs: Pair, method: Any
) -> None:
    before = {k: v.clone() for k, v in model.state_dict().items()}
    model.stem.weight.requires_grad_(False)
    random = torch.get_rng_state()
    options: dict[str, Any] = {"method": method, "check": 3}
    one, two = (scores(model, pairs, "blocks.*", **options) for _ in range(2))
    assert by_name(one) == by_name(two)
    assert torch.equal(torch.get_rng_state(), random)
    after = model.state_dict()
    assert all(torch.equal(after[k], v) for k, v in before.items())
    assert not model.stem.weight.requires_grad
    assert all(p.grad is None for p in model.parameters())
    assert not any(m._forward_hooks for m in model.modules())


def test_scores_print_save_load_and_chart(
    model: Net, pairs: Pair, tmp_path: Path
) -> None:
    found = scores(model, pairs, "blocks.*", check=3)
    columns = ["component", "method", "score", "low", "high", "n"]
    assert list(found.to_pandas().columns)[:6] == columns
    assert "Spearman" in str(found)
    found.save(tmp_path / "scores.json")
    folder = importlib.resources.files("surgery.report") / "schemas"
    schema = json.loads((folder / "scores-1.json").read_text())
    jsonschema.validate(json.loads((tmp_path / "scores.json").read_text()), schema)
    again = surgery.Scores.load(tmp_path / "scores.json")
    assert again == found
    assert found.plot().axes
    found.to_tensorboard(tmp_path / "runs")
    assert any((tmp_path / "runs").iterdir())


class Attentive(nn.Module):
    """Heads whose values lie sequence first, a module that runs twice, a constant."""

    def __init__(self) -> None:
        super().__init__()
        self.place = nn.Parameter(torch.ones(5, 8))
        self.attend = nn.MultiheadAttention(8, 2, batch_first=True)
        self.twice = nn.Linear(8, 8)
        self.table = nn.Embedding(5, 8)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.place + self.table(torch.arange(5))
        x = x + self.attend(x, x, x)[0]
        return self.twice(torch.tanh(self.twice(x))).mean((1, 2))  # type: ignore[no-any-return]


def attentive() -> tuple[nn.Module, Pair]:
    generator = torch.Generator().manual_seed(4)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Attentive().double().eval()
    x = torch.randn(9, 5, 8, dtype=torch.float64, generator=generator)
    return model, (x, torch.randn(9, dtype=torch.float64, generator=generator))


def test_heads_and_reused_modules_have_slopes_too() -> None:
    model, data = attentive()
    parts = ["attend", "attend:head#*", "twice", "twice@1"]
    found = scores(model, data, parts, metric="mse")
    assert len(found) == 5
    step = 1e-6

    def mse(name: str, dial: float) -> float:
        with (
            surgery.ablate(model, name, dial=dial, inputs=data[0]),
            torch.no_grad(),
        ):
            return float(((model(data[0]) - data[1]) ** 2).mean())

    for name, score in by_name(found).items():
        zero, one, two = (mse(name, k * step) for k in (0, 1, 2))
        slope = (4 * one - two - 3 * zero) / (2 * step)
        assert math.isclose(score, slope, rel_tol=1e-4, abs_tol=1e-8)


def test_what_has_no_samples_is_refused() -> None:
    model, data = attentive()
    with pytest.raises(OperationError, match="the same for every sample"):
        scores(model, data, "place", metric="mse")
    with pytest.raises(OperationError, match="without an axis of samples"):
        scores(model, data, "table", metric="mse")


class Brittle(nn.Module):
    """Fails on samples that hold a large number."""

    def __init__(self) -> None:
        super().__init__()
        self.part = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        if bool((x > 90).any()):
            raise ValueError("too large")
        return self.part(x)  # type: ignore[no-any-return]


def test_samples_that_fail_are_left_out_and_listed_if_asked() -> None:
    generator = torch.Generator().manual_seed(4)
    x = torch.randn(20, 3, dtype=torch.float64, generator=generator)
    labels = torch.randint(0, 2, (20,), generator=generator)
    model = Brittle().double().eval()
    good = scores(model, (x[1:], labels[1:]), "part")
    x[0] = 99
    with pytest.raises(surgery.errors.SurgeryError, match="too large"):
        scores(model, (x, labels), "part")
    found = scores(model, (x, labels), "part", on_error="skip")
    assert [failure["sample"] for failure in found.failures] == [0]
    assert math.isclose(found.rows[0].score, good.rows[0].score, rel_tol=1e-9)
    assert found.rows[0].n == 19
