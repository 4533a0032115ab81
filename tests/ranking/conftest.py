"""A small real model and data on which rankings can be checked by hand."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import Tensor, nn


@pytest.fixture
def model() -> nn.Module:
    """A timm ResNet whose constant parameters are shaken, in eval mode."""
    return _made()


@pytest.fixture(scope="session")
def pairs() -> tuple[Tensor, Tensor]:
    """150 images and labels that the untouched model mostly gets right."""
    generator = torch.Generator().manual_seed(2)
    images = torch.randn(150, 1, 24, 24, generator=generator)
    with torch.no_grad():
        labels = _made()(images).argmax(1)
    wrong = torch.rand(150, generator=generator) < 0.3
    random = torch.randint(0, 5, (150,), generator=generator)
    return images, torch.where(wrong, random, labels)


def _made() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = timm.create_model("test_resnet", num_classes=5, in_chans=1)
        with torch.no_grad():
            for parameter in model.parameters():
                if bool((parameter == parameter.flatten()[0]).all()):
                    parameter.copy_(torch.rand(parameter.shape) * 0.8 + 0.4)
            model.get_parameter("fc.weight").normal_(std=0.05)
    return model.eval()
