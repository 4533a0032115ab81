"""Policies of users: adaptive ones, other references, and trials that are stopped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import pytest

from surgery.errors import StudyError
from surgery.study import (
    AbstractPolicy,
    Arm,
    Findings,
    LocalProcesses,
    Reporter,
    Running,
)
from tests.study.conftest import Make


@final
class Greedy(AbstractPolicy):
    """Leaves out one more part at a time, the one whose loss hurts least."""

    name = "greedy"

    def next(self, findings: Findings) -> Sequence[Arm] | None:
        gone: tuple[Any, ...] = ()
        while len(gone) < len(findings.parts):
            left = [part for part in findings.parts if part not in gone]
            round = [Arm((*gone, part), against=gone) for part in left]
            if not findings.all_done(round):
                return round if not all(a in findings.proposed for a in round) else ()
            means = {arm: findings.mean(arm) or 0.0 for arm in round}
            gone = max(round, key=lambda arm: means[arm]).parts
        return None


@final
class Impatient(AbstractPolicy):
    """The base and each part; stops what is worse than the base at the same step."""

    name = "impatient"
    watches = True

    def next(self, findings: Findings) -> Sequence[Arm] | None:
        if findings.proposed:
            return None
        return [Arm(), *(Arm((part,)) for part in findings.parts)]

    def stop(self, running: Running, findings: Findings) -> str:
        for trial, curve in running.others.values():
            base = dict(curve.get("score", ())).get(running.step)
            own = dict(running.curve["score"])[running.step]
            if trial.arm == "base" and base is not None and own < base:
                return f"{own} is below the base's {base}"
        return ""


@final
class Stuck(AbstractPolicy):
    name = "stuck"

    def next(self, findings: Findings) -> Sequence[Arm] | None:
        return ()


def score(component: str | None, reporter: Reporter) -> float:
    """A score by arm alone: fc3 hurts most, then fc1."""
    gone = (component or "").split(" + ")
    value = 1.0 - 0.5 * ("fc3" in gone) - 0.2 * ("fc1" in gone) - 0.1 * ("fc2" in gone)
    for step in range(4):
        reporter.log(step, score=value)
    return value


def test_an_adaptive_policy_learns_and_goes_on_where_it_stopped(make: Make) -> None:
    study = make(train=score, policy=Greedy(), seeds=1)
    study.layers.include("fc1", "fc2", "fc3", remove="zero")
    plan = study.plan()
    assert [arm.arm for arm in plan] == ["base", "fc1", "fc2", "fc3"]
    assert not plan.known
    results = study.run(progress=False)
    deltas = {row.arm: round(row.delta, 6) for row in results}
    assert deltas == {
        "fc1": -0.2,
        "fc2": -0.1,
        "fc3": -0.5,
        "fc2 + fc1": -0.2,
        "fc2 + fc3": -0.5,
        "fc2 + fc1 + fc3": -0.5,
    }
    against = {row.arm: row.against for row in results}
    assert against["fc2 + fc1"] == "fc2"
    assert study.plan().known
    attempts = study.run(progress=False).trials().attempt
    assert set(attempts) == {1}


@pytest.mark.parametrize("processes", [False, True])
def test_a_policy_that_watches_ends_hopeless_trials(
    make: Make, processes: bool
) -> None:
    study = make(train=score, policy=Impatient(), seeds=1)
    study.layers.include("fc2", remove="zero")
    executor = LocalProcesses(1) if processes else None
    trials = study.run(executor=executor, progress=False).trials().set_index("arm")
    assert trials.state.to_dict() == {"base": "COMPLETE", "fc2": "PRUNED"}
    assert trials.message["fc2"] == "0.9 is below the base's 1.0"


def test_a_policy_that_waits_for_nothing_is_an_error(make: Make) -> None:
    with pytest.raises(StudyError, match="'stuck' waits for results"):
        make(policy=Stuck(), seeds=1).run(progress=False)


def test_an_interrupt_loses_only_what_was_running(make: Make) -> None:
    pressed = [True]

    def train(component: str | None) -> float:
        if component == "fc2" and pressed:
            raise KeyboardInterrupt
        return 0.5

    study = make(train=train, seeds=1)
    study.layers.include("fc2")
    with pytest.raises(KeyboardInterrupt):
        study.run(progress=False)
    states = study.results().trials().set_index("arm").state
    assert states.to_dict() == {"base": "COMPLETE", "fc2": "PENDING"}
    pressed.clear()
    assert set(study.run(progress=False).trials().state) == {"COMPLETE"}
