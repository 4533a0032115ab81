"""Recipe: everything that trials of one study have in common, to send to workers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Factories:
    """The functions of one tier.

    Attributes:
        model: Makes the model, or is one, of which every trial gets a copy.
        data: Makes the data, or is the data.
        train: Trains, and returns metrics.
    """

    model: Any
    data: Any
    train: Callable[..., Any]


@dataclass(frozen=True)
class Recipe:
    """What it takes to run any trial of a study, anywhere; pickles if they do.

    Attributes:
        name: The study's.
        folder: Where its files are; each trial has a folder of its own in it.
        tiers: Factories by the name of the tier; `""` where there is one.
        metrics: Names of the metrics that every trial must return.
        inputs: An example input of the model, or a function that makes one.
    """

    name: str
    folder: Path
    tiers: Mapping[str, Factories]
    metrics: tuple[str, ...]
    inputs: Any = field(default=None)

    def trial_folder(self, trial: str) -> Path:
        return self.folder / "trials" / trial

    def log_path(self, trial: str) -> Path:
        return self.trial_folder(trial) / "log.txt"
