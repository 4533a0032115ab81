"""Timing: ways in turn, several rounds in one process; medians and ratios."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch


@dataclass
class Timed:
    """Seconds of ways that took turns.

    Attributes:
        seconds: By way, one number per round.
    """

    seconds: dict[str, list[float]] = field(default_factory=dict[str, list[float]])

    def median(self, way: str) -> float:
        """Seconds of a way in a typical round."""
        return statistics.median(self.seconds[way])

    def ratio(self, against: str, way: str) -> float:
        """How many times as fast a way is as another: the median over rounds."""
        pairs = zip(self.seconds[against], self.seconds[way], strict=True)
        return statistics.median(theirs / ours for theirs, ours in pairs)


def in_turn(
    ways: Mapping[str, Callable[[], Any]],
    rounds: int,
    seconds: float,
    seen: Callable[[str, Any], None],
) -> Timed:
    """Run every way once per round, each round beginning with another one.

    Args:
        ways: What runs, by name.
        rounds: How often, at most.
        seconds: No round after the first begins later.
        seen: Given every way's result, outside of its time.
    """
    timed = Timed({way: [] for way in ways})
    began = time.perf_counter()
    names = list(ways)
    for turn in range(rounds):
        if turn and time.perf_counter() - began > seconds:
            break
        start = turn % len(names)
        for way in (*names[start:], *names[:start]):
            took, result = seconds_of(ways[way])
            timed.seconds[way].append(took)
            seen(way, result)
    return timed


def seconds_of(run: Callable[[], Any]) -> tuple[float, Any]:
    """How long a call takes, the device's work with it, and what it gives."""
    _wait()
    start = time.perf_counter()
    result = run()
    _wait()
    return time.perf_counter() - start, result


def pays_after(once: float, each: float, theirs: float) -> float | None:
    """After how many batches what was done once has been won back.

    Args:
        once: Seconds that were spent once.
        each: Seconds per batch afterwards.
        theirs: Seconds per batch without.
    """
    return once / (theirs - each) if theirs > each else None


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def throughput(device: str) -> float:
    """FLOPs per second of the best of a large matrix product and a convolution."""
    a = torch.randn(1024, 1024, device=device)
    image = torch.randn(8, 128, 56, 56, device=device)
    kernel = torch.randn(128, 128, 3, 3, device=device)
    work = {
        2 * 1024**3: lambda: a @ a,
        2 * 8 * 56 * 56 * 128 * 128 * 9: lambda: torch.conv2d(image, kernel, padding=1),
    }
    best = 0.0
    with torch.inference_mode():
        for flops, run in work.items():
            took = min(seconds_of(run)[0] for _ in range(8))
            best = max(best, flops / took)
    return best
