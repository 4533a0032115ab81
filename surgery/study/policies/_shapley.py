"""Shapley: parts left out one after the other, in sampled orders."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Sequence
from typing import final

from surgery.errors import StudyError
from surgery.study.arms import Arm, Part
from surgery.study.policies._base import AbstractPolicy, Findings
from surgery.study.policies._together import together


@final
class Shapley(AbstractPolicy):
    """Samples orders in which parts are left out one after the other.

    What leaving out a part changes, averaged over the parts that are gone before it, is
    its Shapley value: shares that add up to what leaving out everything changes.
    `surgery.study.shapley_values(results, policy)` has them with their intervals. Half
    of the orders are the others turned round, which makes the shares less uncertain.

    Castro et al., "Polynomial calculation of the Shapley value based on sampling",
    2009; Mitchell et al., "Sampling permutations for Shapley value estimation", 2022.

    Args:
        orders: How many; all of them where there are not more.
        seed: Of the sampling.
    """

    name = "Shapley sampling"

    def __init__(self, orders: int = 8, *, seed: int = 0) -> None:
        if isinstance(orders, bool) or not isinstance(orders, int) or orders < 1:
            raise StudyError(f"Shapley takes how many orders to sample, got {orders!r}")
        self.orders = orders
        self.seed = seed

    def next(self, findings: Findings) -> Sequence[Arm] | None:
        if findings.proposed:
            return None
        return self._arms(findings.parts)

    def count(self, parts: Sequence[Part], seeds: int) -> int:
        return len(self._arms(parts))

    def sampled(self, parts: Sequence[Part]) -> list[tuple[Part, ...]]:
        """The orders; the same for the same names, however they were included."""
        players = sorted(together(parts), key=lambda part: part.name)
        if math.factorial(len(players)) <= self.orders:
            return list(itertools.permutations(players))
        draws = random.Random(self.seed)
        found: dict[tuple[str, ...], tuple[Part, ...]] = {}
        while len(found) < self.orders:
            order = tuple(draws.sample(players, len(players)))
            for one in (order, order[::-1]):
                if len(found) < self.orders:
                    found.setdefault(tuple(part.name for part in one), one)
        return list(found.values())

    def _arms(self, parts: Sequence[Part]) -> list[Arm]:
        arms = {Arm().key: Arm()}
        for order in self.sampled(parts):
            for size in range(1, len(order) + 1):
                arm = Arm(order[:size])
                arms.setdefault(arm.key, arm)
        return list(arms.values())
