"""A budget: which level of which component saves most for a cost, by their curves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Choice:
    """A level of one component.

    Attributes:
        level: The level.
        cost: What its curve loses there; never below 0.
        saved: What it saves.
    """

    level: float
    cost: float
    saved: float


def spend(choices: Mapping[str, Sequence[Choice]], budget: float) -> dict[str, Choice]:
    """Choices whose costs add up to no more than a budget, greedily by their worth.

    Again and again the step that saves most for its cost is taken, from what a
    component has to any better choice of its own, while it still fits.

    Args:
        choices: By component.
        budget: In units of cost.
    """
    chosen: dict[str, Choice] = {}
    left = budget
    while True:
        best: tuple[float, float, str, Choice] | None = None
        for name, mine in choices.items():
            has = chosen.get(name, Choice(math.nan, 0.0, 0.0))
            for choice in mine:
                gain, cost = choice.saved - has.saved, choice.cost - has.cost
                if gain <= 0 or cost > left:
                    continue
                worth = math.inf if cost <= 0 else gain / cost
                if best is None or (worth, gain) > best[:2]:
                    best = worth, gain, name, choice
        if best is None:
            return chosen
        _, _, name, choice = best
        had = chosen.get(name)
        left -= choice.cost - (had.cost if had else 0.0)
        chosen[name] = choice
