"""Specimen: a model of the zoo, built, with what goes into it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn


@dataclass(frozen=True)
class Specimen:
    """A freshly initialised model and its smallest input.

    Attributes:
        model: Not yet shaken.
        args: Positional inputs of one forward.
        kwargs: Keyword inputs of that forward.
        input: What goes in, in words.
    """

    model: nn.Module
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any] = field(default_factory=dict[str, Any])
    input: str = ""


@dataclass(frozen=True)
class Case:
    """One model of the zoo, not built yet.

    Attributes:
        name: Unique, such as `"timm.densenet121"`.
        family: What it stands for in its group, such as an entry-point module.
        group: The table it is in.
        build: Builds it under the global generator's present seed.
    """

    name: str
    family: str
    group: str
    build: Callable[[], Specimen]
