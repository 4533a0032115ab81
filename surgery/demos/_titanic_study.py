"""The study of `surgery demo titanic`: features, layers, groups and another model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import surgery
from surgery.demos._titanic import split_titanic
from surgery.study import Reporter

if TYPE_CHECKING:
    import pandas as pd

CONFIG: dict[str, Any] = {"lr": 0.01, "epochs": 30, "width": 32, "batch": 128}
SEEDS = 8
COLUMNS = 6  # four of class, sex, age


class Passengers(nn.Module):
    """Four hidden layers of one width, each of which can be missing."""

    def __init__(self, columns: int, width: int) -> None:
        super().__init__()
        self.enter = nn.Linear(columns, width)
        self.fc2 = nn.Linear(width, width)
        self.fc3 = nn.Linear(width, width)
        self.fc4 = nn.Linear(width, width)
        self.leave = nn.Linear(width, 1)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.enter(x).relu()
        for layer in (self.fc2, self.fc3, self.fc4):
            hidden = layer(hidden).relu()
        out: Tensor = self.leave(hidden)[:, 0]
        return out


class Straight(nn.Module):
    """No hidden layer: a logistic regression."""

    def __init__(self, columns: int) -> None:
        super().__init__()
        self.only = nn.Linear(columns, 1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.only(x)[:, 0]
        return out


def make_model(config: dict[str, Any], features: tuple[str, ...]) -> nn.Module:
    """The base model, for what is left of the columns."""
    return Passengers(COLUMNS - len(features), config["width"])


def make_straight(features: tuple[str, ...]) -> nn.Module:
    return Straight(COLUMNS - len(features))


def make_data(seed: int) -> dict[str, pd.DataFrame]:
    return split_titanic(seed)


def tensors(frame: pd.DataFrame) -> tuple[Tensor, Tensor]:
    """What there is to go by, and who survived."""
    x = torch.tensor(frame.drop(columns="survived").to_numpy(), dtype=torch.float32)
    return x, torch.tensor(frame["survived"].to_numpy(), dtype=torch.float32)


def example(data: dict[str, pd.DataFrame]) -> Tensor:
    return tensors(data["train"].iloc[:8])[0]


def train(
    model: nn.Module,
    data: dict[str, pd.DataFrame],
    config: dict[str, Any],
    device: str,
    reporter: Reporter,
) -> dict[str, float]:
    """Plain training; the metrics of the test rows."""
    x, y = (tensor.to(device) for tensor in tensors(data["train"]))
    optimizer = torch.optim.AdamW(model.parameters(), lr=config["lr"])
    steps = config["epochs"] * -(-len(x) // config["batch"])
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    loss = torch.zeros(())
    for epoch in range(config["epochs"]):
        for batch in torch.randperm(len(x)).split(config["batch"]):
            loss = F.binary_cross_entropy_with_logits(model(x[batch]), y[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        reporter.log(epoch, loss=loss)
    return scores(model, *(tensor.to(device) for tensor in tensors(data["test"])))


@torch.no_grad()
def scores(model: nn.Module, x: Tensor, y: Tensor) -> dict[str, float]:
    """Two metrics of what is decided, one of how sure the model is."""
    model.eval()
    logits = model(x)
    told, true = logits > 0, y > 0.5
    hits = (told & true).sum().item()
    said = told.sum().item() + true.sum().item()
    return {
        "accuracy": (told == true).float().mean().item(),
        "f1": 2 * hits / said if said else 1.0,
        "log_loss": F.binary_cross_entropy_with_logits(logits, y).item(),
    }


def make_study(storage: Path, seeds: int = SEEDS, **config: Any) -> surgery.Study:
    """What is left out: features and groups of them, layers and groups, the depth."""
    study = surgery.Study(
        "titanic",
        train=train,
        model=make_model,
        data=make_data,
        config=CONFIG | config,
        metric={"decisions": ["accuracy", "f1"], "probabilities": ["log_loss"]},
        direction={"log_loss": "min"},
        seeds=seeds,
        storage=storage,
        inputs=example,
    )
    study.features.include("sex", expect="worse", why="women first")
    study.features.include("age", expect="worse", why="and children")
    study.features.include_groups(["sex", "age"])
    study.features.include_groups(prefix="class_")
    study.layers.include("fc2", "fc3", "fc4")
    study.layers.include_groups(["fc2", "fc4"], prefix="fc")
    study.models.include("straight", make_straight)
    return study
