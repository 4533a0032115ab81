"""The contracts of policies, executors, trackers: all built-in ones keep them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from surgery.errors import StudyError
from surgery.study import (
    AbstractExecutor,
    AbstractPolicy,
    AbstractTracker,
    AddOneIn,
    Arm,
    Factorial,
    Findings,
    FractionalFactorial,
    GreedyPath,
    InProcess,
    KOut,
    LeaveOneOut,
    LocalProcesses,
    MedianStopping,
    OptunaProposes,
    Outcome,
    Running,
    Shapley,
)
from surgery.study.executors import Done
from surgery.study.tracking import known_trackers, make_tracker
from surgery.study.trials import Request
from surgery.testing import check_executor, check_policy, check_tracker

POLICIES: dict[str, Callable[[], AbstractPolicy]] = {
    "leave-one-out": LeaveOneOut,
    "add-one-in": AddOneIn,
    "pairs": KOut,
    "3-out": lambda: KOut(3),
    "full factorial": Factorial,
    "fractional factorial": FractionalFactorial,
    "greedy path": GreedyPath,
    "greedy path until worse": lambda: GreedyPath(until_worse=True),
    "Shapley": lambda: Shapley(5),
    "median stopping": MedianStopping,
    "median stopping of a path": lambda: MedianStopping(GreedyPath(), others=1),
    "Optuna": lambda: OptunaProposes(6),
    "Optuna by three": lambda: OptunaProposes(7, batch=3),
}


@pytest.mark.parametrize("name", POLICIES)
def test_a_built_in_policy_keeps_the_contract(name: str) -> None:
    assert len(check_policy(POLICIES[name]).require().promises) == 10


def test_built_in_executors_keep_the_contract() -> None:
    check_executor(InProcess).require()


@pytest.mark.heavy
def test_worker_processes_keep_the_contract() -> None:
    check_executor(lambda: LocalProcesses(2)).require()


@pytest.mark.parametrize("name", known_trackers())
def test_a_built_in_tracker_keeps_the_contract(name: str) -> None:
    check_tracker(lambda: make_tracker(name)).require()


class Wrong(AbstractPolicy):
    """Does what it is told to do wrong."""

    name = "wrong"
    made = 0

    def __init__(self, how: str) -> None:
        Wrong.made += 1
        self.how = how
        self.number = Wrong.made
        self.watches = how == "stop"

    def next(self, findings: Findings) -> Sequence[Arm] | None:
        if self.how == "waits":
            return ()
        if findings.proposed:
            return None
        some = self.number % 3 if self.how == "remembers" else 4
        return [Arm((part,)) for part in findings.parts[:some]]

    def count(self, parts: Sequence[Any], seeds: int) -> int | None:
        return 17 if self.how == "count" else None

    def stop(self, running: Running, findings: Findings) -> str:
        return True  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("waits", "waits for results, but nothing is under way"),
        ("count", "count.. said 17 arms, next.. named 5"),
        ("remembers", "may depend on nothing but the findings"),
        ("stop", "stop.. returned True"),
    ],
)
def test_a_breach_of_a_policy_is_told_in_clear_words(how: str, words: str) -> None:
    Wrong.made = 0
    with pytest.raises(StudyError, match=words):
        check_policy(lambda: Wrong(how)).require()


class Forgetful(AbstractExecutor):
    """Runs things in process; reports each of them twice, or hears nothing."""

    name = "forgetful"

    def __init__(self, twice: bool) -> None:
        self.twice = twice
        self.inner = InProcess("cpu")
        self.last: list[Done] = []

    @property
    def capacity(self) -> int:
        return self.inner.capacity

    def open(self, recipe: Any, listener: Any, *, answers: bool) -> None:
        deaf = listener if self.twice else lambda logged: ""
        self.inner.open(recipe, deaf, answers=answers)

    def submit(self, request: Request, *, one_step: bool = False) -> None:
        self.inner.submit(request, one_step=one_step)

    def wait(self, timeout: float) -> Sequence[Done]:
        done, again = list(self.inner.wait(timeout)), self.last
        self.last = done if self.twice else []
        return [*done, *again]

    def close(self) -> None:
        self.inner.close()


def test_breaches_of_an_executor_are_told_by_promise() -> None:
    broken = check_executor(lambda: Forgetful(twice=True)).broken
    assert "reported" in broken["reports every trial once, with its metrics"]
    broken = check_executor(lambda: Forgetful(twice=False)).broken
    assert "the listener heard []" in broken["tells the driver, in its own thread"]
    assert "was told to stop" in broken["brings the answer to the trial"]


class Brittle(AbstractTracker):
    """Cannot take what is not a finite number."""

    def open(self, study: str, folder: Path) -> None: ...
    def start(self, request: Request, attempt: int) -> None: ...
    def log(self, trial: str, step: float, metrics: Mapping[str, float]) -> None:
        for value in metrics.values():
            int(value)

    def finish(self, trial: str, outcome: Outcome) -> None: ...
    def close(self) -> None: ...


def test_a_breach_of_a_tracker_is_told() -> None:
    broken = check_tracker(Brittle).broken
    assert "cannot convert float NaN" in broken["takes a trial that completes"]
    assert "takes a study in which nothing runs" not in broken
