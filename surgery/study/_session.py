"""A run of a study: what is recorded before, what is opened again, what is driven."""

from __future__ import annotations

import difflib
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from surgery._random import preserved_rng
from surgery.errors import StudyError
from surgery.report import progress
from surgery.study._design import Branch, Design
from surgery.study._driver import Driver
from surgery.study._promotion import promoted
from surgery.study._provenance import provenance
from surgery.study._walk import Walk
from surgery.study.arms import Arm
from surgery.study.configs import plain
from surgery.study.executors import AbstractExecutor, InProcess, LocalProcesses
from surgery.study.policies import AbstractPolicy, Objective
from surgery.study.storage import Storage
from surgery.study.tracking import AbstractTracker, make_tracker
from surgery.study.trials import State, Trial


def walks_of(
    design: Design,
    policy: AbstractPolicy,
    objectives: Sequence[Objective],
    *,
    wait: bool = True,
) -> list[Walk]:
    """A walk per setting, at its beginning.

    Args:
        wait: Whether tiers wait for cheaper ones also where all parts go on, as they
            do in a run.
    """
    walks: list[Walk] = []
    for branch in design.branches:
        cheaper = next(
            (w for w in reversed(walks) if _is_cheaper(w.branch, branch)), None
        )
        gate = None
        if cheaper is not None:
            promote = design.promotes.get(cheaper.branch.setting.tier, "all")
            if wait or promote != "all":
                gate = promoted(cheaper, branch, promote, objectives, design.evidence)
        walks.append(
            Walk(branch, policy, objectives, design.seeds, design.ignored, gate)
        )
    return walks


def _is_cheaper(one: Branch, other: Branch) -> bool:
    """Whether a branch is another tier of the same context."""
    return (
        one.setting.context == other.setting.context
        and one.setting.tier != other.setting.tier
    )


def replayed(walks: list[Walk], trials: Mapping[str, Trial]) -> list[Walk]:
    """The walks as far as what is known takes them."""
    for walk in walks:
        walk.replay(trials)
    return walks


@dataclass(frozen=True)
class Session:
    """One run of a study, under the lock of its folder.

    Attributes:
        design: The study, looked up and checked.
        storage: Where it is kept.
        policy: Which arms are tried.
        objectives: The metrics, the main one first.
        named: The arms that were asked for by name; `None`: all.
    """

    design: Design
    storage: Storage
    policy: AbstractPolicy
    objectives: Sequence[Objective]
    named: Sequence[str] | None

    def record(self, configs: Mapping[str, Any]) -> None:
        """What is known before: where the run comes from, and what is expected."""
        shown = {name: plain(config) for name, config in configs.items()}
        folder = self.design.recipe.folder
        seeds = list(self.design.seeds)
        self.storage.record_run({**provenance(shown, folder), "seeds": seeds})
        for branch in self.design.branches:
            for part in branch.parts:
                self.storage.expect(part.name, part.hypothesis)

    def reopen(self, again: bool) -> None:
        """Trials that are to be run although they were started, or done, before.

        Raises:
            StudyError: There is no arm of a name that was asked for.
        """
        trials = {trial.id: trial for trial in self.storage.trials()}
        # We hold the lock: whoever was running these is gone.
        running = [t.id for t in trials.values() if t.state == State.RUNNING]
        self.storage.requeue(running)
        if self.named is None:
            if again:
                raise StudyError(
                    "again=True forgets results: name the arms in arms=[...]"
                )
            return
        walks = walks_of(self.design, self.policy, self.objectives, wait=False)
        replayed(walks, trials)
        self._require_arms(walks)
        forgotten: list[str] = []
        for walk in walks:
            for arm in walk.arms:
                if arm.name not in self.named:
                    continue
                for request in walk.requests(arm):
                    trial = trials.get(request.id)
                    tried = trial and trial.state in (State.FAILED, State.PRUNED)
                    if again or tried:
                        forgotten.append(request.id)
        self.storage.discard(forgotten)
        for id in forgotten:
            folder = self.design.recipe.trial_folder(id)
            shutil.rmtree(folder, ignore_errors=True)

    def drive(
        self,
        executor: AbstractExecutor,
        trackers: Sequence[str | AbstractTracker],
        retries: int,
        show: bool,
    ) -> None:
        """Run what is not done."""
        recipe = self.design.recipe
        walks = walks_of(self.design, self.policy, self.objectives)
        counts = [walk.count() for walk in walks]
        known = [count for count in counts if count is not None]
        whole = len(known) == len(counts) and self.named is None
        total = sum(known) if whole else None
        only = None if self.named is None else {Arm().name, *self.named}
        with preserved_rng(), progress(f"study {recipe.name}", total, show) as advance:
            Driver(
                self.storage,
                executor,
                walks,
                [make_tracker(tracker) for tracker in trackers],
                retries=retries,
                only=only,
                advance=advance,
            ).run(recipe)

    def _require_arms(self, walks: Sequence[Walk]) -> None:
        known = list(dict.fromkeys(arm.name for walk in walks for arm in walk.arms))
        for name in self.named or ():
            if name not in known:
                near = difflib.get_close_matches(name, known, n=3) or known[:12]
                raise StudyError(
                    f"there is no arm {name!r}; there is {', '.join(map(repr, near))}"
                )


def executor_of(
    workers: int, devices: Sequence[str] | None, memory: int | None
) -> AbstractExecutor:
    """This process for one worker, else as many others."""
    if workers == 1 and not isinstance(workers, bool) and memory is None:
        return InProcess(None if devices is None else devices[0])
    return LocalProcesses(workers, devices=devices, memory=memory)
