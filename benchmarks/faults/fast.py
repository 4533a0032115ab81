"""A study of many short trials that resume from checkpoints; tells when each begins."""

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

EPOCHS, SEEDS = 4, 5
BEGUN = "begun.txt"


def make_model() -> nn.Module:
    """With dropout: what a resumed trial draws has to be what it would have drawn."""
    return nn.Sequential(
        nn.Linear(6, 16),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.Linear(16, 16),
        nn.ReLU(),
        nn.Linear(16, 3),
    )


def make_data(seed: int) -> tuple[Tensor, Tensor]:
    """Three classes; two features tell them."""
    draws = torch.Generator().manual_seed(seed)
    y = torch.arange(180) % 3
    x = torch.randn(180, 6, generator=draws)
    x[:, 0] += 2.0 * y
    x[:, 1] -= 1.0 * y
    return x, y


def train(
    model: nn.Module,
    data: tuple[Tensor, Tensor],
    config: dict[str, Any],
    reporter: Reporter,
) -> dict[str, float]:
    """Shuffled batches; each epoch is logged and checkpointed, and takes its time."""
    with open(Path(config["folder"]) / BEGUN, "a", encoding="utf-8") as file:
        file.write(f"{reporter.trial} {os.getpid()}\n")
    x, y = data
    optimizer = torch.optim.Adam(model.parameters(), lr=config["lr"])
    last = reporter.resume(model=model, optimizer=optimizer)
    for epoch in range(0 if last is None else last + 1, EPOCHS):
        for batch in torch.randperm(len(x)).split(45):
            loss = F.cross_entropy(model(x[batch]), y[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        reporter.log(epoch, loss=loss)
        reporter.checkpoint(epoch, model=model, optimizer=optimizer)
        time.sleep(config["pause"])
    model.eval()
    with torch.no_grad():
        out = model(x)
    return {
        "accuracy": (out.argmax(1) == y).double().mean().item(),
        "loss": F.cross_entropy(out, y).item(),
    }


def study(folder: Path, pause: float = 0.03) -> surgery.Study:
    """The study in a folder; where it is and how long it pauses change no result."""
    folder.mkdir(parents=True, exist_ok=True)
    made = surgery.Study(
        "faults",
        train=train,
        model=make_model,
        data=make_data,
        config={"lr": 0.01, "folder": str(folder), "pause": pause},
        metric=["accuracy", "loss"],
        direction={"loss": "min"},
        seeds=SEEDS,
        storage=folder / "study",
        ignore=("folder", "pause"),
    )
    made.layers.include("2", "3", remove="identity")
    made.features.include(0, 1, 5, remove="zero")
    made.factors.include("lr", off=0.003)
    return made
