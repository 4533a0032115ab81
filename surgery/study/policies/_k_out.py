"""KOut: each part, and each set of several, left out."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import final

from surgery.errors import StudyError
from surgery.study.arms import Arm, Part
from surgery.study.policies._base import AbstractPolicy, Findings
from surgery.study.policies._together import possible


@final
class KOut(AbstractPolicy):
    """The base, each part, and each set of up to `k` parts, left out together.

    With two, pairs: whether parts stand in for each other shows in the change of a pair
    against the sum of the changes of its two. Sets whose parts exclude each other are
    left out.

    Args:
        k: How many parts are left out at most.
    """

    def __init__(self, k: int = 2) -> None:
        if isinstance(k, bool) or not isinstance(k, int) or k < 1:
            raise StudyError(f"KOut takes how many parts to leave out, got {k!r}")
        self.k = k
        self.name = "pairs" if k == 2 else f"{k}-out"

    def next(self, findings: Findings) -> Sequence[Arm] | None:
        if findings.proposed:
            return None
        return self._arms(findings.parts)

    def count(self, parts: Sequence[Part], seeds: int) -> int:
        return len(self._arms(parts))

    def _arms(self, parts: Sequence[Part]) -> list[Arm]:
        ordered = sorted(parts, key=lambda part: part.priority)
        return [
            Arm(chosen)
            for size in range(self.k + 1)
            for chosen in itertools.combinations(ordered, size)
            if possible(chosen)
        ]
