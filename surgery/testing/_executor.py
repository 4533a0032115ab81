"""check_executor: the contract of an executor, tried on trials of a moment."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from surgery.study.arms import Arm
from surgery.study.execution import Factories, Logged, Recipe, Reporter
from surgery.study.executors import AbstractExecutor
from surgery.study.trials import Outcome, Request, Setting, State, request_for
from surgery.testing._contract import Breach, Kept, tried

_PATIENCE = 120.0  # seconds; a worker may have to import torch first


def check_executor(make: Callable[[], AbstractExecutor]) -> Kept:
    """Try an executor on trials that take a moment, in a folder of their own.

    End a test with `check_executor(MyExecutor).require()`. Workers must be able to
    import `surgery.testing`.

    Args:
        make: Makes the executor, or is its class; called several times.
    """
    checks: dict[str, Callable[[], None]] = {
        "has room for a trial": partial(_has_room, make),
        "reports every trial once, with its metrics": partial(_reports, make),
        "reports trials that fail": partial(_fails, make),
        "tells the driver, in its own thread": partial(_tells, make),
        "brings the answer to the trial": partial(_answers, make),
        "does one step where that is asked for": partial(_one_step, make),
        "closes twice": partial(_closes, make),
    }
    return tried(f"executor {make().name!r}", checks.items())


def tiny_model() -> nn.Module:
    """What the trials train."""
    return nn.Linear(1, 1)


def tiny_train(config: dict[str, Any], seed: int, reporter: Reporter) -> float:
    """Logs, and returns a number by config and seed, or raises."""
    if config["fails"]:
        raise ValueError("made up")
    for step in range(3):
        reporter.log(step, value=step + seed)
    return 100.0 + seed


class _Run:
    """An executor that is open, in a folder of its own."""

    def __init__(
        self,
        make: Callable[[], AbstractExecutor],
        answer: str = "",
        fails: bool = False,
    ) -> None:
        self.executor = make()
        self.heard: list[tuple[Logged, int]] = []
        self._answer = answer
        self._folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        recipe = Recipe(
            "contract",
            Path(self._folder.name),
            {"": Factories(tiny_model, (0,), tiny_train)},
            ("value",),
        )
        self._setting = Setting({"fails": fails})
        self.executor.warm_up()
        self.executor.open(recipe, self._listen, answers=bool(answer))

    def __enter__(self) -> _Run:
        return self

    def __exit__(self, *error: object) -> None:
        self.executor.close()
        self._folder.cleanup()

    def request(self, seed: int) -> Request:
        return request_for(Arm(), seed, self._setting)

    def done(self, seeds: int, *, one_step: bool = False) -> dict[int, Outcome]:
        """Outcomes by seed, of trials that were run as the driver runs them."""
        requests = {self.request(seed).id: seed for seed in range(seeds)}
        left = list(requests.values())
        found: dict[int, Outcome] = {}
        until = time.monotonic() + _PATIENCE
        while len(found) < seeds:
            while left and seeds - len(left) - len(found) < self.executor.capacity:
                self.executor.submit(self.request(left.pop(0)), one_step=one_step)
            for done in self.executor.wait(1.0):
                if requests.get(done.trial) in found or done.trial not in requests:
                    raise Breach(f"wait() reported {done.trial} that was not open")
                found[requests[done.trial]] = done.outcome
            if time.monotonic() > until:
                raise Breach(f"{seeds - len(found)} trials were never reported")
        if self.executor.wait(0.0):
            raise Breach("wait() reported a trial twice")
        return found

    def _listen(self, logged: Logged) -> str:
        self.heard.append((logged, threading.get_ident()))
        return self._answer


def _has_room(make: Callable[[], AbstractExecutor]) -> None:
    if make().capacity < 1:
        raise Breach("capacity is less than 1: nothing could ever run")


def _reports(make: Callable[[], AbstractExecutor]) -> None:
    with _Run(make) as run:
        count = 2 * min(run.executor.capacity, 4) + 1
        for seed, outcome in run.done(count).items():
            if outcome.metrics != {"value": 100.0 + seed}:
                raise Breach(f"seed {seed} came to {outcome}")


def _fails(make: Callable[[], AbstractExecutor]) -> None:
    with _Run(make, fails=True) as run:
        (outcome,) = run.done(1).values()
    if outcome.state != State.FAILED or "made up" not in outcome.message:
        raise Breach(f"a train function that raised came to {outcome}")


def _tells(make: Callable[[], AbstractExecutor]) -> None:
    with _Run(make) as run:
        run.done(1)
        heard = [dict(logged.metrics) for logged, _ in run.heard]
        threads = {thread for _, thread in run.heard}
    if heard != [{"value": 0.0}, {"value": 1.0}, {"value": 2.0}]:
        raise Breach(f"the listener heard {heard}")
    if threads != {threading.get_ident()}:
        raise Breach("the listener was called from another thread than the driver's")


def _answers(make: Callable[[], AbstractExecutor]) -> None:
    with _Run(make, answer="enough") as run:
        (outcome,) = run.done(1).values()
    if outcome.state != State.PRUNED or outcome.message != "enough":
        raise Breach(f"a trial that was told to stop came to {outcome}")


def _one_step(make: Callable[[], AbstractExecutor]) -> None:
    with _Run(make) as run:
        (outcome,) = run.done(1, one_step=True).values()
    if outcome.state != State.COMPLETE or run.heard:
        raise Breach(f"one step came to {outcome}, and {len(run.heard)} were logged")


def _closes(make: Callable[[], AbstractExecutor]) -> None:
    with _Run(make) as run:
        run.executor.submit(run.request(0))
        run.executor.close()
        if run.executor.wait(0.0):
            raise Breach("wait() reported a trial after close()")
