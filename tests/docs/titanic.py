"""What the README's study takes as given; importable from worker processes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn

from surgery.demos import _titanic_study as demo
from surgery.study import Reporter

if TYPE_CHECKING:
    import pandas as pd

REST = {"epochs": 1, "width": 8, "batch": 256}


def make_model(features: tuple[str, ...]) -> nn.Module:
    return demo.make_model({**demo.CONFIG, **REST}, features)


def make_data(seed: int) -> dict[str, pd.DataFrame]:
    return demo.make_data(seed)


def train(
    model: nn.Module,
    data: dict[str, pd.DataFrame],
    config: dict[str, Any],
    device: str,
    reporter: Reporter,
) -> dict[str, float]:
    return demo.train(model, data, {**REST, **config}, device, reporter)
