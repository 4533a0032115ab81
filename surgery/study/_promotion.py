"""Promotion: which parts go on from a cheap tier to the next one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from surgery.stats import Evidence
from surgery.study._design import Branch, Promote
from surgery.study._walk import Gate, Walk
from surgery.study.arms import Part
from surgery.study.policies import Objective
from surgery.study.results import ArmRow, ArmTrials, rows_of
from surgery.study.trials import Trial


def promoted(
    cheaper: Walk,
    branch: Branch,
    promote: Promote,
    objectives: Sequence[Objective],
    evidence: Evidence,
) -> Gate:
    """A gate that opens a branch once the walk on the cheaper tier is done.

    Parts are judged by the arms that differ from what they are compared with in that
    part alone. What no such arm tells of goes on, and so does what the cheaper tier
    does not have.
    """

    def gate(trials: Mapping[str, Trial]) -> tuple[Part, ...] | None:
        if not _is_done(cheaper, trials):
            return None
        if promote == "all":
            return branch.parts
        changes = _changes(cheaper, trials, objectives, evidence)
        chosen = _chosen(changes, promote)
        return tuple(
            part
            for part in branch.parts
            if part.name not in changes or part.name in chosen
        )

    return gate


def _is_done(walk: Walk, trials: Mapping[str, Trial]) -> bool:
    return walk.ended and all(
        request.id in trials and trials[request.id].state.final
        for arm in walk.arms
        for request in walk.requests(arm)
    )


def _chosen(changes: Mapping[str, Sequence[ArmRow]], promote: Promote) -> set[str]:
    if promote == "decided":
        clear = ("important", "harmful")
        return {
            name
            for name, rows in changes.items()
            if any(row.verdict in clear for row in rows)
        }
    assert isinstance(promote, int)
    largest = {name: max(map(_size, rows)) for name, rows in changes.items()}
    return set(sorted(largest, key=lambda name: -largest[name])[:promote])


def _size(row: ArmRow) -> float:
    """How much an arm changes; what has failed comes last."""
    return -1.0 if math.isnan(row.delta) else abs(row.delta)


def _changes(
    walk: Walk,
    trials: Mapping[str, Trial],
    objectives: Sequence[Objective],
    evidence: Evidence,
) -> dict[str, list[ArmRow]]:
    """By part, rows of the main metric of the arms that tell of it alone."""
    setting = walk.branch.setting
    arms = [
        ArmTrials(
            arm,
            setting.context,
            setting.tier,
            tuple(trials[request.id] for request in walk.requests(arm)),
        )
        for arm in walk.arms
    ]
    rows = {row.arm: row for row in rows_of(arms, objectives[:1], evidence)}
    changes: dict[str, list[ArmRow]] = {}
    for one in walk.arms:
        apart = one.key ^ one.reference.key
        if len(apart) == 1 and one.name in rows:
            changes.setdefault(next(iter(apart)), []).append(rows[one.name])
    return changes
