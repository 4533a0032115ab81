"""Means and donors from one pass over data, against means taken by hand."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

import surgery
from surgery.errors import DataError, OperationError, ShapeMismatchError

G = torch.Generator().manual_seed(0)
IMAGES = torch.randn(7, 3, 6, 5, generator=G)
# Batches of unequal size: a mean of batch means would be wrong.
UNEQUAL = [(IMAGES[:4], None), (IMAGES[4:6], None), (IMAGES[6:], None)]


def conv() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU())


def test_the_mean_activation_is_over_samples() -> None:
    model = conv()
    wanted = model(IMAGES).double().mean(0).float()
    with surgery.ablate(model, "1", "mean", data=UNEQUAL):
        out = model(IMAGES[:2])
    torch.testing.assert_close(out, wanted.expand(2, -1, -1, -1))


@pytest.mark.parametrize(
    ("shape", "axis", "reduced"),
    [
        ((7, 5), None, (0,)),
        ((7, 4, 6, 5), None, (0, 2, 3)),
        ((7, 9, 4), None, (0, 1)),
        ((7, 5, 5, 4), None, (0, 1, 2)),
        ((7, 4, 6, 5), 3, (0, 1, 2)),
        ((7, 4, 6, 5), -2, (0, 1, 3)),
    ],
)
def test_the_mean_per_channel_is_over_samples_and_positions(
    shape: tuple[int, ...], axis: int | None, reduced: tuple[int, ...]
) -> None:
    x = torch.randn(*shape, generator=G)
    data = [(x[:4], None), (x[4:], None)]
    mode = surgery.ops.Mean(over="channel", axis=axis)
    model = nn.Sequential(nn.Identity())
    with surgery.ablate(model, "0", mode, data=data):
        out = model(x)
    torch.testing.assert_close(out, x.mean(reduced, keepdim=True).expand_as(x))


def test_one_shot_data_is_read_once_and_each_batch_loaded_once() -> None:
    loaded: list[int] = []

    def stream() -> Iterator[Any]:
        for i, batch in enumerate(UNEQUAL):
            loaded.append(i)
            yield batch

    model = conv()
    with surgery.ablate(model, ["0", "1"], "mean", data=stream()):
        model(IMAGES)
    assert loaded == [0, 1, 2]


def test_a_mean_in_half_precision_is_summed_in_double() -> None:
    x = torch.full((4096, 1), 1.001, dtype=torch.bfloat16)
    model = nn.Sequential(nn.Identity())
    with surgery.ablate(model, "0", "mean", data=[(x, None)]):
        out = model(x)
    assert out.dtype == torch.bfloat16 and torch.equal(out, x)


def test_shapes_that_change_have_no_mean_per_position_but_one_per_channel() -> None:
    model = conv()
    data = [(IMAGES, None), (IMAGES[..., :4], None)]
    with pytest.raises(ShapeMismatchError, match=r"use .*Mean\(over='channel'\)"):
        surgery.ablate(model, "1", "mean", data=data)
    a, b = (model(x).transpose(0, 1).flatten(1) for x, _ in data)
    wanted = torch.cat([a, b], 1).mean(1)
    mode = surgery.ops.Mean(over="channel")
    with surgery.ablate(model, "1", mode, data=data):
        out = model(IMAGES)
    torch.testing.assert_close(out, wanted.view(1, -1, 1, 1).expand_as(out))


def test_an_output_of_another_shape_than_the_data_s_is_refused() -> None:
    model = conv()
    one_pixel = IMAGES[:, :, :3, :3]
    with (
        pytest.raises(ShapeMismatchError, match=r"\(8, 1, 1\) per sample.*\(8, 4, 3\)"),
        surgery.ablate(model, "1", "mean", data=[(one_pixel, None)]),
    ):
        model(IMAGES)  # (1, 1) would broadcast, and mean something else


def test_a_mean_of_integers_is_refused() -> None:
    model = nn.Sequential(nn.Identity())
    x = torch.arange(6).view(3, 2)
    with pytest.raises(OperationError, match="use mode='zero' or mode='resample'"):
        surgery.ablate(model, "0", "mean", data=[(x, None)])


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.act = nn.ReLU()
        self.times = 2

    def forward(self, x: Tensor) -> list[Tensor]:
        out: list[Tensor] = []
        for _ in range(self.times):
            x = self.act(x + 1)
            out.append(x)
        return out


def test_each_call_site_has_a_mean_of_its_own() -> None:
    model = Twice()
    x = torch.rand(5, 3, generator=G)
    first, second = (y.mean(0, keepdim=True).expand_as(y) for y in model(x))
    with surgery.ablate(model, "act", "mean", data=[(x, None)]) as op:
        for _ in range(2):
            a, b = model(x)
            torch.testing.assert_close(a, first)
            torch.testing.assert_close(b, second)
        assert next(iter(op.effect())).fired == 4
    with surgery.ablate(model, "act@1", "mean", data=[(x, None)]) as op:
        a, b = model(x)
        assert torch.equal(a, x + 1)
        torch.testing.assert_close(b, second)
        assert next(iter(op.effect())).fired == 1


def test_a_call_that_the_data_never_reached_has_no_mean() -> None:
    model = Twice()
    x = torch.rand(5, 3)
    with surgery.ablate(model, "act", "mean", data=[(x, None)]):
        model.times = 3
        with pytest.raises(DataError, match="ran more often in this forward"):
            model(x)


def test_gathering_leaves_buffers_and_generators_alone() -> None:
    model = nn.Sequential(nn.BatchNorm2d(3), nn.Dropout()).train()
    state = {k: v.clone() for k, v in model.state_dict().items()}
    rng = torch.get_rng_state()
    surgery.ablate(model, "1", "mean", data=UNEQUAL).restore()
    assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), rng)


def test_donors_from_data_are_other_samples_of_it() -> None:
    model = conv()
    own = model(IMAGES)
    with surgery.ablate(model, "1", "resample", data=UNEQUAL):
        for _ in range(5):
            out = model(IMAGES)
            matches = (out[:, None] - own[None]).abs().flatten(2).amax(2) < 1e-5
            assert bool(matches.any(1).all()), "each is a sample of the data"
            assert not bool(matches.diagonal().any()), "none is its own donor"


def test_donors_in_low_precision_are_other_samples_too() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 64)).bfloat16()
    x = torch.randn(9, 64).bfloat16()
    own = model(x)
    with surgery.ablate(model, "0", "resample", data=[(r[None], None) for r in x]):
        for _ in range(10):
            gap = (model(x) - own).float().abs().amax(1)
            assert bool((gap > 0.2).all())


def test_the_reservoir_keeps_each_sample_equally_often() -> None:
    x = torch.arange(20.0).view(20, 1)
    model = nn.Sequential(nn.Identity())
    counts = torch.zeros(20)
    for seed in range(200):
        mode = surgery.ops.Resample(donors=5)
        op = surgery.ablate(model, "0", mode, data=[(x, None)], seed=seed)
        pool: Any = op._variant.edits[0].statistics[0]
        op.restore()
        kept = pool._pool.flatten().long()
        assert len(set(kept.tolist())) == 5
        counts[kept] += 1
    assert 25 < counts.min() and counts.max() < 80  # 50 expected


def test_one_donor_is_not_enough() -> None:
    model = conv()
    with (
        pytest.raises(DataError, match="at least two samples"),
        surgery.ablate(model, "1", "resample", data=[(IMAGES[:1], None)]),
    ):
        model(IMAGES[:1])


def test_donors_of_another_shape_are_refused() -> None:
    model = conv()
    with (
        pytest.raises(ShapeMismatchError, match="pass data of the same size"),
        surgery.ablate(model, "1", "resample", data=UNEQUAL),
    ):
        model(IMAGES[..., :4])
    mixed = [(IMAGES, None), (IMAGES[..., :4], None)]
    with pytest.raises(ShapeMismatchError, match="pass data of one size"):
        surgery.ablate(model, "1", "resample", data=mixed)


def test_windows_of_one_sample_travel_together() -> None:
    torch.manual_seed(0)
    model = timm.create_model(
        "swin_tiny_patch4_window7_224",
        depths=(1,),
        embed_dim=12,
        num_heads=(1,),
        img_size=56,
        num_classes=2,
    ).eval()
    x = torch.randn(3, 3, 56, 56)
    target = "layers.0.blocks.0.attn"
    seen: list[Tensor] = []
    hook = model.get_submodule(target).register_forward_hook(
        lambda module, args, output: seen.append(output)
    )
    with surgery.ablate(model, target, "resample"):
        model(x)
    hook.remove()
    own = seen[0].view(3, 4, -1)
    watched: list[Tensor] = []
    hook = model.get_submodule("layers.0.blocks.0.drop_path1").register_forward_hook(
        lambda module, args, output: watched.append(args[0])
    )
    with surgery.ablate(model, target, "resample"):
        model(x)
    hook.remove()
    assert seen[0].shape[0] == 12, "windows lie in the batch axis"
    plain = _windows(watched[0])
    matches = (plain[:, None] - own[None]).abs().flatten(2).amax(2) < 1e-6
    assert bool((matches.sum(1) == 1).all()) and not bool(matches.diagonal().any())


def _windows(x: Tensor) -> Tensor:
    b, h, w, c = x.shape
    parts = x.view(b, h // 7, 7, w // 7, 7, c).permute(0, 1, 3, 2, 4, 5)
    return parts.reshape(b, 4, -1)
