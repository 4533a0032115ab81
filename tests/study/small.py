"""A study that trains in a fraction of a second; importable from worker processes."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import surgery
from surgery.study import Reporter

CONFIG: dict[str, Any] = {
    "lr": 0.01,
    "epochs": 3,
    "width": 16,
    "loss": {"smoothing": 0.1},
    "log_dir": "here",
}


class Net(nn.Module):
    def __init__(self, features: int, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(features, width)
        self.fc2 = nn.Linear(width, width)
        self.drop = nn.Dropout(0.1)
        self.fc3 = nn.Linear(width, 3)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.drop(self.fc2(self.fc1(x).relu()).relu())
        out: Tensor = self.fc3(hidden)
        return out


def make_model(config: dict[str, Any], features: tuple[str, ...]) -> nn.Module:
    return Net(6 - len(features), config["width"])


def make_wide(config: dict[str, Any]) -> nn.Module:
    return Net(6, 4 * config["width"])


def make_data() -> dict[str, tuple[Tensor, Tensor]]:
    """Three classes; features 0 and 1 tell them, the others are noise."""
    draws = torch.Generator().manual_seed(0)
    y = torch.arange(240) % 3
    x = torch.randn(240, 6, generator=draws)
    x[:, 0] += 2.0 * y
    x[:, 1] -= 1.0 * y
    return {"train": (x[:180], y[:180]), "test": (x[180:], y[180:])}


def train(
    model: nn.Module,
    data: dict[str, tuple[Tensor, Tensor]],
    config: dict[str, Any],
    reporter: Reporter,
) -> dict[str, float]:
    x, y = data["train"]
    optimizer = torch.optim.Adam(model.parameters(), lr=config["lr"])
    for epoch in range(config["epochs"]):
        for batch in torch.randperm(len(x)).split(45):
            smoothing = config["loss"]["smoothing"]
            loss = F.cross_entropy(model(x[batch]), y[batch], label_smoothing=smoothing)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        reporter.log(epoch, loss=loss)
    model.eval()
    x, y = data["test"]
    with torch.no_grad():
        right = (model(x).argmax(1) == y).float()
    return {"accuracy": right.mean().item(), "spread": right.std().item()}


def train_until_killed(
    model: nn.Module,
    data: dict[str, tuple[Tensor, Tensor]],
    config: dict[str, Any],
    reporter: Reporter,
    component: str | None,
) -> dict[str, float]:
    """Kills its own process the first time that it trains a certain arm."""
    mark = Path(config["log_dir"]) / "killed"
    if component == "fc2" and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), 9)
    return train(model, data, config, reporter)


def train_until_killed_with_a_child(
    model: nn.Module,
    data: dict[str, tuple[Tensor, Tensor]],
    config: dict[str, Any],
    reporter: Reporter,
    component: str | None,
) -> dict[str, float]:
    """Leaves a process behind that holds everything open, then kills its own."""
    mark = Path(config["log_dir"]) / "child"
    if component == "fc2" and not mark.exists():
        child = os.fork()
        if not child:
            time.sleep(600)
            os._exit(0)
        mark.write_text(str(child))
        os.kill(os.getpid(), 9)
    return train(model, data, config, reporter)


def train_slowly(
    model: nn.Module,
    data: dict[str, tuple[Tensor, Tensor]],
    config: dict[str, Any],
    reporter: Reporter,
) -> dict[str, float]:
    """Leaves a mark that it has begun, and takes its time; goes on from checkpoints."""
    folder = Path(config["log_dir"])
    optimizer = torch.optim.Adam(model.parameters(), lr=config["lr"])
    last = reporter.resume(model=model, optimizer=optimizer)
    x, y = data["train"]
    for epoch in range(0 if last is None else last + 1, config["epochs"]):
        for batch in torch.randperm(len(x)).split(45):
            loss = F.cross_entropy(model(x[batch]), y[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        reporter.log(epoch, loss=loss)
        reporter.checkpoint(epoch, model=model, optimizer=optimizer)
        with open(folder / "epochs.txt", "a") as file:
            file.write(f"{os.getpid()} {reporter.trial} {epoch}\n")
        time.sleep(float(config.get("pause", 0)))
    model.eval()
    with torch.no_grad():  # not of the last step: it may have been an earlier attempt's
        return {"accuracy": F.cross_entropy(model(x), y).item()}


def study(storage: Path, **options: Any) -> surgery.Study:
    """The study without anything left out."""
    given: dict[str, Any] = {
        "train": train,
        "model": make_model,
        "data": make_data,
        "config": CONFIG,
        "metric": "accuracy",
        "seeds": 2,
        "storage": storage,
        "trackers": (),
    }
    return surgery.Study("small", **(given | options))


def slow_study(folder: Path, pause: float) -> surgery.Study:
    """Two arms with two seeds, whose pause does not determine what comes out."""
    config = {**CONFIG, "log_dir": str(folder), "pause": pause}
    made = study(
        folder / "study",
        train=train_slowly,
        config=config,
        ignore=("log_dir", "pause"),
    )
    made.layers.include("fc2")
    return made
