"""GreedyPath: from the base to everything changed, the largest gain first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

from surgery.study.arms import Arm, Part
from surgery.study.policies._base import AbstractPolicy, Findings
from surgery.study.policies._together import possible


@final
class GreedyPath(AbstractPolicy):
    """Walks from the base to another config, one change at a time.

    In each round every change that is left is tried on top of those made, and the one
    with the best mean of the main metric is made: the largest gain first, or the
    smallest loss. `study.factors.include_difference(other)` gives the changes between
    two configs. Arms are compared with the step that they start from.

    Args:
        until_worse: End as soon as no change is an improvement.
    """

    name = "greedy path"

    def __init__(self, *, until_worse: bool = False) -> None:
        self.until_worse = until_worse

    def next(self, findings: Findings) -> Sequence[Arm] | None:
        known = {arm.key for arm in findings.proposed}
        made: tuple[Part, ...] = ()
        while round := _round(made, findings):
            if not {arm.key for arm in round} <= known:
                return round
            if not findings.all_done([Arm(made), *round]):
                return ()
            best = _best(round, findings)
            if best is None:
                return None
            if self.until_worse and not _is_better(best, Arm(made), findings):
                return None
            made = best.parts
        return None


def _round(made: tuple[Part, ...], findings: Findings) -> list[Arm]:
    """Every change that is left, on top of those made."""
    return [
        Arm((*made, part), against=made)
        for part in findings.parts
        if part not in made and possible((*made, part))
    ]


def _best(arms: Sequence[Arm], findings: Findings) -> Arm | None:
    """The one with the best mean; the first of equals; `None` if all have failed."""
    scored = [(arm, _score(arm, findings)) for arm in arms]
    found = [(arm, score) for arm, score in scored if score is not None]
    return max(found, key=lambda one: one[1])[0] if found else None


def _is_better(arm: Arm, other: Arm, findings: Findings) -> bool:
    mine, theirs = _score(arm, findings), _score(other, findings)
    return mine is not None and (theirs is None or mine > theirs)


def _score(arm: Arm, findings: Findings) -> float | None:
    mean = findings.mean(arm)
    if mean is None:
        return None
    return mean if findings.objectives[0].higher_is_better else -mean
