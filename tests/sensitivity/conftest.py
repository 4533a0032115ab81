"""A small model and data on which curves can be checked by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn


class Block(nn.Module):
    """A residual block whose parts all matter."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1)
        self.norm = nn.BatchNorm2d(width)
        self.spare = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.spare(x + self.norm(self.conv(x)))  # type: ignore[no-any-return]


class Net(nn.Module):
    """A stem, a chain of blocks and a head."""

    def __init__(self, width: int = 6, blocks: int = 3) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, width, 3, padding=1)
        self.blocks = nn.Sequential(*(Block(width) for _ in range(blocks)))
        self.head = nn.Linear(width, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.blocks(self.stem(x)).mean((2, 3)))  # type: ignore[no-any-return]


def made(width: int = 6, blocks: int = 3) -> Net:
    """The model with drawn weights, in eval mode."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Net(width, blocks)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.normal_(module.running_mean)  # type: ignore[arg-type]
    return model.eval()


@pytest.fixture
def model() -> Net:
    return made()


@pytest.fixture(scope="session")
def pairs() -> tuple[Tensor, Tensor]:
    """80 images, and labels that the untouched model mostly gets right."""
    generator = torch.Generator().manual_seed(2)
    images = torch.randn(80, 1, 8, 8, generator=generator)
    with torch.no_grad():
        labels = made()(images).argmax(1)
    wrong = torch.rand(80, generator=generator) < 0.2
    return images, torch.where(
        wrong, torch.randint(0, 4, (80,), generator=generator), labels
    )
