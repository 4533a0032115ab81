"""The networks of the experiments: frozen shapes that build themselves."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn

CLASSES, SIDE = 10, 8


class AbstractShape(ABC):
    """What a network looks like; its `repr` says all of it."""

    @abstractmethod
    def build(self) -> nn.Module:
        """A new network, drawn from the global generator."""


@dataclass(frozen=True)
class ResidualShape(AbstractShape):
    """A ResNet as He et al. (2015) made for small images: three stages of 3x3 blocks.

    Stages halve the resolution and double the channels; shortcuts have no parameters.
    """

    blocks: int
    width: int

    def build(self) -> nn.Module:
        return ResidualNet(self)


@dataclass(frozen=True)
class PlainShape(AbstractShape):
    """The same stages without shortcuts: layers of convolution, BatchNorm, ReLU."""

    layers: int
    width: int

    def build(self) -> nn.Module:
        return PlainNet(self)


@dataclass(frozen=True)
class DenseShape(AbstractShape):
    """Fully connected layers of one width, ReLU between them."""

    layers: int
    width: int

    def build(self) -> nn.Module:
        return DenseNet(self)


@dataclass(frozen=True)
class LinearShape(AbstractShape):
    """Residual blocks without any non-linearity."""

    blocks: int
    width: int

    def build(self) -> nn.Module:
        return LinearNet(self)


@dataclass(frozen=True)
class TransformerShape(AbstractShape):
    """timm's vision transformer on patches of 2x2 pixels, without dropout."""

    blocks: int
    width: int
    heads: int

    def build(self) -> nn.Module:
        from timm.models.vision_transformer import VisionTransformer

        model = VisionTransformer(
            img_size=SIDE,
            patch_size=2,
            in_chans=1,
            num_classes=CLASSES,
            global_pool="avg",
            class_token=False,
            embed_dim=self.width,
            depth=self.blocks,
            num_heads=self.heads,
            mlp_ratio=2,
            weight_init="skip",  # the layers' own: timm's is for far larger widths
        )
        # As large as patches: at timm's 0.02 few images never show where a patch is.
        nn.init.normal_(cast("Tensor", model.pos_embed), std=0.5)
        return cast("nn.Module", model)


class Shortcut(nn.Module):
    """Every other pixel, and channels of zeros: without parameters."""

    def __init__(self, stride: int, more: int) -> None:
        super().__init__()
        self.stride, self.more = stride, more

    def forward(self, x: Tensor) -> Tensor:
        if self.stride == 1 and not self.more:
            return x
        strided = x[:, :, :: self.stride, :: self.stride]
        return F.pad(strided, (0, 0, 0, 0, 0, self.more))


class Block(nn.Module):
    """Two convolutions and a shortcut around them."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = Shortcut(stride, outputs - inputs)

    def forward(self, x: Tensor) -> Tensor:
        branch = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(self.shortcut(x) + branch)


class ResidualNet(nn.Module):
    """Stem, three stages, average, classes."""

    def __init__(self, shape: ResidualShape) -> None:
        super().__init__()
        width = shape.width
        self.stem = nn.Conv2d(1, width, 3, 1, 1, bias=False)
        self.bn = nn.BatchNorm2d(width)
        self.stages = nn.ModuleList()
        for stage in range(3):
            outputs = shape.width << stage
            first = Block(width, outputs, 1 if stage == 0 else 2)
            rest = [Block(outputs, outputs, 1) for _ in range(shape.blocks - 1)]
            self.stages.append(nn.Sequential(first, *rest))
            width = outputs
        self.head = nn.Linear(width, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn(self.stem(x)))
        for stage in self.stages:
            x = stage(x)
        logits: Tensor = self.head(x.mean((2, 3)))
        return logits


class Layer(nn.Module):
    """Convolution, BatchNorm, ReLU."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)))


class PlainNet(nn.Module):
    """Three stages of layers, average, classes."""

    def __init__(self, shape: PlainShape) -> None:
        super().__init__()
        width = 1
        self.stages = nn.ModuleList()
        for stage in range(3):
            outputs = shape.width << stage
            first = Layer(width, outputs, 1 if stage == 0 else 2)
            rest = [Layer(outputs, outputs, 1) for _ in range(shape.layers - 1)]
            self.stages.append(nn.Sequential(first, *rest))
            width = outputs
        self.head = nn.Linear(width, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        for stage in self.stages:
            x = stage(x)
        logits: Tensor = self.head(x.mean((2, 3)))
        return logits


class DenseNet(nn.Module):
    """Hidden layers, classes."""

    def __init__(self, shape: DenseShape) -> None:
        super().__init__()
        widths = [SIDE * SIDE] + [shape.width] * shape.layers
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        self.head = nn.Linear(widths[-1], CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        for layer in self.layers:
            x = F.relu(layer(x))
        logits: Tensor = self.head(x)
        return logits


class LinearBlock(nn.Module):
    """A linear map and a shortcut around it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.map = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        mapped: Tensor = self.map(x)
        return x + mapped


class LinearNet(nn.Module):
    """Linear maps only, with shortcuts."""

    def __init__(self, shape: LinearShape) -> None:
        super().__init__()
        self.stem = nn.Linear(SIDE * SIDE, shape.width)
        self.blocks = nn.ModuleList(
            LinearBlock(shape.width) for _ in range(shape.blocks)
        )
        self.head = nn.Linear(shape.width, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x.flatten(1))
        for block in self.blocks:
            x = block(x)
        logits: Tensor = self.head(x)
        return logits
