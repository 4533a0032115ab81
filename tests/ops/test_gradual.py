"""Gradual changes of parameters against torch's own and against what is stated."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import prune as torch_prune

import surgery
from surgery import ops
from surgery.errors import OperationError
from surgery.ops._drawn import Drawn
from surgery.targets import resolve_group


def net(seed: int = 0) -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)).eval()


def weight_under(operation: Any, model: nn.Module | None = None, **options: Any) -> Any:
    """The first layer's weight and bias while an operation is in effect."""
    model = net() if model is None else model
    with surgery.ablate(model, "0", operation, **options):
        layer: Any = model.get_submodule("0")
        return layer.weight.detach().clone(), layer.bias.detach().clone()


@pytest.mark.parametrize(
    ("distribution", "kurtosis"), [("gaussian", 3.0), ("uniform", 1.8)]
)
def test_noise_has_the_stated_variance_and_shape(
    distribution: Any, kurtosis: float
) -> None:
    model = nn.Sequential(nn.Linear(400, 500, bias=False))
    before = model[0].weight.detach().clone()  # type: ignore[operator]
    for std, relative in ((0.3, True), (0.02, False)):
        operation = ops.Noise(std, relative, "parameters", distribution)
        with surgery.ablate(model, "0", operation):
            noise = (model[0].weight - before).detach()  # type: ignore[operator]
        wanted = std * float(before.square().mean().sqrt()) if relative else std
        assert math.isclose(float(noise.std()), wanted, rel_tol=0.01)
        assert abs(float(noise.mean())) < 0.01 * wanted
        shape = float((noise / noise.std()).pow(4).mean())
        assert math.isclose(shape, kurtosis, rel_tol=0.03)
    if distribution == "uniform":
        assert float(noise.abs().max()) <= std * math.sqrt(3) * (1 + 1e-6)


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_quantising_a_tensor_is_torchs_fake_quantisation(bits: int) -> None:
    weight, bias = weight_under(ops.Quantize(bits))
    before = net()[0].weight.detach()  # type: ignore[operator]
    top = 2 ** (bits - 1) - 1
    scale = float(before.abs().max()) / top
    truth = torch.fake_quantize_per_tensor_affine(before, scale, 0, -top, top)
    assert torch.allclose(weight, truth, rtol=1e-6, atol=0)
    assert len(weight.unique()) <= 2 * top + 1
    assert torch.equal(bias, net()[0].bias)  # type: ignore[arg-type]


@pytest.mark.parametrize("axis", [0, 1])
def test_quantising_channels_is_torchs_fake_quantisation(axis: int) -> None:
    weight, _ = weight_under(ops.Quantize(4, per="channel", axis=axis))
    before = net()[0].weight.detach()  # type: ignore[operator]
    scale = before.abs().amax([i for i in range(4) if i != axis]) / 7
    zero = torch.zeros(len(scale), dtype=torch.int32)
    truth = torch.fake_quantize_per_channel_affine(before, scale, zero, axis, -7, 7)
    assert torch.equal(weight, truth)


def test_zeros_and_half_precision_can_be_quantised() -> None:
    model = net().half()
    nn.init.zeros_(model[0].weight)  # type: ignore[arg-type]
    weight, _ = weight_under(ops.Quantize(4), model)
    assert weight.dtype == torch.float16 and not weight.any()


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 0.9, 1.0])
def test_pruning_zeroes_the_stated_share_as_torch_does(share: float) -> None:
    weight, bias = weight_under(ops.Prune(share))
    model = net()
    torch_prune.l1_unstructured(model[0], "weight", share)
    assert int((weight == 0).sum()) == round(share * weight.numel())
    assert torch.equal(weight, model[0].weight)  # type: ignore[arg-type]
    assert torch.equal(bias, model[0].bias)  # type: ignore[arg-type]


@pytest.mark.parametrize(("share", "axis"), [(0.25, 0), (0.5, 0), (0.34, 1)])
def test_pruning_channels_takes_those_of_smallest_norm(share: float, axis: int) -> None:
    weight, _ = weight_under(ops.Prune(share, structured=True, axis=axis))
    model = net()
    torch_prune.ln_structured(model[0], "weight", share, n=2, dim=axis)
    assert torch.equal(weight, model[0].weight)  # type: ignore[arg-type]


def test_more_pruning_prunes_more_of_the_same() -> None:
    some, more = (weight_under(ops.Prune(share))[0] == 0 for share in (0.3, 0.6))
    assert bool(more[some].all()) and int(more.sum()) > int(some.sum())


def test_flipping_turns_the_stated_share_and_more_of_the_same() -> None:
    before = net()[0].weight.detach()  # type: ignore[operator]
    turned = []
    for share in (0.1, 0.5):
        weight, _ = weight_under(ops.Flip(share))
        assert torch.equal(weight.abs(), before.abs())
        turned.append(weight != before)
        assert int(turned[-1].sum()) == round(share * before.numel())
    assert bool(turned[1][turned[0]].all())
    other, _ = weight_under(ops.Flip(0.1), seed=1)
    assert not torch.equal(other != before, turned[0])


def test_scaling_multiplies_and_a_dial_goes_towards_it() -> None:
    model = net()
    before = model[0].weight.detach().clone()  # type: ignore[operator]
    assert torch.equal(weight_under(ops.Scale(0.5))[0], before * 0.5)
    assert torch.allclose(weight_under(ops.Scale(), dial=0.25)[0], before * 0.75)


