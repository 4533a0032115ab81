"""What a running trial tells its driver."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True)
class Logged:
    """Metrics of one step of a trial."""

    trial: str
    step: float
    metrics: Mapping[str, float]


Listener: TypeAlias = Callable[[Logged], str]
"""Takes what a trial logs; returns why it is to stop, or `""` to let it go on."""
