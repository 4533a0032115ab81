"""Measuring a case: every way of it, in turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.agree import compare
from benchmarks.sweep import folder
from benchmarks.sweep.config import Case
from benchmarks.sweep.minimum import flops_of, least_flops
from benchmarks.sweep.models import make_inputs, make_model
from benchmarks.sweep.ours import UNCOUNTED, Evaluated, chosen, ours
from benchmarks.sweep.parts import parts_of
from benchmarks.sweep.peers import PEERS
from benchmarks.sweep.rows import Row
from benchmarks.sweep.timing import in_turn, pays_after, seconds_of
from benchmarks.sweep.ways import (
    AbstractWay,
    Job,
    Tuned,
    TunedChannelsLast,
    TunedCompiled,
    Unavailable,
)

RANKED = ("hooks", "replay", "fused", "auto")
AUTO = "rank, auto"


@dataclass(frozen=True)
class Settings:
    """How cases are measured.

    Attributes:
        rounds: How often every way runs, at most.
        seconds: No round after the first begins later.
        device: Where.
        layout: The memory format of image models and their inputs.
        throughput: FLOPs per second that the device was seen to do.
    """

    rounds: int
    seconds: float
    device: str
    layout: str
    throughput: float


def all_ways() -> dict[str, Callable[[Job], AbstractWay]]:
    """Every way of one batch, by name."""
    return {
        "tuned": Tuned,
        "tuned, channels last": TunedChannelsLast,
        "tuned, compiled": TunedCompiled,
        **ours(),
        **PEERS,
    }


def measure(
    case: Case, ways: Sequence[str], settings: Settings
) -> tuple[list[Row], int]:
    """The rows of a case, and how many rounds there were.

    Args:
        case: What is measured.
        ways: Which ways, by name; of those for one batch `tuned` must be the first.
        settings: How.
    """
    if case.images:
        return _measure_folder(case, settings)
    model, x = _placed(case, settings)
    parts = parts_of(model, case.model, case.parts, x)
    job = Job(model, case.model, x, parts)
    blank = Row(case.name, "", len(parts))
    known = all_ways()
    refused: list[Row] = []
    ready: dict[str, AbstractWay] = {}
    prepared: dict[str, float] = {}
    for name in ways:
        try:
            way = known[name](job)
            prepared[name] = seconds_of(way.prepare)[0]
            ready[name] = way
        except Unavailable as error:
            refused.append(replace(blank, way=name, why_not=str(error)))
    agreed: dict[str, str] = {}
    first: list[Tensor] = []

    def seen(name: str, given: list[Tensor]) -> None:
        if not first:
            first.extend(given)
        if agreed.get(name, "bitwise") == "bitwise":
            agreed[name] = compare(first, given)

    runs = {name: way.run for name, way in ready.items()}
    timed = in_turn(runs, settings.rounds, settings.seconds, seen)
    least = least_flops(model, x, parts)
    rows: list[Row] = []
    for name, way in ready.items():
        each = timed.median(name)
        evaluated = isinstance(way, Evaluated)
        once = max(0.0, prepared[name] - (each if evaluated else 0.0))
        counted = way.counted and name not in UNCOUNTED
        rows.append(
            replace(
                blank,
                way=name,
                seconds=each,
                once=once,
                ratios={"tuned": timed.ratio("tuned", name)},
                flops=flops_of(way.run) / least if counted else None,
                bound=least / settings.throughput / each,
                pays=pays_after(once, each, timed.median("tuned")),
                agrees=agreed[name],
                note=chosen(way.evaluator) if isinstance(way, Evaluated) else "",
            )
        )
    return rows + refused, len(timed.seconds["tuned"])


def _placed(case: Case, settings: Settings) -> tuple[nn.Module, Tensor]:
    model = make_model(case, settings.device)
    x = make_inputs(case, settings.device)
    if settings.layout == "channels_last" and x.ndim == 4:
        layout: Any = {"memory_format": torch.channels_last}
        model, x = model.to(**layout), x.to(**layout)
    return model, x


def _measure_folder(case: Case, settings: Settings) -> tuple[list[Row], int]:
    model, x = _placed(case, settings)
    parts = parts_of(model, case.model, case.parts, x)
    blank = Row(case.name, "", len(parts))
    ranked = folder.rankings(parts, RANKED)
    ways: dict[str, folder.Ranked] = {"usual": folder.usual, "tuned": folder.tuned}
    with TemporaryDirectory() as place:
        loader = folder.make_loader(case, folder.make_folder(case, Path(place)))
        batches = len(loader)
        scores: dict[str, list[float]] = {}
        every: dict[str, list[float]] = {}

        def seen(name: str, given: list[float]) -> None:
            scores[name] = given
            every.setdefault(name, []).append(loader.per_batch())

        runs = {
            name: partial(run, model, loader, parts)
            for name, run in {**ways, **ranked}.items()
        }
        timed = in_turn(runs, settings.rounds, settings.seconds, seen)
    each: dict[str, float] = {}
    once = dict.fromkeys(runs, 0.0)
    for name in runs:
        each[name] = timed.median(name) / batches
        if name in ranked and name != AUTO:  # which changes its way on the way
            each[name] = median(every[name])
            once[name] = max(0.0, timed.median(name) - batches * each[name])
    rows = [
        replace(
            blank,
            way=name,
            seconds=each[name],
            once=once[name],
            ratios={way: each[way] / each[name] for way in ways},
            whole={way: timed.ratio(way, name) for way in ways},
            pays=pays_after(once[name], each[name], each["usual"]),
            agrees=_agreement(scores["usual"], scores[name]),
        )
        for name in each
    ]
    return rows, len(timed.seconds["usual"])


def _agreement(expected: Sequence[float], given: Sequence[float]) -> str:
    worst = max(abs(a - b) for a, b in zip(expected, given, strict=True))
    return "equal" if worst < 1e-9 else f"no: {worst:.3f}"
