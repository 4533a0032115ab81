"""check_tracker: the contract of a tracker, told of a made-up study."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from surgery.study.arms import Arm, FactorPart
from surgery.study.tracking import AbstractTracker
from surgery.study.trials import Outcome, Setting, State, request_for
from surgery.testing._contract import Kept, tried


def check_tracker(make: Callable[[], AbstractTracker]) -> Kept:
    """Tell a tracker of trials that complete, fail, are pruned and are tried again.

    End a test with `check_tracker(MyTracker).require()`.

    Args:
        make: Makes the tracker, or is its class; called several times.
    """
    complete = Outcome(State.COMPLETE, {"accuracy": 0.5, "loss": 2.0}, 1.5)
    failed = Outcome(State.FAILED, failure="raised", message="made up")
    diverged = Outcome(State.FAILED, {"accuracy": math.nan}, failure="diverged")
    pruned = Outcome(State.PRUNED, message="hopeless")
    checks: dict[str, Callable[[], None]] = {
        "takes a trial that completes": partial(_told, make, [complete]),
        "takes a trial that fails": partial(_told, make, [failed]),
        "takes a trial that diverges": partial(_told, make, [diverged]),
        "takes a trial that is pruned": partial(_told, make, [pruned]),
        "takes several trials at once": partial(_told, make, [complete, failed]),
        "takes a trial that is tried again": partial(_told, make, [complete], tries=3),
        "takes a study in which nothing runs": partial(_told, make, []),
        "takes a study that ends in the middle": partial(_told, make, [None]),
        "goes on in the same folder": partial(_told, make, [complete], studies=2),
    }
    return tried(f"tracker {type(make()).__name__}", checks.items())


def _told(
    make: Callable[[], AbstractTracker],
    outcomes: list[Outcome | None],
    tries: int = 1,
    studies: int = 1,
) -> None:
    factor = FactorPart("loss.weight", {"a": 0})
    requests = [
        request_for(Arm((factor,)), seed, Setting({"a": 1}, "context", "tier"))
        for seed in range(len(outcomes))
    ]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        for _ in range(studies):
            tracker = make()
            tracker.open("contract", Path(folder))
            for attempt in range(tries):
                for request in requests:
                    tracker.start(request, attempt + 1)
                for step, value in enumerate((1.0, math.nan, math.inf, -2.0)):
                    for request in requests:
                        tracker.log(request.id, float(step), {"loss": value})
            for request, outcome in zip(requests, outcomes, strict=True):
                if outcome is not None:
                    tracker.finish(request.id, outcome)
            tracker.close()
