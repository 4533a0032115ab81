"""Driver: brings storage, executor and policies together until all is done."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Collection, Sequence

from surgery.errors import StudyError
from surgery.report import Advance
from surgery.study._walk import Walk
from surgery.study.execution import Logged, Recipe
from surgery.study.executors import AbstractExecutor, Done
from surgery.study.policies import Running
from surgery.study.storage import Storage
from surgery.study.tracking import AbstractTracker
from surgery.study.trials import Curve, Request, State, Trial

_POLL = 1.0  # seconds


class Driver:
    """Runs what the walks ask for; the only one that writes to the storage.

    Args:
        storage: Where trials are kept.
        executor: Where they run.
        walks: A policy's way through each setting.
        trackers: Are told of everything.
        retries: How often a trial that ran out of memory, or was lost, is tried again.
        only: Names of arms; others are left as they are. `None`: all.
        advance: Is told when a trial is done.
    """

    def __init__(
        self,
        storage: Storage,
        executor: AbstractExecutor,
        walks: Sequence[Walk],
        trackers: Sequence[AbstractTracker],
        *,
        retries: int,
        only: Collection[str] | None,
        advance: Advance,
    ) -> None:
        self._storage = storage
        self._executor = executor
        self._walks = walks
        self._trackers = list(trackers)
        self._retries = retries
        self._only = only
        self._advance = advance
        self._trials = {trial.id: trial for trial in storage.trials()}
        self._queue: list[tuple[Request, Walk]] = []
        self._running: dict[str, tuple[Request, Walk]] = {}
        self._curves: dict[str, Curve] = {}
        self._tries: dict[str, int] = {}
        self._failed = 0

    def run(self, recipe: Recipe) -> None:
        """Until every walk has ended and every trial is final.

        Whatever happens, trials that were running go on next time.
        """
        watches = any(walk.policy.watches for walk in self._walks)
        try:
            self._each(lambda tracker: tracker.open(recipe.name, recipe.folder))
            self._executor.open(recipe, self._heard, answers=watches)
            while self._ask() or self._queue or self._running:
                self._submit()
                for done in self._executor.wait(_POLL):
                    self._finished(done)
            for walk in self._walks:
                walk.policy.finish(walk.findings(self._trials))
        finally:
            self._executor.close()
            with contextlib.suppress(StudyError):  # the next run does it anyway
                self._storage.requeue(self._running)
            self._each(lambda tracker: tracker.close())

    def _ask(self) -> bool:
        """Have policies name more while there is room; whether there is more."""
        new = False
        for walk in self._walks:
            while not walk.ended and self._has_room():
                requests = walk.more(self._trials)
                if not requests:
                    break
                new = self._enqueue(requests, walk) or new
        idle = not (new or self._queue or self._running)
        waiting = [walk for walk in self._walks if not walk.ended]
        if idle and waiting and self._only is None:
            raise StudyError(
                f"policy {waiting[0].policy.name!r} waits for results, but nothing is "
                "running: its next() must name arms, or return None at the end"
            )
        return new

    def _has_room(self) -> bool:
        return len(self._queue) + len(self._running) < self._executor.capacity

    def _enqueue(self, requests: Sequence[Request], walk: Walk) -> bool:
        new = False
        for request in requests:
            if self._only is not None and request.arm.name not in self._only:
                continue
            trial = self._trials[request.id] = self._storage.add(request)
            queued = any(one.id == request.id for one, _ in self._queue)
            if trial.state.final or request.id in self._running or queued:
                if trial.state.final:
                    self._count(trial)
                continue
            self._queue.append((request, walk))
            new = True
        # The base first, then by priority; all arms have their first seed before any
        # has its second. Sorting is stable.
        self._queue.sort(key=lambda one: _urgency(*one))
        return new

    def _submit(self) -> None:
        while self._queue and len(self._running) < self._executor.capacity:
            request, walk = self._queue.pop(0)
            attempt = self._storage.start(request.id)
            self._tries[request.id] = self._tries.get(request.id, 0) + 1
            self._running[request.id] = (request, walk)
            self._remember(request.id)
            self._each(_started(request, attempt))
            self._executor.submit(request)
        self._show(0)

    def _heard(self, logged: Logged) -> str:
        """What a trial logs: into storage and trackers; whether it is to stop."""
        self._storage.log(logged.trial, logged.step, logged.metrics)
        self._each(_logged(logged))
        request, walk = self._running[logged.trial]
        if not walk.policy.watches:
            return ""
        self._curves[logged.trial] = self._storage.curve(logged.trial)
        others = {
            id: (trial, self._curve(id))
            for known in walk.findings(self._trials).trials.values()
            for trial in known
            if (id := trial.id) != logged.trial
        }
        running = Running(
            self._trials[logged.trial],
            request.arm,
            logged.step,
            self._curves[logged.trial],
            others,
        )
        return walk.policy.stop(running, walk.findings(self._trials))

    def _finished(self, done: Done) -> None:
        request, walk = self._running.pop(done.trial)
        outcome = done.outcome
        if outcome.may_be_retried and self._tries[done.trial] <= self._retries:
            self._storage.requeue([done.trial])
            self._remember(done.trial)
            self._queue.append((request, walk))
            return
        self._storage.finish(done.trial, outcome)
        self._remember(done.trial)
        self._each(lambda tracker: tracker.finish(done.trial, outcome))
        self._count(self._trials[done.trial])

    def _remember(self, id: str) -> None:
        found = self._storage.trial(id)
        assert found is not None
        self._trials[id] = found

    def _curve(self, id: str) -> Curve:
        """A trial's curve, kept while it is running or once it is final."""
        if id not in self._curves:
            self._curves[id] = self._storage.curve(id)
        return self._curves[id]

    def _count(self, trial: Trial) -> None:
        self._failed += trial.state == State.FAILED
        self._show(1)

    def _show(self, steps: int) -> None:
        self._advance(steps, f"{len(self._running)} running, {self._failed} failed")

    def _each(self, tell: Callable[[AbstractTracker], None]) -> None:
        """Tell all trackers; one that raises is left out from then on."""
        for tracker in list(self._trackers):
            try:
                tell(tracker)
            except Exception as error:
                self._trackers.remove(tracker)
                warnings.warn(
                    f"{type(tracker).__name__} is left out from here on, it raised "
                    f"{type(error).__name__}: {error}",
                    stacklevel=2,
                )


def _urgency(request: Request, walk: Walk) -> tuple[bool, int, int]:
    arm = request.arm
    return bool(arm.parts), arm.priority, walk.seeds.index(request.seed)


def _started(request: Request, attempt: int) -> Callable[[AbstractTracker], None]:
    return lambda tracker: tracker.start(request, attempt)


def _logged(logged: Logged) -> Callable[[AbstractTracker], None]:
    return lambda tracker: tracker.log(logged.trial, logged.step, logged.metrics)