EACH = [
    ops.Noise(on="parameters", distribution="uniform"),
    ops.Flip(0.3),
    ops.Scale(0.3),
    ops.Quantize(3),
    ops.Prune(0.3, structured=True),
    ops.Change(lambda parameter, level: parameter + level),
]


@pytest.mark.parametrize("operation", EACH, ids=lambda op: op.mode)
def test_each_is_undone_to_the_last_bit_in_any_order(operation: Any) -> None:
    model = net()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    first = surgery.ablate(model, "0", operation)
    changed = {k: v.clone() for k, v in model.state_dict().items()}
    second = surgery.ablate(model, "0.weight", ops.Scale(2.0))
    first.restore()
    assert torch.equal(model.state_dict()["0.weight"], before["0.weight"] * 2)
    second.restore()
    after = model.state_dict()
    assert all(torch.equal(after[k], before[k]) for k in before)
    assert not torch.equal(changed["0.weight"], before["0.weight"])


@pytest.mark.parametrize("operation", EACH, ids=lambda op: op.mode)
def test_each_acts_on_one_parameter_and_is_drawn_alike_by_its_name(
    operation: Any,
) -> None:
    whole, _ = weight_under(operation)
    model = net()
    with surgery.ablate(model, "0.weight", operation):
        assert torch.equal(model.state_dict()["0.weight"], whole)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ops.Quantize(1), "from 2 to 16, got 1"),
        (lambda: ops.Quantize(17), "from 2 to 16, got 17"),
        (lambda: ops.Quantize(8, per="row"), "'tensor' or 'channel', got 'row'"),  # type: ignore[arg-type]
        (lambda: ops.Prune(1.5), r"Prune\(share=...\) is a share.*got 1\.5"),
        (lambda: ops.Flip(-0.5), r"Flip\(share=...\) is a share.*got -0\.5"),
        (
            lambda: ops.Noise(distribution="cauchy"),  # type: ignore[arg-type]
            "'gaussian' or 'uniform', got 'cauchy'",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(make: Any, message: str) -> None:
    with pytest.raises(OperationError, match=message):
        make()


@pytest.mark.parametrize(
    "operation",
    [ops.Prune(structured=True, axis=3), ops.Quantize(per="channel", axis=3)],
)
def test_an_axis_that_is_not_there_is_refused(operation: Any) -> None:
    model = nn.Sequential(nn.Linear(3, 3))
    with pytest.raises(OperationError, match=r"0\.weight has 2 axes, and no axis 3"):
        surgery.ablate(model, "0", operation)


@pytest.mark.parametrize("mode", ["quantize", "prune", "flip", "scale"])
def test_a_name_alone_says_not_how_far(mode: str) -> None:
    with pytest.raises(OperationError, match=rf"mode={mode!r} must say how far"):
        surgery.ablate(net(), "0", mode)


def test_a_norm_has_no_weights_so_its_scales_are_what_changes() -> None:
    model = net()
    with surgery.ablate(model, "1", ops.Prune(1.0)):
        assert not model.state_dict()["1.weight"].any()


# Values that are kept while they fit


def test_values_are_made_once_while_they_fit_and_anew_beyond() -> None:
    made: list[int] = []

    def counted(parameter: Tensor, level: float) -> Tensor:
        made.append(parameter.numel())
        return parameter + level

    model = net()
    (component,) = resolve_group(model, "0")
    weight = model.get_parameter("0.weight")
    drawn = Drawn(weight.nbytes)
    operation = ops.Change(counted)
    for _ in range(3):
        values = drawn.values(operation, model, component, 0)
        for tensor, value in values.items():
            assert torch.equal(value(tensor), tensor + 1)
    assert made == [216, 8, 8, 8]
    assert not drawn.fits(torch.zeros(1))
    assert drawn.values(operation, model, component, 1) is not values


LEVELS = (0.1, 0.3, 1.0)


@pytest.mark.parametrize(
    ("operations", "drawing"),
    [
        ([ops.Noise(x, on="parameters") for x in LEVELS], "randn"),
        (
            [
                ops.Noise(x, on="parameters", distribution="uniform", relative=False)
                for x in LEVELS
            ],
            "rand",
        ),
        ([ops.Flip(x) for x in LEVELS], "randperm"),
    ],
)
@pytest.mark.parametrize("room", [0, 10_000])
def test_levels_share_what_is_drawn_for_them(
    operations: list[ops.AbstractOperation],
    drawing: str,
    room: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = net()
    (component,) = resolve_group(model, "0")
    alone = [Drawn(0).values(o, model, component, 0) for o in operations]
    expected = [{t: v(t) for t, v in values.items()} for values in alone]
    draws: list[int] = []
    draw = getattr(torch, drawing)

    def counted(*args: Any, **kwargs: Any) -> Tensor:
        draws.append(1)
        drawn: Tensor = draw(*args, **kwargs)
        return drawn

    monkeypatch.setattr(torch, drawing, counted)
    drawn = Drawn(room)
    together = [drawn.values(o, model, component, 0) for o in operations]
    for _ in range(2):
        for values, wanted in zip(together, expected, strict=True):
            for tensor, value in values.items():
                assert torch.equal(value(tensor), wanted[tensor])
    parameters = len(expected[0])
    assert parameters == 2
    assert len(draws) == (parameters if room else 2 * len(LEVELS) * parameters)


def test_a_single_level_keeps_its_values() -> None:
    model = net()
    (component,) = resolve_group(model, "0")
    drawn = Drawn(10_000)
    values = drawn.values(ops.Noise(on="parameters"), model, component, 0)
    for tensor, value in values.items():
        assert value(tensor) is value(tensor)
