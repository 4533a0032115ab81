"""check_policy: the contract of a policy, tried on made-up results."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from surgery.study._design import Branch
from surgery.study._walk import Walk
from surgery.study.arms import FactorPart, Part
from surgery.study.policies import AbstractPolicy, Findings, Objective, Running
from surgery.study.trials import Outcome, Request, Setting, State, Trial
from surgery.testing._contract import Breach, Kept, tried

OBJECTIVES = (Objective("score"), Objective("loss", "min"))
SEEDS = (3, 1)
_MOST = 5_000  # asks until a policy is taken for one that never ends


def check_policy(make: Callable[[], AbstractPolicy], *, parts: int = 4) -> Kept:
    """Try a policy on results that are made up; nothing is trained.

    End a test with `check_policy(MyPolicy).require()`.

    Args:
        make: Makes the policy, or is its class; called several times.
        parts: How many parts there are to leave out.
    """
    some = _parts(parts)
    checks: dict[str, Callable[[], None]] = {
        "ends, and does not wait for nothing": partial(_ends, make, some),
        "ends where every trial fails": partial(_ends, make, some, fails=True),
        "ends where there are no parts": partial(_ends, make, ()),
        "ends where there is one part": partial(_ends, make, some[:1]),
        "names arms of the parts that there are": partial(_own_parts, make, some),
        "counts its arms right, where it does": partial(_counts, make, some),
        "names the same arms again": partial(_repeats, make, some),
        "goes on after an interruption": partial(_goes_on, make, some),
        "does not depend on when results come": partial(_any_order, make, some),
        "answers about running trials in words": partial(_stops, make, some),
    }
    return tried(f"policy {make().name!r}", checks.items())


def walked(
    policy: AbstractPolicy,
    parts: Sequence[Part],
    known: dict[str, Trial] | None = None,
    *,
    fails: bool = False,
    at_once: bool = True,
    most: int | None = None,
) -> tuple[Walk, dict[str, Trial]]:
    """A walk to its end, or until so many trials are done, with the trials.

    Args:
        at_once: Whether all that is asked for is done before the policy is asked
            again; else one trial at a time, the last one first.
    """
    config = {part.name: 1 for part in parts}
    branch = Branch(Setting(config, code="x"), tuple(parts))
    walk = Walk(branch, policy, OBJECTIVES, SEEDS, ())
    trials = dict(known or {})
    waiting: list[Request] = []
    for _ in range(_MOST):
        new = walk.more(trials)
        waiting += [request for request in new if request.id not in trials]
        if walk.ended and not waiting:
            return walk, trials
        if most is not None and len(trials) >= most:
            return walk, trials
        if not waiting and not new:
            raise Breach("next() waits for results, but nothing is under way")
        done = waiting if at_once else waiting[-1:]
        trials.update({request.id: _trial(request, fails) for request in done})
        waiting = waiting[: len(waiting) - len(done)]
    raise Breach(f"next() was asked {_MOST} times and did not return None")


def _ends(
    make: Callable[[], AbstractPolicy], parts: Sequence[Part], fails: bool = False
) -> None:
    walk, trials = walked(make(), parts, fails=fails)
    walk.policy.finish(walk.findings(trials))


def _own_parts(make: Callable[[], AbstractPolicy], parts: Sequence[Part]) -> None:
    walk, _ = walked(make(), parts)
    strange = [arm.name for arm in walk.arms if not set(arm.key) <= _names(parts)]
    if strange:
        raise Breach(f"next() named {strange[0]!r}, which is not in findings.parts")


def _counts(make: Callable[[], AbstractPolicy], parts: Sequence[Part]) -> None:
    policy = make()
    said = policy.count(parts, len(SEEDS))
    walk, _ = walked(policy, parts)
    if said is not None and said != len(walk.arms):
        raise Breach(f"count() said {said} arms, next() named {len(walk.arms)}")


def _repeats(make: Callable[[], AbstractPolicy], parts: Sequence[Part]) -> None:
    walk, trials = walked(make(), parts)
    again, _ = walked(make(), parts, trials)
    _require_same(again, walk, "with everything done")


def _goes_on(make: Callable[[], AbstractPolicy], parts: Sequence[Part]) -> None:
    walk, trials = walked(make(), parts)
    for most in {1, len(trials) // 2}:
        _, some = walked(make(), parts, most=most, at_once=False)
        again, _ = walked(make(), parts, some)
        _require_same(again, walk, f"after {len(some)} trials")


def _any_order(make: Callable[[], AbstractPolicy], parts: Sequence[Part]) -> None:
    walk, _ = walked(make(), parts)
    other, _ = walked(make(), parts, at_once=False)
    _require_same(other, walk, "with results one at a time")


def _stops(make: Callable[[], AbstractPolicy], parts: Sequence[Part]) -> None:
    walk, trials = walked(make(), parts)
    if not walk.policy.watches:
        return
    findings: Findings = walk.findings(trials)
    curves = [
        {"score": ((0.0, value), (1.0, value)), "loss": ((0.0, 1.0), (1.0, -value))}
        for value in (0.5, -10.0, 10.0, math.nan)
    ]
    others = {id: (trial, curves[0]) for id, trial in trials.items()}
    for arm in walk.arms:
        request = walk.requests(arm)[0]
        trial = replace(trials[request.id], state=State.RUNNING, outcome=None)
        rest = {id: one for id, one in others.items() if id != request.id}
        for curve in curves:
            for known in (rest, {}):
                running = Running(trial, arm, 1.0, curve, known)
                answer = walk.policy.stop(running, findings)
                if not isinstance(answer, str):
                    raise Breach(f"stop() returned {answer!r}, which is no string")


def _require_same(found: Walk, expected: Walk, when: str) -> None:
    mine = [arm.name for arm in found.arms]
    theirs = [arm.name for arm in expected.arms]
    if {arm.key for arm in found.arms} != {arm.key for arm in expected.arms}:
        raise Breach(
            f"{when}, a new one names {', '.join(mine)}; undisturbed it names "
            f"{', '.join(theirs)}: next() may depend on nothing but the findings"
        )


def _parts(count: int) -> tuple[Part, ...]:
    return tuple(
        FactorPart(f"part{i}", {f"part{i}": 0}, priority=i % 2) for i in range(count)
    )


def _names(parts: Sequence[Part]) -> set[str]:
    return {part.name for part in parts}


def _trial(request: Request, fails: bool) -> Trial:
    """A result that depends on the arm and the seed alone."""
    name = " ".join(sorted(request.arm.key))
    value = zlib.crc32(f"{name} {request.seed}".encode()) / 2**32
    metrics = {"score": value, "loss": 1.0 - value}
    if fails:
        outcome = Outcome(State.FAILED, failure="raised", message="made up")
    else:
        outcome = Outcome(State.COMPLETE, metrics)
    return Trial(
        request.id,
        request.arm.name,
        request.context,
        request.tier,
        request.seed,
        outcome.state,
        1,
        outcome,
    )
