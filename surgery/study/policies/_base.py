"""AbstractPolicy: which arms a study tries next, given what it has found so far."""

from __future__ import annotations

import statistics
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from surgery.study.arms import Arm, Part
from surgery.study.trials import Curve, Trial


@dataclass(frozen=True)
class Objective:
    """A metric and what is good.

    Attributes:
        metric: Its name.
        direction: Whether larger (`max`) or smaller (`min`) is better.
        group: The class of objectives that it is shown with; may be empty.
    """

    metric: str
    direction: Literal["max", "min"] = "max"
    group: str = ""

    @property
    def higher_is_better(self) -> bool:
        return self.direction == "max"


@dataclass(frozen=True)
class Findings:
    """What a policy is told: all that can be left out, and what is known of it.

    It sees one context and one tier at a time.

    Attributes:
        parts: Everything that can be left out.
        objectives: The study's metrics, the main one first.
        seeds: How many trials each arm has.
        proposed: The arms it has named so far, in order; in a study that goes on after
            an interruption, those of this run.
        trials: The trials of each of these, by the arm's key.
    """

    parts: tuple[Part, ...]
    objectives: tuple[Objective, ...]
    seeds: int
    proposed: tuple[Arm, ...] = ()
    trials: Mapping[frozenset[str], tuple[Trial, ...]] = field(
        default_factory=dict[frozenset[str], tuple[Trial, ...]]
    )

    def done(self, arm: Arm) -> bool:
        """Whether all trials of an arm are final."""
        found = self.trials.get(arm.key, ())
        return len(found) >= self.seeds and all(trial.state.final for trial in found)

    def all_done(self, arms: Iterable[Arm]) -> bool:
        return all(map(self.done, arms))

    def values(self, arm: Arm, metric: str | None = None) -> dict[int, float]:
        """A metric (by default the main one) of an arm's complete trials, by seed."""
        name = metric or self.objectives[0].metric
        return {
            trial.seed: trial.metrics[name]
            for trial in self.trials.get(arm.key, ())
            if trial.state == "COMPLETE" and name in trial.metrics
        }

    def mean(self, arm: Arm, metric: str | None = None) -> float | None:
        """Mean of that metric over seeds; `None` where no trial is complete."""
        values = self.values(arm, metric)
        return statistics.fmean(values.values()) if values else None


@dataclass(frozen=True)
class Running:
    """A running trial that has just logged something.

    Attributes:
        trial: The trial.
        arm: Its arm.
        step: The step that it logged.
        curve: All that it has logged, this step included.
        others: What other trials of the same context and tier have logged, by id, with
            the trial.
    """

    trial: Trial
    arm: Arm
    step: float
    curve: Curve
    others: Mapping[str, tuple[Trial, Curve]]


class AbstractPolicy(ABC):
    """Decides which arms are tried, and which running trials are not worth their time.

    The driver calls `next` at the start, and again whenever it could run something
    more: policies may adapt to results, and need not know how many arms there will be.
    A policy must depend on nothing but the findings (and seeds of its own): when an
    interrupted study goes on, it is asked anew from the beginning, and arms that are
    done already are found done at once.

    `name` stands in tables. `surgery.testing` has the test of this contract.
    """

    name: str = ""

    watches: bool = False
    """Whether `stop` is to be asked; then each `reporter.log` waits for the answer."""

    @abstractmethod
    def next(self, findings: Findings) -> Sequence[Arm] | None:
        """Arms to try now.

        Arms named before may be named again; they are not run twice. The base is
        always run, named or not.

        Returns:
            The arms; an empty sequence to wait for results of those that are under
            way; `None` when there will be no more.
        """

    def count(self, parts: Sequence[Part], seeds: int) -> int | None:
        """How many arms there will be, the base included, if that is known."""
        return None

    def stop(self, running: Running, findings: Findings) -> str:
        """Why a running trial is to end now, or `""` to let it go on."""
        return ""

    def finish(self, findings: Findings) -> None:
        """Called once, when nothing is left to run."""
        return
