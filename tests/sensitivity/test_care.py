"""What is refused, what is shared and skipped, what is said: the hard cases."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import surgery
from surgery import ops
from surgery.errors import (
    DataError,
    OperationError,
    ShapeMismatchError,
    SurgeryError,
    TargetError,
)
from tests.sensitivity.conftest import Net
from tests.sensitivity.test_sensitivity import BLOCKS, Pair, by_place, curves


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"levels": (0.3, 0.1)}, r"weak to strong.*write levels=\(0\.1, 0\.3\)"),
        ({"levels": (0.1, 0.1)}, r"none twice.*write levels=\(0\.1,\)"),
        ({"levels": (-0.1, 0.1)}, r"numbers of 0 or more, got -0\.1"),
        ({"levels": (math.nan,)}, "numbers of 0 or more, got nan"),
        ({"levels": ()}, r"levels is empty; give some.*levels=\(0\.01"),
        ({"levels": ("a",)}, "levels must be numbers, got 'a'"),
        ({"perturb": "scale", "levels": (0.5, 2)}, r"is a dial.*\[0, 1\], got 2"),
        ({"perturb": "prune", "levels": (0.5, 2)}, r"is a share.*\[0, 1\], got 2"),
        ({"perturb": "quantize", "levels": (2, 8)}, r"write levels=\(8\.0, 2\.0\)"),
        ({"perturb": "quantize", "levels": (1,)}, "from 2 to 16, got 1"),
        ({"perturb": "quantize", "levels": (2.5,)}, r"whole number.*got 2\.5"),
        ({"perturb": "nois"}, "unknown perturbation 'nois'; did you mean 'noise'"),
        ({"perturb": 3}, "perturb must be a name, an operation"),
        ({"perturb": "dial", "mode": "freeze"}, "changes training, not outputs"),
        ({"perturb": ops.Freeze()}, "changes training, not outputs"),
        ({"perturb": "noise", "mode": "zero"}, "with perturb='noise' leave it out"),
        ({"repeats": 0}, "repeats must be 1 or more, got 0"),
        ({"perturb": "prune", "repeats": 2}, "draws nothing, so that 2 repeats"),
        ({"tolerance": 0.0}, r"tolerance must be above 0.*got 0\.0"),
        ({"on_error": "x"}, "on_error is 'raise' or 'skip'"),
    ],
)
def test_bad_options_are_refused_with_what_mends_them(
    model: Net, pairs: Pair, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(OperationError, match=message):
        curves(model, pairs, **options)


def test_a_module_without_parameters_is_refused_or_skipped(
    model: Net, pairs: Pair
) -> None:
    message = r"blocks\.1\.spare \(ReLU\) has no parameters.*use an output mode"
    with pytest.raises(OperationError, match=message):
        curves(model, pairs, ["head", "blocks.1.spare"])
    result = curves(model, pairs, ["head", "blocks.1.spare"], on_error="skip")
    assert {p.component for p in result} == {"head"}
    (skipped,) = result.skipped
    assert skipped["component"] == "blocks.1.spare"
    assert "Skipped: 1" in str(result)


def test_an_unknown_target_names_the_nearest(model: Net, pairs: Pair) -> None:
    with pytest.raises(TargetError, match=r"blocks\.1"):
        curves(model, pairs, "block.1")


def test_a_model_in_train_mode_is_refused(model: Net, pairs: Pair) -> None:
    with pytest.raises(OperationError, match=r"call model\.eval\(\) first"):
        curves(model.train(), pairs)


class Whole(nn.Module):
    """Has parameters of integers, and weights that are tied."""

    def __init__(self) -> None:
        super().__init__()
        self.count = nn.Parameter(torch.tensor([1, 2]), requires_grad=False)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.first = nn.Linear(4, 4, bias=False)
            self.second = nn.Linear(4, 4, bias=False)
        self.second.weight = self.first.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.first(x).tanh()) + self.count.sum()  # type: ignore[no-any-return]


@pytest.fixture
def vectors() -> Pair:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(50, 4, generator=generator), torch.arange(50) % 4


def test_integer_parameters_are_refused(vectors: Pair) -> None:
    with pytest.raises(OperationError, match=r"count.* holds torch\.int64 values"):
        curves(Whole().eval(), vectors, "count")
    only = nn.Sequential(nn.Linear(4, 4), nn.Module())
    only[1].register_parameter("whole", nn.Parameter(torch.ones(2).long(), False))
    only[1].forward = lambda x: x
    with pytest.raises(OperationError, match=r"no floating-point.*torch\.int64"):
        curves(only.eval(), vectors, "1", perturb="prune")


@pytest.mark.parametrize("targets", [["first", "second"], ["**.weight"]])
def test_tied_weights_are_perturbed_once_and_that_is_said(
    vectors: Pair, targets: list[str]
) -> None:
    model = Whole().eval()
    result = curves(model, vectors, targets, levels=(0.5,), repeats=1)
    (point,) = result
    assert "tied: changes second.weight too" in point.note
    assert [s["cause"] for s in result.skipped] in (
        [f"its parameters are those of {point.component}: perturbed once"],
        [],  # a pattern names each parameter once
    )
    operation = ops.Noise(0.5, on="parameters")
    with surgery.ablate(model, point.component, operation), torch.no_grad():
        truth = nn.functional.cross_entropy(model(vectors[0]), vectors[1])
    assert math.isclose(point.value, float(truth), rel_tol=1e-5)


def test_a_function_must_give_a_tensor_of_the_parameters_shape(
    model: Net, pairs: Pair
) -> None:
    def short(parameter: Tensor, level: float) -> Tensor:
        return parameter[:1]

    def nothing(parameter: Tensor, level: float) -> Tensor:
        return None  # type: ignore[return-value]

    with pytest.raises(ShapeMismatchError, match=r"short returned shape \(1, 6\)"):
        curves(model, pairs, "head", perturb=short)
    with pytest.raises(OperationError, match="nothing returned NoneType for head"):
        curves(model, pairs, "head", perturb=nothing)


def test_a_function_may_write_into_what_it_is_given(model: Net, pairs: Pair) -> None:
    def careless(parameter: Tensor, level: float) -> Tensor:
        return parameter.mul_(1 + level)

    before = model.head.weight.clone()
    found = by_place(curves(model, pairs, "head", perturb=careless, levels=(1.0,)))
    assert torch.equal(model.head.weight, before)
    with surgery.ablate(model, "head", ops.Scale(2.0)), torch.no_grad():
        truth = nn.functional.cross_entropy(model(pairs[0]), pairs[1])
    assert math.isclose(found["head", 1.0].value, float(truth), rel_tol=1e-5)


def test_a_group_is_perturbed_together(model: Net, pairs: Pair) -> None:
    result = curves(model, pairs, [["blocks.0", "head"]], perturb="scale", levels=(1,))
    (point,) = result
    assert point.component == "blocks.0 + head"
    operation = ops.Scale()
    with surgery.ablate(model, ["blocks.0", "head"], operation), torch.no_grad():
        truth = nn.functional.cross_entropy(model(pairs[0]), pairs[1])
    assert math.isclose(point.value, float(truth), rel_tol=1e-5)


def test_a_level_that_breaks_the_model_counts_against_it(
    model: Net, pairs: Pair
) -> None:
    def broken(parameter: Tensor, level: float) -> Tensor:
        return parameter * math.nan if level > 0.5 else parameter

    result = curves(
        model,
        pairs,
        "head",
        perturb=broken,
        levels=(0.5, 1.0),
        metric="accuracy",
        on_error="skip",
    )
    found = by_place(result)
    assert found["head", 0.5].failed == 0 and found["head", 1.0].failed == 80
    assert found["head", 1.0].value == 0
    assert {f["component"] for f in result.failures} == {"head at 1"}


def test_one_pass_over_a_stream_is_enough_without_a_tolerance(
    model: Net, pairs: Pair
) -> None:
    def stream() -> Iterator[Pair]:
        yield from zip(pairs[0].split(40), pairs[1].split(40), strict=True)

    assert len(curves(model, stream(), levels=(0.5,))) == 3
    with pytest.raises(DataError, match="pass a list of batches or a DataLoader"):
        curves(model, stream(), tolerance=0.1)


def test_a_failing_forward_names_component_and_level(pairs: Pair) -> None:
    class Picky(Net):
        def forward(self, x: Tensor) -> Tensor:
            if float(self.head.weight.abs().max()) > 100:
                raise RuntimeError("too large")
            return super().forward(x)

    with pytest.raises(SurgeryError, match="without head at 1000, draw 0"):
        curves(Picky().eval(), pairs, "head", levels=(1000,))


def test_blocks_are_told_apart_by_effect(model: Net, pairs: Pair) -> None:
    result = curves(model, pairs, BLOCKS, perturb="prune", levels=(0.0, 0.5))
    assert {p.effect for p in result if p.level == 0} == {"none"}
    assert {p.effect for p in result if p.level == 0.5} == {"full"}
