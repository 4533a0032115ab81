"""What a target that names nothing is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from torch import nn

from surgery.errors import TargetError
from surgery.targets import resolve


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("layer9", "^'layer9' names nothing in this ResNet. Did you mean 'layer[1-4]'"),
        ("layer1.9", r"'layer1' has 0\.\.1\. Did you mean 'layer1"),
        ("layer1.0.conv9", "'layer1.0' has conv1, bn1, .* Did you mean 'layer1.0.conv"),
        ("layer1.0.conv1.weigth", "'layer1.0.conv1' has weight. Did you mean "
                                  "'layer1.0.conv1.weight'"),
        ("layer1.0.relu.x", "'layer1.0' has conv1"),
        ("downsample", "There is 'layer2.0.downsample'; write '[*][*].downsample'"),
        ("layer1.*.conv9", "'layer1' has 0..1. Did you mean"),
        ("zzzz", "The model has conv1, bn1, act1, maxpool, layer1, layer2, layer3, "
                 r"layer4, \.\.\."),
        ("re:zzz", "^'re:zzz' names nothing in this ResNet. The model has conv1"),
        ("bn1.running_mean", "It is a buffer; .* Its module is 'bn1'.$"),
        ("**[conv2d]", r"None of the \d+ modules at '\*\*' is a conv2d. Did you mean "
                       r"\*\*\[Conv2d\]"),
        ("conv1[Linear]", "The module at 'conv1' is not a Linear. Classes there: "
                          "Conv2d, _ConvNd"),
        ("inptu", "Did you mean 'input'"),
    ],
)  # fmt: skip
def test_the_nearest_names_are_said(resnet: nn.Module, text: str, message: str) -> None:
    with pytest.raises(TargetError, match=message):
        resolve(resnet, text)


def test_numbered_children_are_said_in_short(stack: nn.Module, swin: nn.Module) -> None:
    with pytest.raises(TargetError, match=r"'layers' has 0\.\.2"):
        resolve(stack, "layers.9")
    with pytest.raises(TargetError, match=r"'layers' has 0\.\.3"):
        resolve(swin, "layers.9")
    with pytest.raises(TargetError, match=r"'empty' has nothing in it"):
        resolve(stack, "empty.0")


def test_recorded_inputs_are_near_too(
    stack: nn.Module, make_record: Callable[..., Any]
) -> None:
    record = make_record(stack, inputs={"pixel_values": (1, 3)})
    with pytest.raises(TargetError, match="'input:pixel_values'"):
        resolve(stack, "inputs.pixel_values", record)


def test_a_model_without_children_names_its_parameters() -> None:
    with pytest.raises(TargetError, match="The model has weight, bias"):
        resolve(nn.Linear(2, 2), "layers.0")
    assert resolve(nn.Linear(2, 2), "weight")[0].path == ""
