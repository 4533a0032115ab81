"""Which axis holds the channels, against what modules do to it."""

from __future__ import annotations

import pytest
import torch
from timm.layers.norm import LayerNorm, LayerNorm2d
from torch import Tensor, nn
from torchvision.models import convnext

from surgery.anatomy import channel_axis, channel_axis_of, output_channels

CASES: list[tuple[nn.Module, tuple[int, ...], int]] = [
    (nn.Conv1d(3, 5, 1), (2, 3, 7), 1),
    (nn.Conv2d(3, 5, 1), (2, 3, 7, 7), 1),
    (nn.Conv2d(3, 5, 1), (3, 7, 7), 0),
    (nn.ConvTranspose2d(3, 5, 1), (2, 3, 5, 5), 1),
    (nn.Conv3d(3, 5, 1), (2, 3, 4, 5, 5), 1),
    (nn.BatchNorm1d(5), (2, 5), 1),
    (nn.BatchNorm1d(5), (2, 5, 9), 1),
    (nn.BatchNorm2d(5), (2, 5, 5, 9), 1),
    (nn.InstanceNorm2d(5, affine=True), (2, 5, 5, 9), 1),
    (nn.GroupNorm(1, 5), (2, 5, 3), 1),
    (nn.Linear(3, 5), (2, 3), 1),
    (nn.Linear(3, 5), (2, 4, 4, 3), 3),
    (nn.LayerNorm(5), (2, 7, 5), 2),
    (nn.LayerNorm(5), (2, 5, 9, 5), 3),
    (LayerNorm2d(5), (2, 5, 7, 9), 1),
    (LayerNorm2d(5), (2, 5, 7, 5), 1),
    (convnext.LayerNorm2d(5), (2, 5, 7, 9), 1),
    (LayerNorm(5), (2, 5, 9, 5), 3),
]


@pytest.mark.parametrize(("module", "shape", "axis"), CASES)
def test_the_axis_is_the_one_whose_parameters_scale_it(
    module: nn.Module, shape: tuple[int, ...], axis: int
) -> None:
    """Truth by experiment: scaling channel 2's weights moves channel 2 alone."""
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    before: Tensor = module(x)
    weight = module.get_parameter("weight")
    rows = 1 if isinstance(module, nn.ConvTranspose2d) else 0
    with torch.no_grad():
        weight.narrow(rows, 2, 1).add_(1)
    moved = module(x) != before
    others = [a for a in range(moved.ndim) if a != axis]
    assert moved.any(dim=others).tolist() == [i == 2 for i in range(5)]
    assert channel_axis(module, before) == axis
    assert output_channels(module) == before.shape[axis] == 5


def test_an_embedding_has_its_features_last() -> None:
    module = nn.Embedding(9, 5)
    assert channel_axis(module, module(torch.zeros(2, 3).long())) == 2
    assert output_channels(module) == 5


@pytest.mark.parametrize(
    ("shape", "axis"),
    [
        ((2, 8), 1),
        ((2, 9, 8), 2),
        ((2, 8, 7, 7), 1),
        ((2, 7, 7, 8), 3),
        ((2, 7, 7, 7), 1),
        ((2, 8, 4, 7, 7), 1),
    ],
)
def test_elsewhere_the_shape_tells(shape: tuple[int, ...], axis: int) -> None:
    assert channel_axis_of(nn.ReLU(), shape) == channel_axis_of(None, shape) == axis
    assert output_channels(nn.ReLU()) is None


def test_a_lazy_layer_does_not_yet_know_its_channels() -> None:
    assert output_channels(nn.LazyBatchNorm1d()) is None
