"""A study of a small convolutional network on handwritten digits: real training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import surgery
from surgery.demos import load_digits
from surgery.study import Reporter

BATCH = 64
LAYERS = ("conv2", "conv3", "drop", "hidden")


class Net(nn.Module):
    """Three convolutions and two linear layers; those of `LAYERS` can be missing."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 24, 3, padding=1)
        self.conv2 = nn.Conv2d(24, 24, 3, padding=1)
        self.conv3 = nn.Conv2d(24, 24, 3, padding=1)
        self.hidden = nn.Linear(24 * 16, 24 * 16)
        self.drop = nn.Dropout(0.1)
        self.out = nn.Linear(24 * 16, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(x).relu()
        x = self.conv3(self.conv2(x).relu()).relu()
        x = F.adaptive_avg_pool2d(x, 4).flatten(1)
        out: Tensor = self.out(self.drop(self.hidden(x).relu()))
        return out


def make_model() -> nn.Module:
    return Net()


def make_data() -> dict[str, tuple[Tensor, Tensor]]:
    return {
        "train": load_digits("train", size=(16, 16)),
        "test": load_digits("test", size=(16, 16)),
    }


def train(
    model: nn.Module,
    data: dict[str, tuple[Tensor, Tensor]],
    config: dict[str, Any],
    reporter: Reporter,
) -> dict[str, float]:
    """Epochs over shuffled batches; each is logged."""
    x, y = data["train"]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for epoch in range(config["epochs"]):
        for batch in torch.randperm(len(x)).split(BATCH):
            loss = F.cross_entropy(model(x[batch]), y[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        reporter.log(epoch, loss=loss)
    model.eval()
    x, y = data["test"]
    with torch.no_grad():
        out = model(x)
    return {
        "accuracy": (out.argmax(1) == y).double().mean().item(),
        "loss": F.cross_entropy(out, y).item(),
    }


def study(folder: Path, epochs: int, seeds: int, layers: int) -> surgery.Study:
    """The base and so many layers, each held as identity from the start."""
    made = surgery.Study(
        "digits",
        train=train,
        model=make_model,
        data=make_data,
        config={"epochs": epochs},
        metric=["accuracy", "loss"],
        direction={"loss": "min"},
        seeds=seeds,
        storage=folder,
    )
    made.layers.include(LAYERS[:layers], remove="identity")
    return made
