"""AddOneIn: everything left out, and each part put back by itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

from surgery.study.arms import Arm, Part
from surgery.study.policies._base import AbstractPolicy, Findings
from surgery.study.policies._together import together


@final
class AddOneIn(AbstractPolicy):
    """The base, the arm without any part, and an arm for each part put back into that.

    Arms are compared with the one without any part: what each part gives on its own.
    Of parts that exclude each other, the first one is left out.
    """

    name = "add-one-in"

    def next(self, findings: Findings) -> Sequence[Arm] | None:
        if findings.proposed:
            return None
        return _arms(findings.parts)

    def count(self, parts: Sequence[Part], seeds: int) -> int:
        return len({arm.key for arm in _arms(parts)})


def _arms(parts: Sequence[Part]) -> list[Arm]:
    everything = together(sorted(parts, key=lambda part: part.priority))
    arms = [Arm(), Arm(everything)]
    if len(everything) > 1:
        for part in everything:
            rest = tuple(one for one in everything if one is not part)
            arms.append(Arm(rest, against=everything))
    return arms
