"""Trial: what a study's storage knows of one arm with one seed."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Curve: TypeAlias = Mapping[str, tuple[tuple[float, float], ...]]
"""Logged values by metric: pairs of step and value, in order."""


class State(enum.StrEnum):
    """How far a trial has come; the last three are final."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    COMPLETE = "COMPLETE"
    FAILED = "FAILED"
    PRUNED = "PRUNED"

    @property
    def final(self) -> bool:
        return self in (State.COMPLETE, State.FAILED, State.PRUNED)


@dataclass(frozen=True)
class Facts:
    """What a trial showed besides its metrics.

    Attributes:
        parameters: Elements of all parameters of the model trained.
        trainable: Those of them that ask for gradients.
        macs: Multiply-adds of one forward of one sample; `None` where not known.
        common: Parameters that base and arm have in common by name and shape.
        equal_start: How many of these started bitwise equal.
        aligned: How many of these were set to the base's values to start so.
        frozen: Parameters and buffers that an arm froze, and that did not move.
        device: Where it ran.
        threads: Threads of torch in its process.
        notes: What a reader must know.
    """

    parameters: int = 0
    trainable: int = 0
    macs: int | None = None
    common: int = 0
    equal_start: int = 0
    aligned: int = 0
    frozen: int = 0
    device: str = "cpu"
    threads: int = 1
    notes: tuple[str, ...] = ()


FailureKind = Literal["", "raised", "diverged", "metric", "memory", "lost", "unfair"]


@dataclass(frozen=True)
class Outcome:
    """What came of running a trial.

    Attributes:
        state: COMPLETE, FAILED or PRUNED.
        metrics: What the train function returned.
        seconds: How long it took, all of it.
        failure: What kind of failure it was: `raised`; `diverged`: a metric is not a
            finite number; `metric`: none was returned, or not the one asked for;
            `memory`: it ran out; `lost`: its process ended; `unfair`: a promise of fair
            comparison was broken.
        message: The error in one line, or why it was pruned.
        detail: The traceback.
        facts: What else it showed.
    """

    state: State
    metrics: Mapping[str, float] = field(default_factory=dict[str, float])
    seconds: float = 0.0
    failure: FailureKind = ""
    message: str = ""
    detail: str = ""
    facts: Facts = Facts()

    @property
    def may_be_retried(self) -> bool:
        """Whether another try could end otherwise: the trial itself is not to blame."""
        return self.failure in ("memory", "lost")


@dataclass(frozen=True)
class Trial:
    """A trial as it is stored; changes of the storage do not change it.

    Attributes:
        id: Hash of everything that determines it.
        arm: Name of its arm.
        context: Name of its base config; `""` where there is one.
        tier: Name of its tier; `""` where there is one.
        seed: Its seed.
        state: How far it has come.
        attempt: How often it was started.
        outcome: What came of it, once it is final.
    """

    id: str
    arm: str
    context: str
    tier: str
    seed: int
    state: State = State.PENDING
    attempt: int = 0
    outcome: Outcome | None = None

    @property
    def metrics(self) -> Mapping[str, float]:
        return self.outcome.metrics if self.outcome else {}

    @property
    def seconds(self) -> float | None:
        return self.outcome.seconds if self.outcome else None
