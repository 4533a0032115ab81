"""Cuts in ResNet, ConvNeXt and DenseNet equal forwards edited by hand, bit for bit."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import timm
import torch
import torchvision
from torch import Tensor

from benchmarks.conformance.shake import shake
from surgery.testing._by_hand import At
from tests.ablation.by_hand import (
    ALL,
    PLAIN,
    Case,
    compare,
    gradients_agree,
    images,
    untouched,
)


def resnet_block(m: Any, at: At, name: str, x: Tensor) -> Tensor:
    given = x
    y = m.bn1(at(f"{name}.conv1", m.conv1(x), x))
    y = m.bn2(m.conv2(m.act1(y)))
    if m.se is not None:
        squeezed = m.se.fc1(y.mean((2, 3), keepdim=True))
        y = y * at(f"{name}.se:gate", m.se.gate(m.se.fc2(m.se.act(squeezed))))
    if m.downsample is None:
        skip = at(f"{name}:skip", x)
    else:
        skip = at(f"{name}:skip", m.downsample(x), given)
    return at(name, m.act2(at(f"{name}:branch", y, given) + skip), given)


def resnet(m: Any, at: At, x: Tensor) -> Tensor:
    x = m.maxpool(m.act1(m.bn1(m.conv1(at("input", x)))))
    for k in (1, 2, 3, 4):
        for i, block in enumerate(getattr(m, f"layer{k}")):
            x = resnet_block(block, at, f"layer{k}.{i}", x)
    return m.fc(m.global_pool(x))  # type: ignore[no-any-return]


def channels(m: Any, at: At, x: Tensor) -> Tensor:
    """The same, with a range of the channels of one convolution."""
    x = m.maxpool(m.act1(m.bn1(m.conv1(x))))
    for k in (1, 2, 3, 4):
        for i, b in enumerate(getattr(m, f"layer{k}")):
            y = b.conv1(x)
            if (k, i) == (2, 0):
                y = at.part("layer2.0.conv1:channel#3-40", y, 1, 3, 40)
            y = b.bn2(b.conv2(b.act1(b.bn1(y))))
            x = b.act2(y + (x if b.downsample is None else b.downsample(x)))
    return m.fc(m.global_pool(x))  # type: ignore[no-any-return]


def torchvision_resnet(m: Any, at: At, x: Tensor) -> Tensor:
    """Its blocks call one `relu` twice."""
    x = m.maxpool(m.relu(m.bn1(m.conv1(x))))
    for k in (1, 2, 3, 4):
        for i, b in enumerate(getattr(m, f"layer{k}")):
            name = f"layer{k}.{i}.relu"
            y = b.bn1(b.conv1(x))
            y = at(f"{name}@0", b.relu(y.clone()), y)
            y = b.bn2(b.conv2(y))
            y = y + (x if b.downsample is None else b.downsample(x))
            x = at(f"{name}@1", b.relu(y.clone()), y)
    pooled = m.avgpool(x)
    flat = at(":flatten#0", torch.flatten(pooled, 1), pooled)
    return m.fc(flat)  # type: ignore[no-any-return]


def convnext(m: Any, at: At, x: Tensor) -> Tensor:
    x = m.stem(x)
    for s, stage in enumerate(m.stages):
        x = stage.downsample(x)
        for i, b in enumerate(stage.blocks):
            name = f"stages.{s}.blocks.{i}"
            y = b.mlp(b.norm(b.conv_dw(x)))
            gamma = at(f"{name}:gate", b.gamma.reshape(1, -1, 1, 1))
            y = at(f"{name}:branch", y * gamma, x)
            x = y + at(f"{name}:skip", x)
    return m.head(x)  # type: ignore[no-any-return]


def densenet(m: Any, at: At, x: Tensor) -> Tensor:
    f = m.features
    x = f.pool0(f.norm0(f.conv0(x)))
    for k in (1, 2, 3, 4):
        name = f"features.denseblock{k}"
        grown = [x]
        for layer, b in getattr(f, f"denseblock{k}").items():
            below = f"{name}.{layer}"
            parts = [at(f"{below}:cat#0.arg{i}", part) for i, part in enumerate(grown)]
            y = b.conv1(b.norm1(torch.cat(parts, 1)))
            grown.append(at(below, b.conv2(b.norm2(y))))
        parts = [at(f"{name}:cat#0.arg{i}", part) for i, part in enumerate(grown)]
        x = torch.cat(parts, 1)
        if k < 4:
            x = getattr(f, f"transition{k}")(x)
    return m.classifier(m.global_pool(f.norm5(x)))  # type: ignore[no-any-return]


MODELS: dict[str, tuple[Any, Any]] = {
    "resnet": (lambda: timm.create_model("resnet18", num_classes=5), resnet),
    "squeezed": (
        lambda: timm.create_model(
            "resnet18", num_classes=5, block_args={"attn_layer": "se"}
        ),
        resnet,
    ),
    "channels": (lambda: timm.create_model("resnet18", num_classes=5), channels),
    "torchvision": (
        lambda: torchvision.models.resnet18(num_classes=5),
        torchvision_resnet,
    ),
    "convnext": (lambda: timm.create_model("convnext_atto", num_classes=5), convnext),
    "densenet": (
        lambda: timm.create_model(
            "densenet121", num_classes=5, growth_rate=8, block_config=(2, 3, 2, 2)
        ),
        densenet,
    ),
}


@cache
def case_of(name: str) -> Case:
    make, forward = MODELS[name]
    torch.manual_seed(0)
    model = make().eval()
    shake(model, seed=1)
    return Case(model, images(32, 2), (images(32, 3), images(32, 4)), forward)


CUTS: dict[tuple[str, str], tuple[str, ...]] = {
    ("resnet", "layer1.1:skip"): PLAIN,
    ("resnet", "layer3.1:branch"): ALL,
    ("resnet", "layer2.0:skip"): ALL,  # a projected shortcut
    ("resnet", "layer2.0:branch"): ALL,
    ("resnet", "layer4.1"): ALL,
    ("resnet", "input"): PLAIN,
    ("squeezed", "layer2.1.se:gate"): PLAIN,
    ("squeezed", "layer2.1:branch"): ALL,
    ("channels", "layer2.0.conv1:channel#3-40"): PLAIN,
    ("torchvision", "layer1.0.relu@0"): ALL,
    ("torchvision", "layer3.1.relu@1"): ALL,
    ("torchvision", ":flatten#0"): PLAIN,
    ("convnext", "stages.2.blocks.3:skip"): PLAIN,
    ("convnext", "stages.1.blocks.0:branch"): ALL,
    ("convnext", "stages.2.blocks.1:gate"): ("zero", "constant", "callable"),
    ("densenet", "features.denseblock2:cat#0.arg2"): PLAIN,
    ("densenet", "features.denseblock2.denselayer3:cat#0.arg1"): PLAIN,
    ("densenet", "features.denseblock3.denselayer1"): PLAIN,
}
TRIED = [(*cut, mode) for cut, modes in CUTS.items() for mode in modes]


@pytest.mark.parametrize("name", MODELS)
def test_the_forward_by_hand_is_the_models_own(name: str) -> None:
    untouched(case_of(name))


@pytest.mark.parametrize(("name", "target", "mode"), TRIED)
def test_a_cut_equals_the_forward_edited_by_hand(
    name: str, target: str, mode: str
) -> None:
    compare(case_of(name), target, mode)


@pytest.mark.parametrize(("name", "target"), CUTS)
def test_half_a_cut_equals_the_forward_edited_by_hand(name: str, target: str) -> None:
    compare(case_of(name), target, "noise" if "gate" not in target else "zero", 0.25)


@pytest.mark.parametrize(("name", "target"), CUTS)
def test_gradients_are_those_of_the_forward_edited_by_hand(
    name: str, target: str
) -> None:
    gradients_agree(case_of(name), target)
