"""LeaveOneOut: the base, and each part left out by itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

from surgery.study.arms import Arm, Part
from surgery.study.policies._base import AbstractPolicy, Findings


@final
class LeaveOneOut(AbstractPolicy):
    """The base, and an arm for each part; by priority, then as they were included."""

    name = "leave-one-out"

    def next(self, findings: Findings) -> Sequence[Arm] | None:
        if findings.proposed:
            return None
        ordered = sorted(findings.parts, key=lambda part: part.priority)
        return [Arm(), *(Arm((part,)) for part in ordered)]

    def count(self, parts: Sequence[Part], seeds: int) -> int:
        return 1 + len(parts)
