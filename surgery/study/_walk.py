"""Walk: a policy's way through one setting of a study."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeAlias

from surgery.study._design import Branch
from surgery.study.arms import Arm, Part
from surgery.study.policies import AbstractPolicy, Findings, Objective
from surgery.study.trials import Request, Trial, request_for

Gate: TypeAlias = Callable[[Mapping[str, Trial]], tuple[Part, ...] | None]
"""Which parts a walk may leave out, given all trials; `None`: not known yet.

A tier opens when the cheaper one before it is done, for the parts that it promotes.
"""


class Walk:
    """Asks a policy for arms, and keeps those that it named.

    Attributes:
        branch: The setting and what can be left out there.
        arms: The arms named so far, the base first.
        seeds: The seeds of every arm, in order.
        ended: Whether the policy has said that there will be no more.
    """

    def __init__(
        self,
        branch: Branch,
        policy: AbstractPolicy,
        objectives: Sequence[Objective],
        seeds: Sequence[int],
        ignored: Sequence[str],
        gate: Gate | None = None,
    ) -> None:
        self.branch = branch
        self.policy = copy.deepcopy(policy)  # each setting has one of its own
        self.arms: list[Arm] = [Arm()]
        self.ended = False
        self._objectives = tuple(objectives)
        self.seeds = tuple(seeds)
        self._ignored = ignored
        self._asked = False
        self._gate = gate

    def more(self, trials: Mapping[str, Trial]) -> list[Request]:
        """Requests of the arms that the policy names now; new ones only.

        Args:
            trials: All trials that are known, by id.
        """
        if self.ended or not self._is_open(trials):
            return []
        proposed = self.policy.next(self.findings(trials))
        if proposed is None:
            self.ended = True
        fresh = [] if self._asked else [Arm()]
        self._asked = True
        for arm in proposed or ():
            # What an arm is compared with has to be run too.
            for one in (arm.reference, arm):
                if one.key not in {known.key for known in self.arms}:
                    self.arms.append(one)
                    fresh.append(one)
                elif one is arm and one.against:
                    self._compare_with(arm)
        return [request for arm in fresh for request in self.requests(arm)]

    def replay(self, trials: Mapping[str, Trial]) -> None:
        """Ask the policy until it names nothing new: the arms of what is done."""
        while not self.ended:
            if not self.more(trials):
                return

    def requests(self, arm: Arm) -> list[Request]:
        """One per seed."""
        setting = self.branch.setting
        return [request_for(arm, seed, setting, self._ignored) for seed in self.seeds]

    def findings(self, trials: Mapping[str, Trial]) -> Findings:
        """What the policy is told."""
        known: dict[frozenset[str], tuple[Trial, ...]] = {}
        for arm in self.arms:
            ids = [request.id for request in self.requests(arm)]
            known[arm.key] = tuple(trials[id] for id in ids if id in trials)
        return Findings(
            parts=self.branch.parts,
            objectives=self._objectives,
            seeds=len(self.seeds),
            proposed=tuple(self.arms) if self._asked else (),
            trials=known,
        )

    def count(self) -> int | None:
        """How many trials there will be, if that is known."""
        if self.ended:
            return len(self.arms) * len(self.seeds)
        if self._gate is not None:
            return None  # the cheaper tier will tell
        arms = self.policy.count(self.branch.parts, len(self.seeds))
        return None if arms is None else arms * len(self.seeds)

    def _is_open(self, trials: Mapping[str, Trial]) -> bool:
        if self._gate is None:
            return True
        parts = self._gate(trials)
        if parts is None:
            return False
        self.branch = replace(self.branch, parts=parts)
        self._gate = None
        return True

    def _compare_with(self, arm: Arm) -> None:
        """An arm that was only compared with gets what it is compared with itself."""
        for index, known in enumerate(self.arms):
            if known.key == arm.key and not known.against:
                self.arms[index] = arm
