"""Rankings of sets of parts, and of one part more at a time."""

from __future__ import annotations

import random
from collections.abc import Sequence

from torch import nn

import surgery
from benchmarks.published.training import Batches
from surgery.ops import ModeLike

Sets = Sequence[Sequence[str]]


def accuracy_without(
    model: nn.Module, data: Batches, sets: Sets, mode: ModeLike = "zero"
) -> list[float]:
    """Accuracy without each set of parts, in the order given; as it is without none."""
    wanted = list(dict.fromkeys(tuple(sorted(parts)) for parts in sets if parts))
    ranking = surgery.rank(
        model, data, list(map(list, wanted)), mode=mode, progress=False
    )
    # A group is called by its members.
    found = {row.component: row.value for row in ranking}
    baseline = ranking.rows[0].baseline
    return [found[" + ".join(sorted(parts))] if parts else baseline for parts in sets]


def random_orders(parts: Sequence[str], draws: int, seed: int) -> list[list[str]]:
    """The parts in so many random orders."""
    rng = random.Random(seed)
    return [rng.sample(parts, len(parts)) for _ in range(draws)]


def along(
    model: nn.Module,
    data: Batches,
    orders: Sets,
    counts: Sequence[int],
    mode: ModeLike = "zero",
) -> list[list[float]]:
    """Accuracy without the first k parts of each order: a row per order."""
    sets = [order[:count] for order in orders for count in counts]
    flat = accuracy_without(model, data, sets, mode)
    return [flat[i : i + len(counts)] for i in range(0, len(flat), len(counts))]


def column_means(rows: Sequence[Sequence[float]]) -> list[float]:
    """The mean over rows, for each column."""
    return [sum(column) / len(column) for column in zip(*rows, strict=True)]
